// The biases of four neighbouring features.

fn bias_quad(feature: u32) -> vec4<f32> {
    return vec4<f32>(bias(feature), bias(feature + 1u), bias(feature + 2u), bias(feature + 3u));
}
