//! Hidden states: the residual stream after the last block, with the final norm applied.
//!
//! Engines return the stream. The norm is applied here, in f64, so that both engines share it.

use std::marker::PhantomData;
use std::ops::Deref;

use gpt_plan::{Norm, NormKind, Plan, TensorId};

use crate::Error;
use crate::parameter::sealed;
use crate::vtable::{Gpt, Untyped};
use crate::weights::Weights;

/// Hidden states `[rows, embed]`, a row for each token: the input of the model's head. Derefs to a
/// slice, row after row.
pub struct Hidden<M = Untyped> {
    values: Vec<f32>,
    width: usize,
    brand: PhantomData<fn() -> M>,
}

impl<M> Hidden<M> {
    pub(crate) fn new(values: Vec<f32>, width: usize) -> Hidden<M> {
        Hidden { values, width, brand: PhantomData }
    }

    /// Number of tokens.
    pub fn rows(&self) -> usize {
        self.values.len() / self.width
    }

    /// Width of a row: the model's `embed`.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The hidden state of token `row`, `[embed]`.
    ///
    /// # Panics
    /// Panics if `row` is not below [`rows`](Self::rows).
    pub fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.width..][..self.width]
    }

    /// The values, `[rows, embed]`.
    pub fn into_vec(self) -> Vec<f32> {
        self.values
    }
}

impl<M: Gpt> Hidden<M> {
    /// The hidden states as arrays: `&[[f32; EMBED]]`.
    pub fn as_arrays(&self) -> &[M::Hidden] {
        sealed::Row::rows(&self.values)
    }
}

impl<M> Deref for Hidden<M> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.values
    }
}

/// The norm between the last block and the head, on the host.
pub(crate) struct FinalNorm {
    norm: Norm,
    gamma: Option<Vec<f32>>,
    beta: Option<Vec<f32>>,
}

impl FinalNorm {
    /// Reads the parameters of the norm; none if the head of `plan` reads the stream without a
    /// norm.
    pub fn read(plan: &Plan, weights: &dyn Weights) -> Result<Option<FinalNorm>, Error> {
        let norm = plan.steps().find(|(_, step)| step.op.is_head());
        let norm = norm.and_then(|(_, step)| step.op.projection()?.norm);
        let vector = |id: TensorId| -> Result<Vec<f32>, Error> {
            let tensor = weights.tensor(id, 0)?;
            let (values, _) = tensor.data.as_chunks::<4>();
            Ok(values.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
        };
        norm.map(|norm| {
            Ok(FinalNorm {
                norm: plan.spec.norm,
                gamma: norm.gamma.map(vector).transpose()?,
                beta: norm.beta.map(vector).transpose()?,
            })
        })
        .transpose()
    }

    /// Normalises a row in place.
    pub fn apply(&self, row: &mut [f32]) {
        let n = row.len() as f64;
        let mean_of =
            |f: &dyn Fn(f64) -> f64| row.iter().map(|x| f(f64::from(*x))).sum::<f64>() / n;
        let (mean, scale) = match self.norm.kind {
            NormKind::Layer => {
                let mean = mean_of(&|x| x);
                let variance = mean_of(&|x| (x - mean) * (x - mean));
                (mean, 1.0 / (variance + self.norm.eps).sqrt())
            }
            NormKind::Rms => (0.0, 1.0 / (mean_of(&|x| x * x) + self.norm.eps).sqrt()),
        };
        for (i, x) in row.iter_mut().enumerate() {
            let gamma = self.gamma.as_ref().map_or(1.0, |gamma| f64::from(gamma[i]));
            let beta = self.beta.as_ref().map_or(0.0, |beta| f64::from(beta[i]));
            *x = ((f64::from(*x) - mean) * scale * gamma + beta) as f32;
        }
    }
}
