//! Norms: the prologue of a projection, and forward and backward of training.

use gpt_plan::{Norm, NormKind, NormRef, vector_offset};
use gpt_shaders::files;

use super::Context;
use super::header::{Header, Parts};
use super::training::{TrainKernels, summed};

/// Adds the statistics of a norm.
fn statistics(norm: Norm, header: &mut Header, parts: &mut Parts) {
    header.number("EPSILON", norm.eps, "added to the variance");
    parts.push(match norm.kind {
        NormKind::Layer => files::NORM_LAYER,
        NormKind::Rms => files::NORM_RMS,
    });
}

/// Adds the norm, if any, that a projection applies to its input.
pub fn prologue(
    context: &Context<'_>,
    norm: Option<NormRef>,
    header: &mut Header,
    parts: &mut Parts,
) {
    let Some(norm) = norm else {
        parts.push(files::NORM_NONE);
        return;
    };
    let at = |id| vector_offset(context.tensors, id);
    statistics(context.spec.norm, header, parts);
    parts.push(files::NORM_TILE);
    parts.push(match norm.gamma {
        Some(gamma) => {
            header.size("GAMMA", at(gamma), "offset of the norm's scale");
            files::NORM_GAMMA_PACKED
        }
        None => files::NORM_GAMMA_NONE,
    });
    parts.push(match norm.beta {
        Some(beta) => {
            header.size("BETA", at(beta), "offset of the norm's shift");
            files::NORM_BETA_PACKED
        }
        None => files::NORM_BETA_NONE,
    });
}

impl TrainKernels<'_> {
    /// A norm of the forward pass, which saves its statistics.
    pub(super) fn norm(&mut self, norm: NormRef) -> u16 {
        let mut header = self.rows("a norm");
        let mut parts =
            vec![files::SHARED_ENTRY_PLAIN, files::SHARED_SUM_SCRATCH, files::SHARED_SUM_MEMORY];
        statistics(self.spec.norm, &mut header, &mut parts);
        parts.push(files::NORM_STATISTICS_COMPUTED);
        parts.extend([gamma(norm), beta(norm), files::NORM_FORWARD]);
        self.add("norm", header, parts, self.row())
    }

    /// The same norm in the backward pass, from its saved statistics.
    pub(super) fn norm_recompute(&mut self, norm: NormRef) -> u16 {
        let header = self.rows("a norm, recomputed");
        let parts = vec![
            files::SHARED_ENTRY_PLAIN,
            files::NORM_STATISTICS_SAVED,
            gamma(norm),
            beta(norm),
            files::NORM_FORWARD,
        ];
        self.add("norm_recompute", header, parts, self.row())
    }

    /// The gradient of a norm's input, from which a residual may be taken.
    pub(super) fn norm_input(&mut self, norm: NormRef, residual: bool) -> u16 {
        let mut header = self.rows("the gradient of a norm's input");
        let centered = f64::from(u8::from(self.spec.norm.kind == NormKind::Layer));
        header.number("CENTERED", centered, "1 if the norm subtracts the mean");
        let (name, file) = match residual {
            true => ("norm_input_residual", files::NORM_BACKWARD_RESIDUAL),
            false => ("norm_input", files::NORM_BACKWARD_NO_RESIDUAL),
        };
        let parts = vec![
            files::SHARED_ENTRY_PLAIN,
            files::SHARED_SUM_SCRATCH,
            files::SHARED_SUM_MEMORY,
            file,
            gamma(norm),
            files::NORM_BACKWARD_INPUT,
        ];
        self.add(name, header, parts, self.row())
    }

    /// The gradients of a norm's scale and shift.
    pub(super) fn norm_weight(&mut self, norm: NormRef) -> u16 {
        let mut header = self.rows("the gradients of a norm's scale and shift");
        header.size("WIDTH", self.spec.embed, "columns");
        let shift = match norm.beta {
            Some(_) => files::NORM_BACKWARD_SHIFT,
            None => files::NORM_BACKWARD_NO_SHIFT,
        };
        let parts = vec![
            files::SHARED_TRAIN_PASS,
            shift,
            files::NORM_BACKWARD_WEIGHT,
            files::SHARED_COLUMN_SUMS,
        ];
        self.add("norm_weight", header, parts, summed(self.spec.embed))
    }
}

fn gamma(norm: NormRef) -> &'static str {
    match norm.gamma {
        Some(_) => files::NORM_GAMMA_TENSOR,
        None => files::NORM_GAMMA_NONE,
    }
}

fn beta(norm: NormRef) -> &'static str {
    match norm.beta {
        Some(_) => files::NORM_BETA_TENSOR,
        None => files::NORM_BETA_NONE,
    }
}
