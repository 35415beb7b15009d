// Of x Phi(x): Phi(x) + x phi(x). Phi comes from the fit of `activation/gelu.wgsl`.

fn slope(x: f32) -> f32 {
    let size = 0.7071067812 * abs(x);
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
    let tail = 0.5 * t * exp(max(fma(-size, size, fit), -87.0));
    let density = 0.3989422804 * exp(max(-size * size, -87.0));
    return fma(x, density, select(1.0 - tail, tail, x < 0.0));
}
