// A bias for each output feature.

fn bias(feature: u32) -> f32 {
    return vectors[BIAS + feature];
}
