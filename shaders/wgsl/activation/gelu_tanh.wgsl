// GELU by its tanh approximation (Hendrycks and Gimpel 2016), as in GPT-2: x (1 + tanh(u)) / 2 with
// u = sqrt(2 / pi) (x + 0.044715 x^3). (1 + tanh(u)) / 2 is the logistic function s(2u), which
// needs no tanh: drivers differ in its precision. The slope is s + 2 x s (1 - s) u'.

fn activation(x: f32) -> f32 {
    let u = 0.7978845608 * x * fma(0.044715 * x, x, 1.0);
    return x / (1.0 + exp(clamp(-2.0 * u, -87.0, 87.0)));
}

fn slope(x: f32) -> f32 {
    let square = x * x;
    let u = 0.7978845608 * x * fma(0.044715, square, 1.0);
    let s = 1.0 / (1.0 + exp(clamp(-2.0 * u, -87.0, 87.0)));
    // The square may overflow where s is 0 or 1.
    let inner = 1.5957691216 * x * fma(0.134145, min(square, 1e10), 1.0);
    return fma(s * (1.0 - s), inner, s);
}
