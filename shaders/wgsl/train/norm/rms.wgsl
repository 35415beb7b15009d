// RMSNorm's statistics: nothing is subtracted; 1 / root mean square of a row.

const EMBED: u32 = 768u;
const LANES: u32 = 64u;
const EPSILON: f32 = 1e-5;

@group(1) @binding(0) var<storage, read> x: array<f32>;

fn row_sum(lane: u32, value: f32) -> f32 {
    return value;
}
// ---- end of parameters ----

fn statistics(at: u32, lane: u32) -> vec2<f32> {
    var squares = 0.0;
    for (var i = lane; i < EMBED; i += LANES) {
        squares = fma(x[at + i], x[at + i], squares);
    }
    return vec2<f32>(0.0, inverseSqrt(row_sum(lane, squares) / f32(EMBED) + EPSILON));
}
