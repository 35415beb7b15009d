// No position embedding: queries and keys are rotated.

fn position_embedding(position: u32, column: u32) -> f32 {
    return 0.0;
}
