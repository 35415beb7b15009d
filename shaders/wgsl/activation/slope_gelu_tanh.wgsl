// Of x s(2u), with the logistic function s and u = sqrt(2 / pi) (x + 0.044715 x^3): s + 2 x s (1 - s) u'.

fn slope(x: f32) -> f32 {
    let square = x * x;
    let u = 0.7978845608 * x * fma(0.044715, square, 1.0);
    let s = 1.0 / (1.0 + exp(clamp(-2.0 * u, -87.0, 87.0)));
    // Where s is 0 or 1, the square may have left f32.
    let inner = 1.5957691216 * x * fma(0.134145, min(square, 1e10), 1.0);
    return fma(s * (1.0 - s), inner, s);
}
