// x s(x) with the logistic function s(x) = 1 / (1 + exp(-x)); its slope is s (1 + x (1 - s)). The
// exponent is clamped: WGSL does not define an exp that overflows.

fn activation(x: f32) -> f32 {
    return x / (1.0 + exp(clamp(-x, -87.0, 87.0)));
}

fn slope(x: f32) -> f32 {
    let s = 1.0 / (1.0 + exp(clamp(-x, -87.0, 87.0)));
    return s * fma(x, 1.0 - s, 1.0);
}
