// RMSNorm: x / sqrt(mean(x^2) + eps) * gamma.

const EMBED: u32 = 768u;
const EPSILON: f32 = 1e-5;
// Rows of a tile, and invocations that share one.
const TILE_ROWS: u32 = 16u;
const SHARE: u32 = 8u;

struct Run { position: u32, rows: u32, first: u32 }
@group(0) @binding(0) var<uniform> run: Run;

fn stream(row: u32, column: u32) -> f32 {
    return f32(row + column);
}

fn row_sum(lane: u32, value: f32) -> f32 {
    return value;
}
// ---- end of parameters ----

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
