// LayerNorm: (x - mean) / sqrt(var + eps) * gamma + beta. Its statistics are those of a whole row, found before the row is used.

var<workgroup> means: array<f32, TILE_ROWS>;
var<workgroup> scales: array<f32, TILE_ROWS>;

// Mean and 1 / deviation of the tile's rows. The variance is that of the differences from the mean: E[x^2] - E[x]^2 would cancel.
fn statistics(first: u32, invocation: u32) {
    let r = invocation / ROW_INVOCATIONS;
    let row = min(first + r, pass_uniform.rows - 1u);
    var sum = 0.0;
    for (var column = invocation % ROW_INVOCATIONS; column < EMBED; column += ROW_INVOCATIONS) {
        sum += stream(row, column);
    }
    let mean = row_sum(invocation, sum) / f32(EMBED);
    var squares = 0.0;
    for (var column = invocation % ROW_INVOCATIONS; column < EMBED; column += ROW_INVOCATIONS) {
        let difference = stream(row, column) - mean;
        squares += difference * difference;
    }
    let variance = row_sum(invocation, squares) / f32(EMBED);
    if invocation % ROW_INVOCATIONS == 0u {
        means[r] = mean;
        scales[r] = inverseSqrt(variance + EPSILON);
    }
    workgroupBarrier();
}

// An element of row `r` of the tile, which is `x` in the stream; `by` is the scale and shift of its column.
fn normalize(r: u32, x: f32, scale_shift: vec2<f32>) -> f32 {
    return fma((x - means[r]) * scales[r], scale_shift.x, scale_shift.y);
}
