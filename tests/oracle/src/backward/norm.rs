//! The gradient of norms.

use gpt_plan::{Norm, NormKind};

use crate::{Matrix, NormParameters, norm};

/// With `x' = (x - centre) / scale` and `y = gamma x' + beta`: gamma's gradient is `Σ dy x'`,
/// beta's `Σ dy`. A row's centre and scale depend on all its elements, so `g = gamma dy` loses its
/// components along `x'` and (LayerNorm) along the constant vector:
/// `dx = (g - mean(g) - x' mean(g x')) / scale`. Fills `gradient` and returns the gradient of `x`.
pub fn norm_backward(
    spec: Norm,
    parameters: &NormParameters,
    x: &Matrix,
    d: &Matrix,
    gradient: &mut NormParameters,
) -> Matrix {
    let plain = NormParameters { gamma: None, beta: None };
    let normal = norm(spec, &plain, x);
    let d_gamma = || d.zip(&normal, |d, x| d * x).sum_of_rows();
    gradient.gamma = parameters.gamma.as_ref().map(|_| d_gamma());
    gradient.beta = parameters.beta.as_ref().map(|_| d.sum_of_rows());

    let n = x.columns as f64;
    let rows = x.iter_rows().zip(normal.iter_rows()).zip(d.iter_rows());
    let rows = rows.map(|((x, normal), d)| {
        let (scale, centred) = match spec.kind {
            NormKind::Layer => {
                let mean = x.iter().sum::<f64>() / n;
                let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
                ((variance + spec.eps).sqrt(), 1.0)
            }
            NormKind::Rms => {
                let mean_square = x.iter().map(|x| x * x).sum::<f64>() / n;
                ((mean_square + spec.eps).sqrt(), 0.0)
            }
        };
        let gamma = |i| parameters.gamma.as_ref().map_or(1.0, |gamma: &Vec<f64>| gamma[i]);
        let g: Vec<f64> = d.iter().enumerate().map(|(i, d)| d * gamma(i)).collect();
        let mean = centred * g.iter().sum::<f64>() / n;
        let along = g.iter().zip(normal).map(|(g, x)| g * x).sum::<f64>() / n;
        let row = g.iter().zip(normal).map(|(g, x)| (g - mean - x * along) / scale);
        row.collect()
    });
    Matrix::from_rows(x.columns, rows)
}
