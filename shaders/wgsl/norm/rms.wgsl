// RMSNorm: x / sqrt(mean(x^2) + eps) * gamma.

// Zero for the mean, which is not subtracted, and 1 / root mean square of the `width` elements of a
// row.
fn statistics(row: u32, width: u32, invocation: u32) -> vec2<f32> {
    var squares = 0.0;
    for (var column = invocation % ROW_INVOCATIONS; column < width; column += ROW_INVOCATIONS) {
        squares = add_square(squares, stream(row, column));
    }
    let mean = row_sum(invocation, squares) / f32(width);
    return vec2<f32>(0.0, inverseSqrt(mean + EPSILON));
}

fn normalized(x: f32, statistics: vec2<f32>, scale_shift: vec2<f32>) -> f32 {
    return x * statistics.y * scale_shift.x;
}
