// GELU by its tanh approximation (Hendrycks and Gimpel 2016), GPT-2's: x (1 + tanh(u)) / 2 with u = sqrt(2 / pi) (x + 0.044715 x^3).
//
// (1 + tanh(u)) / 2 is the logistic function of 2u, which needs no tanh: drivers differ in how well they know it.

fn activation(x: f32) -> f32 {
    let u = 0.7978845608 * x * fma(0.044715 * x, x, 1.0);
    return x / (1.0 + exp(clamp(-2.0 * u, -87.0, 87.0)));
}
