// A bias for each output feature, among the layer's vectors.

fn bias(feature: u32) -> f32 {
    return vectors[BIAS + feature];
}
