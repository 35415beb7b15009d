// y = W x: one projection, with the norm before it and whatever follows it fused in.
//
// A workgroup makes some strips of 32 output features for a tile of rows. An invocation owns rows of W: neighbours read neighbouring
// elements, and what they multiply with, a tile of inputs in workgroup memory, is the same for all of them. The products are
// shared through workgroup memory too, in turns, where `total` finds them: what follows may then combine features that different
// invocations made, as rotation and gating do.

fn work(group: vec3<u32>, lane: u32) {
    if run.rows == 0u {
        return;
    }
    let first = group.y * TILE_ROWS;
    statistics(first, lane);
    let sums = multiply(first, group.x * STRIPS, lane);
    for (var turn = 0u; turn < TURNS; turn++) {
        share(sums, turn, lane);
        for (var i = lane; i < TILE_ROWS * FEATURES; i += LANES) {
            let r = i / FEATURES;
            let local = i % FEATURES;
            let feature = (group.x * TURNS + turn) * FEATURES + local;
            if first + r < run.rows && feature < OUTPUTS {
                finish(r, first + r, local, feature);
            }
        }
    }
}
