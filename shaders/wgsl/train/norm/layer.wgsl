// LayerNorm's statistics: mean and 1 / deviation of a row. The variance is that of the differences from the mean: E[x^2] - E[x]^2 would cancel.

const EMBED: u32 = 768u;
const LANES: u32 = 64u;
const EPSILON: f32 = 1e-5;

@group(1) @binding(0) var<storage, read> x: array<f32>;

fn row_sum(lane: u32, value: f32) -> f32 {
    return value;
}
// ---- end of parameters ----

fn statistics(at: u32, lane: u32) -> vec2<f32> {
    var sum = 0.0;
    for (var i = lane; i < EMBED; i += LANES) {
        sum += x[at + i];
    }
    let mean = row_sum(lane, sum) / f32(EMBED);
    var squares = 0.0;
    for (var i = lane; i < EMBED; i += LANES) {
        let difference = x[at + i] - mean;
        squares = fma(difference, difference, squares);
    }
    return vec2<f32>(mean, inverseSqrt(row_sum(lane, squares) / f32(EMBED) + EPSILON));
}
