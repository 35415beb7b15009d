// max(x, 0).

fn activation(x: f32) -> f32 {
    return max(x, 0.0);
}
