// A bias for each output feature. It is padded: four can be read wherever one can.

@group(1) @binding(3) var<storage, read> biases: array<f32>;

fn bias(feature: u32) -> vec4<f32> {
    return vec4<f32>(biases[feature], biases[feature + 1u], biases[feature + 2u], biases[feature + 3u]);
}
