// No position embedding: rotations of queries and keys, or biases of scores, encode positions.

fn position_embedding(position: u32, column: u32) -> f32 {
    return 0.0;
}
