// LayerNorm: (x - mean) / sqrt(var + eps) * gamma + beta. Its statistics are those of a whole row, found before the row is used.

var<workgroup> means: array<f32, TILE_ROWS>;
var<workgroup> scales: array<f32, TILE_ROWS>;

// Mean and 1 / deviation of the tile's rows. The variance is that of the differences from the mean: E[x^2] - E[x]^2 would cancel.
fn statistics(first: u32, lane: u32) {
    let r = lane / SHARE;
    let row = min(first + r, run.rows - 1u);
    var sum = 0.0;
    for (var column = lane % SHARE; column < EMBED; column += SHARE) {
        sum += stream(row, column);
    }
    let mean = row_sum(lane, sum) / f32(EMBED);
    var squares = 0.0;
    for (var column = lane % SHARE; column < EMBED; column += SHARE) {
        let difference = stream(row, column) - mean;
        squares += difference * difference;
    }
    let variance = row_sum(lane, squares) / f32(EMBED);
    if lane % SHARE == 0u {
        means[r] = mean;
        scales[r] = inverseSqrt(variance + EPSILON);
    }
    workgroupBarrier();
}

// An element of row `r` of the tile, which is `x` in the stream; `by` is the scale and shift of its column.
fn normalise(r: u32, x: f32, by: vec2<f32>) -> f32 {
    return fma((x - means[r]) * scales[r], by.x, by.y);
}
