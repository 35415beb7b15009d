// y = W x: a projection with its norm as prologue and an epilogue.
//
// A workgroup computes some strips of 32 output features for a tile of tokens. An invocation owns
// output features (rows of W): neighbours read neighbouring elements. Inputs are staged in
// workgroup memory for all invocations, some columns at a time. Sums pass through workgroup memory,
// a share of them in each iteration, so that an epilogue (rotation, gating) can combine features of
// different invocations.

fn work(group: vec3<u32>, invocation: u32) {
    if pass_uniform.rows == 0u {
        return;
    }
    let first = group.y * TILE_ROWS;
    prepare_rows(first, invocation);
    let sums = multiply(first, group.x * TILE_N, invocation);
    for (var iteration = 0u; iteration < ITERATIONS; iteration++) {
        store_sums(sums, iteration, invocation);
        for (var i = invocation; i < TILE_ROWS * FEATURES; i += WORKGROUP_SIZE) {
            let r = i / FEATURES;
            let local = i % FEATURES;
            let feature = FIRST_FEATURE + (group.x * ITERATIONS + iteration) * FEATURES + local;
            if first + r < pass_uniform.rows && feature < END_FEATURE {
                epilogue(r, first + r, local, feature);
            }
        }
    }
}
