// y = W x: one projection, with the norm before it and whatever follows it fused in.
//
// A workgroup makes some strips of 32 output features for a tile of rows. An invocation owns rows of W: neighbours read neighbouring
// elements, and what they multiply with, a tile of inputs in workgroup memory, is the same for all of them. The products are
// shared through workgroup memory too, in turns, where `total` finds them: what follows may then combine features that different
// invocations made, as rotation and gating do.

fn work(group: vec3<u32>, invocation: u32) {
    if pass_uniform.rows == 0u {
        return;
    }
    let first = group.y * TILE_ROWS;
    statistics(first, invocation);
    let sums = multiply(first, group.x * TILE_N, invocation);
    for (var iteration = 0u; iteration < ITERATIONS; iteration++) {
        store_sums(sums, iteration, invocation);
        for (var i = invocation; i < TILE_ROWS * FEATURES; i += WORKGROUP_SIZE) {
            let r = i / FEATURES;
            let local = i % FEATURES;
            let feature = (group.x * ITERATIONS + iteration) * FEATURES + local;
            if first + r < pass_uniform.rows && feature < OUTPUTS {
                epilogue(r, first + r, local, feature);
            }
        }
    }
}
