// A norm with a scale for each column, and no shift.

// The scale of a column; of the last one for what lies beyond.
fn affine(column: u32) -> vec2<f32> {
    let own = min(column, EMBED - 1u);
    return vec2<f32>(vectors[GAMMA + own], 0.0);
}
