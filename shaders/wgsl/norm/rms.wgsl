// RMSNorm's statistics: nothing is subtracted; 1 / root mean square of a row.

fn statistics(at: u32, lane: u32) -> vec2<f32> {
    var squares = 0.0;
    for (var i = lane; i < EMBED; i += LANES) {
        squares = fma(x[at + i], x[at + i], squares);
    }
    return vec2<f32>(0.0, inverseSqrt(row_sum(lane, squares) / f32(EMBED) + EPSILON));
}
