// What the shares of a workgroup have gathered, four columns each, is put together in its memory.

// Four columns of share `slice`, from `4 quad` on.
fn store_slice(slice: u32, quad: u32, sums: mat4x4<f32>) {
    let at = 4u * (slice * ROW_INVOCATIONS + quad);
    scratch[at] = sums[0];
    scratch[at + 1u] = sums[1];
    scratch[at + 2u] = sums[2];
    scratch[at + 3u] = sums[3];
}

// A column, of all shares.
fn sum_slices(column: u32) -> ScratchValue {
    var sum = scratch[column];
    for (var slice = 1u; slice < WORKGROUP_SIZE / ROW_INVOCATIONS; slice++) {
        sum += scratch[4u * slice * ROW_INVOCATIONS + column];
    }
    return sum;
}
