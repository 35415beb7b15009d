// Of x s(x) with the logistic function s: s (1 + x (1 - s)).

fn slope(x: f32) -> f32 {
    let s = 1.0 / (1.0 + exp(clamp(-x, -87.0, 87.0)));
    return s * fma(x, 1.0 - s, 1.0);
}
