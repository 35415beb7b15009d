// RMSNorm's statistics: nothing is subtracted; 1 / root mean square of a row.

fn statistics(at: u32, invocation: u32) -> vec2<f32> {
    var squares = 0.0;
    for (var i = invocation; i < EMBED; i += WORKGROUP_SIZE) {
        squares = fma(x[at + i], x[at + i], squares);
    }
    return vec2<f32>(0.0, inverseSqrt(row_sum(invocation, squares) / f32(EMBED) + EPSILON));
}
