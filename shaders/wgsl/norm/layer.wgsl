// LayerNorm: (x - mean) / sqrt(var + eps) * gamma + beta.

// Mean and 1 / deviation of the `width` elements of a row. The variance sums squared differences
// from the mean: E[x^2] - E[x]^2 would cancel.
fn statistics(row: u32, width: u32, invocation: u32) -> vec2<f32> {
    let first = invocation % ROW_INVOCATIONS;
    var sum = 0.0;
    for (var column = first; column < width; column += ROW_INVOCATIONS) {
        sum += stream(row, column);
    }
    let mean = row_sum(invocation, sum) / f32(width);
    var squares = 0.0;
    for (var column = first; column < width; column += ROW_INVOCATIONS) {
        squares = add_square(squares, stream(row, column) - mean);
    }
    let variance = row_sum(invocation, squares) / f32(width);
    return vec2<f32>(mean, inverseSqrt(variance + EPSILON));
}

fn normalized(x: f32, statistics: vec2<f32>, scale_shift: vec2<f32>) -> f32 {
    return fma((x - statistics.x) * statistics.y, scale_shift.x, scale_shift.y);
}
