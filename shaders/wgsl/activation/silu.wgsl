// x / (1 + exp(-x)). Beyond 87, exp leaves f32, where WGSL no longer says what it is.

fn activation(x: f32) -> f32 {
    return x / (1.0 + exp(clamp(-x, -87.0, 87.0)));
}
