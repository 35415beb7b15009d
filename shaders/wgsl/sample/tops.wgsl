// The greatest of all tiles.

const TILES: u32 = 25u;
const LANES: u32 = 256u;
const NOTHING = vec2<u32>(0u, 0xffffffffu);

fn better(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    return max(a, b);
}

fn lanes_best(lane: u32, own: vec2<u32>) -> vec2<u32> {
    return own;
}
// ---- end of parameters ----

@group(0) @binding(3) var<storage, read> tops: array<vec2<u32>>;

// Its order and its token, for all invocations.
fn top(lane: u32) -> vec2<u32> {
    var own = NOTHING;
    for (var i = lane; i < TILES; i += LANES) {
        own = better(own, tops[i]);
    }
    return lanes_best(lane, own);
}
