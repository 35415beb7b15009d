// LayerNorm's statistics: mean and 1 / deviation of a row. The variance is that of the differences from the mean: E[x^2] - E[x]^2 would cancel.

fn statistics(at: u32, invocation: u32) -> vec2<f32> {
    var sum = 0.0;
    for (var i = invocation; i < EMBED; i += WORKGROUP_SIZE) {
        sum += x[at + i];
    }
    let mean = row_sum(invocation, sum) / f32(EMBED);
    var squares = 0.0;
    for (var i = invocation; i < EMBED; i += WORKGROUP_SIZE) {
        let difference = x[at + i] - mean;
        squares = fma(difference, difference, squares);
    }
    return vec2<f32>(mean, inverseSqrt(row_sum(invocation, squares) / f32(EMBED) + EPSILON));
}
