//! The interface of an engine for training.
//!
//! A trainer owns f32 parameters, their gradients, the moments of AdamW and the buffers of a pass,
//! all allocated when it is created. It does the arithmetic of a step; `train` decides on data,
//! learning rate and checkpoints.

use gpt_plan::{Dropout, TensorId, TrainBytes, TrainShape};
use serde::{Deserialize, Serialize};

#[cfg(doc)]
use super::IGNORED;
use super::TrainProfile;
use crate::Error;

/// The precision of matrix products. Weights, sums and the optimizer are always f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Precision {
    /// Operands are not rounded.
    #[default]
    F32,
    /// Operands of matrix products are rounded to bf16. CPU only.
    Bf16,
    /// Operands of the three products of a projection (forward, input gradient, weight gradient)
    /// are rounded to f16, whose products are exact in f32; sums, attention, norms and the loss are
    /// f32. Gradients are scaled so that small ones do not underflow: the scale starts at 2^16,
    /// doubles after 2000 steps without an overflow, and halves when a gradient overflows. That
    /// step is skipped; see [`Trainer::step`](crate::Trainer::step). Needs a GPU with `SHADER_F16`.
    F16,
}

/// Sizes of a trainer, fixed when it is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrainerOptions {
    /// The largest batch of a pass.
    pub shape: TrainShape,
    /// The precision of products.
    pub precision: Precision,
}

/// A checked batch: at least one token, within the trainer's shape, all tokens in the vocabulary,
/// all targets in the vocabulary or [`IGNORED`].
#[derive(Clone, Copy, Debug)]
pub struct Sequences<'a> {
    /// `[sequences, tokens]`.
    pub inputs: &'a [u32],
    /// The target of each input, `[sequences, tokens]`.
    pub targets: &'a [u32],
    /// Tokens of each sequence.
    pub tokens: u32,
}

/// The contribution of a batch to a training step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Learn {
    /// Whether the batch is the first of the step. The first replaces the gradients; the others add
    /// to them.
    pub first: bool,
    /// The factor of each row's loss gradient: 1 / (targets that count in all batches of the step),
    /// times the loss scale if there is one.
    pub scale: f32,
    /// The dropout masks of this batch. Always none for a model whose spec has no dropout: its
    /// training pass has no dropout ops, and the trainer rejects the setting.
    pub dropout: Option<Dropout>,
}

/// One step of AdamW (Loshchilov and Hutter 2019), as PyTorch defines it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Update {
    /// Number of this step, from 1, for the bias correction of the moments.
    pub step: u64,
    /// The learning rate of this step.
    pub lr: f32,
    /// The decay of the first moment.
    pub beta1: f32,
    /// The decay of the second moment.
    pub beta2: f32,
    /// Added to the denominator.
    pub eps: f32,
    /// The weight decay of matrices and tables; vectors do not decay.
    pub weight_decay: f32,
    /// A gradient with a larger norm is scaled down to this norm.
    pub clip: Option<f32>,
    /// The loss scale. The gradients are divided by it first.
    pub scale: f32,
}

/// The values that a trainer holds for each parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TensorState {
    /// The parameter itself, in f32.
    Parameter,
    /// The sum of the gradients of the batches since the last step.
    Gradient,
    /// The running mean of the gradient.
    FirstMoment,
    /// The running mean of the gradient's square.
    SecondMoment,
}

/// A model in training.
pub trait EngineTrainer: Send {
    /// Runs the forward and the backward pass: accumulates the gradients and returns the sum of the
    /// losses of all rows, in nats.
    fn learn(&mut self, batch: &Sequences<'_>, options: &Learn) -> Result<f64, Error>;

    /// Runs the forward pass without dropout and returns the sum of the losses of all rows, in
    /// nats.
    fn evaluate(&mut self, batch: &Sequences<'_>) -> Result<f64, Error>;

    /// Updates the parameters; returns the norm of the gradient before clipping, without the loss
    /// scale. If the norm is not finite, nothing changes.
    fn update(&mut self, update: &Update) -> Result<f64, Error>;

    /// Does what [`learn`](Self::learn) and [`update`](Self::update) do, and returns the time of
    /// each kernel or step and the norm of the gradient.
    fn profile(
        &mut self,
        batch: &Sequences<'_>,
        options: &Learn,
        update: &Update,
    ) -> Result<(TrainProfile, f64), Error>;

    /// Copies the tensor `id` of `layer` (0 for a tensor of the model) to `values`, `[rows,
    /// columns]` as in the plan.
    fn read(
        &mut self,
        state: TensorState,
        id: TensorId,
        layer: u32,
        values: &mut [f32],
    ) -> Result<(), Error>;

    /// Replaces the tensor `id` of `layer`.
    fn write(
        &mut self,
        state: TensorState,
        id: TensorId,
        layer: u32,
        values: &[f32],
    ) -> Result<(), Error>;

    /// Allocated bytes.
    fn allocated(&self) -> TrainBytes;
}
