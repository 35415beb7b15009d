// A bias for each output feature. It is padded: four can be read wherever one can.

@group(1) @binding(3) var<storage, read> bias_vector: array<f32>;

fn bias(feature: u32) -> vec4<f32> {
    return vec4<f32>(bias_vector[feature], bias_vector[feature + 1u], bias_vector[feature + 2u], bias_vector[feature + 3u]);
}
