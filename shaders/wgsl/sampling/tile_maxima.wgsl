// The best candidate of all tiles.

@group(0) @binding(3) var<storage, read> tile_maxima: array<vec2<u32>>;

// Its order key and its token, for all invocations.
fn overall_best(invocation: u32) -> vec2<u32> {
    var own = NOTHING;
    for (var i = invocation; i < TILES; i += WORKGROUP_SIZE) {
        own = better(own, tile_maxima[i]);
    }
    return workgroup_best(invocation, own);
}
