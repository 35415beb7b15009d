// The shift of a norm, among the layer's vectors.

fn beta(column: u32) -> f32 {
    return vectors[BETA + column];
}
