// The scale of a norm, among the layer's vectors.

fn gamma(column: u32) -> f32 {
    return vectors[GAMMA + column];
}
