// max(x, 0).

fn activation(x: f32) -> f32 {
    return max(x, 0.0);
}

fn slope(x: f32) -> f32 {
    return select(0.0, 1.0, x > 0.0);
}
