// The greatest of all tiles.

@group(0) @binding(3) var<storage, read> tops: array<vec2<u32>>;

// Its order and its token, for all invocations.
fn top(lane: u32) -> vec2<u32> {
    var own = NOTHING;
    for (var i = lane; i < TILES; i += LANES) {
        own = better(own, tops[i]);
    }
    return lanes_best(lane, own);
}
