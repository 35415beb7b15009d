// What the shares of a workgroup have gathered, four columns each, is put together in its memory.

// Four columns of share `slice`, from `4 quad` on.
fn settle(slice: u32, quad: u32, sums: mat4x4<f32>) {
    let at = 4u * (slice * ROW_LANES + quad);
    memory[at] = sums[0];
    memory[at + 1u] = sums[1];
    memory[at + 2u] = sums[2];
    memory[at + 3u] = sums[3];
}

// A column, of all shares.
fn settled(column: u32) -> Queries {
    var sum = memory[column];
    for (var slice = 1u; slice < LANES / ROW_LANES; slice++) {
        sum += memory[4u * slice * ROW_LANES + column];
    }
    return sum;
}
