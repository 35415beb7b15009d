// Sums over the slices of a workgroup, through its memory. An invocation has four columns of a
// slice.

// Stores columns `4 quad ..` of slice `slice`.
fn store_slice(slice: u32, quad: u32, sums: mat4x4<f32>) {
    let at = 4u * (slice * ROW_INVOCATIONS + quad);
    scratch[at] = sums[0];
    scratch[at + 1u] = sums[1];
    scratch[at + 2u] = sums[2];
    scratch[at + 3u] = sums[3];
}

// A column, summed over all slices.
fn sum_slices(column: u32) -> ScratchValue {
    var sum = scratch[column];
    for (var slice = 1u; slice < WORKGROUP_SIZE / ROW_INVOCATIONS; slice++) {
        sum += scratch[4u * slice * ROW_INVOCATIONS + column];
    }
    return sum;
}
