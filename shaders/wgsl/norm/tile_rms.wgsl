// RMSNorm: x / sqrt(mean(x^2) + eps) * gamma.

var<workgroup> scales: array<f32, TILE_ROWS>;

// 1 / root mean square of the tile's rows.
fn statistics(first: u32, invocation: u32) {
    let r = invocation / ROW_INVOCATIONS;
    let row = min(first + r, pass_uniform.rows - 1u);
    var squares = 0.0;
    for (var column = invocation % ROW_INVOCATIONS; column < EMBED; column += ROW_INVOCATIONS) {
        let value = stream(row, column);
        squares += value * value;
    }
    let mean = row_sum(invocation, squares) / f32(EMBED);
    if invocation % ROW_INVOCATIONS == 0u {
        scales[r] = inverseSqrt(mean + EPSILON);
    }
    workgroupBarrier();
}

// An element of row `r` of the tile, which is `x` in the stream; `by` is the scale of its column.
fn normalize(r: u32, x: f32, scale_shift: vec2<f32>) -> f32 {
    return x * scales[r] * scale_shift.x;
}
