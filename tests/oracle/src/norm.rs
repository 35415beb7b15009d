//! Norms: each token's vector is normalised, then scaled and shifted by parameters.

use gpt_plan::{Norm, NormKind};

use super::matrix::Matrix;

/// The parameters of a norm.
#[derive(Clone, Debug, PartialEq)]
pub struct NormParameters {
    /// The factor of each feature, if the norm has parameters.
    pub gamma: Option<Vec<f64>>,
    /// The shift of each feature, if the norm has a bias.
    pub beta: Option<Vec<f64>>,
}

/// Normalises each row. LayerNorm (Ba et al. 2016) uses its mean and (biased) variance, RmsNorm
/// (Zhang and Sennrich 2019) its mean square.
pub fn norm(spec: Norm, parameters: &NormParameters, input: &Matrix) -> Matrix {
    input.map_rows(|x| {
        let n = x.len() as f64;
        let (centre, scale) = match spec.kind {
            NormKind::Layer => {
                let mean = x.iter().sum::<f64>() / n;
                let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
                (mean, (variance + spec.eps).sqrt())
            }
            NormKind::Rms => {
                let mean_square = x.iter().map(|x| x * x).sum::<f64>() / n;
                (0.0, (mean_square + spec.eps).sqrt())
            }
        };
        x.iter()
            .enumerate()
            .map(|(i, x)| {
                let gamma = parameters.gamma.as_ref().map_or(1.0, |gamma| gamma[i]);
                let beta = parameters.beta.as_ref().map_or(0.0, |beta| beta[i]);
                (x - centre) / scale * gamma + beta
            })
            .collect()
    })
}
