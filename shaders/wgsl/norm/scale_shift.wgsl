// A norm with a scale and a shift for each column.

// Scale and shift of a column; of the last one for what lies beyond.
fn affine(column: u32) -> vec2<f32> {
    let own = min(column, EMBED - 1u);
    return vec2<f32>(vectors[GAMMA + own], vectors[BETA + own]);
}
