// RMSNorm: x / sqrt(mean(x^2) + eps) * gamma.

var<workgroup> scales: array<f32, TILE_ROWS>;

// 1 / root mean square of the tile's rows.
fn statistics(first: u32, lane: u32) {
    let r = lane / SHARE;
    let row = min(first + r, run.rows - 1u);
    var squares = 0.0;
    for (var column = lane % SHARE; column < EMBED; column += SHARE) {
        let value = stream(row, column);
        squares += value * value;
    }
    let mean = row_sum(lane, squares) / f32(EMBED);
    if lane % SHARE == 0u {
        scales[r] = inverseSqrt(mean + EPSILON);
    }
    workgroupBarrier();
}

// An element of row `r` of the tile, which is `x` in the stream; `by` is the scale of its column.
fn normalise(r: u32, x: f32, by: vec2<f32>) -> f32 {
    return x * scales[r] * by.x;
}
