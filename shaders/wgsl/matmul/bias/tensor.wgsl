// A bias for each output feature, in a buffer that is padded: a quad can be read at any feature.

@group(1) @binding(3) var<storage, read> bias_vector: array<f32>;

fn bias(feature: u32) -> f32 {
    return bias_vector[feature];
}
