// GELU, x Phi(x) (Hendrycks and Gimpel 2016), with Phi(x) = erfc(-x / sqrt(2)) / 2, and its slope,
// Phi(x) + x phi(x). The complementary error function is the Chebyshev fit of Press et al.,
// Numerical Recipes (2nd ed., 6.2), whose relative error stays below 1.2e-7.

fn activation(x: f32) -> f32 {
    let tail = gelu_tail(0.7071067812 * abs(x));
    return fma(-abs(x), tail, max(x, 0.0));
}

fn slope(x: f32) -> f32 {
    let size = 0.7071067812 * abs(x);
    let tail = gelu_tail(size);
    let density = 0.3989422804 * exp(max(-size * size, -87.0));
    return fma(x, density, select(1.0 - tail, tail, x < 0.0));
}

// erfc(size) / 2, the smaller of Phi(x) and 1 - Phi(x). It is computed directly on both sides of
// zero, so nothing cancels.
fn gelu_tail(size: f32) -> f32 {
    let t = 1.0 / fma(0.5, size, 1.0);
    var fit = 0.17087277;
    fit = fma(fit, t, -0.82215223);
    fit = fma(fit, t, 1.48851587);
    fit = fma(fit, t, -1.13520398);
    fit = fma(fit, t, 0.27886807);
    fit = fma(fit, t, -0.18628806);
    fit = fma(fit, t, 0.09678418);
    fit = fma(fit, t, 0.37409196);
    fit = fma(fit, t, 1.00002368);
    fit = fma(fit, t, -1.26551223);
    return 0.5 * t * exp(max(fma(-size, size, fit), -87.0));
}
