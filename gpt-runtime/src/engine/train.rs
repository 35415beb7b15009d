//! What training asks of an engine.
//!
//! A trainer owns f32 parameters, their gradients, AdamW's moments and the buffers of a pass, all allocated when it is created. It knows the
//! arithmetic of a step; which text to learn from, at what rate, and when to save is the business of `train`.

use gpt_plan::{Dropout, Spec, TensorId, TrainBytes, TrainShape};
use serde::{Deserialize, Serialize};

use super::TrainProfile;
use crate::Error;

/// What products are computed in. Weights, sums and the optimizer are f32 always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Precision {
    #[default]
    F32,
    /// Operands of matrix products are rounded to bf16. On the CPU.
    Bf16,
    /// Operands of a projection's three products (forward, and the gradients of its input and its weights) are rounded to f16, whose products an f32
    /// holds exactly; sums, attention, norms and the loss are f32. Gradients are scaled so that small ones survive: the scale begins at 2^16, is doubled
    /// after 2000 steps in a row, and halved when a gradient overflows; that step is skipped, see
    /// [`Trainer::step`](crate::Trainer::step). For GPUs that have the feature `SHADER_F16`.
    F16,
}

/// Sizes of a trainer, fixed when it is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrainerOptions {
    /// The largest batch.
    pub shape: TrainShape,
    pub precision: Precision,
}

/// Sequences to learn from, checked: at least one token, no more than the trainer's shape, all tokens and targets in the vocabulary.
#[derive(Clone, Copy, Debug)]
pub struct Sequences<'a> {
    /// `[sequences, tokens]`.
    pub inputs: &'a [u32],
    /// What should follow each of them.
    pub targets: &'a [u32],
    /// Tokens of each sequence.
    pub tokens: u32,
}

/// How one batch counts in a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Learn {
    /// Whether gradients of earlier steps are replaced, not added to.
    pub first: bool,
    /// What the gradient of each row's loss is multiplied with: 1 / (rows of all batches of the step), times the loss scale if there is one.
    pub scale: f32,
    /// The masks of this batch.
    pub dropout: Option<Dropout>,
}

impl Learn {
    /// That nothing is dropped which the plan of `spec` does not let through the same mask on the way back.
    pub fn check(&self, spec: &Spec) -> Result<(), Error> {
        if self.dropout.is_some() && spec.dropout == 0.0 {
            return Err(Error::Input(
                "the model has no dropout, so its training pass has none either; give its spec a `dropout`"
                    .to_owned(),
            ));
        }
        Ok(())
    }
}

/// One step of AdamW (Loshchilov and Hutter 2019), as PyTorch defines it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Update {
    /// Number of this step, from 1: the moments' bias correction.
    pub step: u64,
    pub lr: f32,
    pub beta1: f32,
    pub beta2: f32,
    pub eps: f32,
    /// Of matrices and tables; vectors do not decay.
    pub weight_decay: f32,
    /// The gradient's norm is made no greater than this.
    pub clip: Option<f32>,
    /// The loss scale: what gradients were multiplied with, and are divided by before all else.
    pub scale: f32,
}

/// What a trainer holds of each parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    Parameter,
    Gradient,
    /// AdamW's running mean of the gradient, and of its square.
    FirstMoment,
    SecondMoment,
}

/// A model that learns.
pub trait EngineTrainer: Send {
    /// Forward and backward: adds to the gradients, returns the sum of all rows' losses (nats).
    fn learn(&mut self, batch: &Sequences<'_>, how: &Learn) -> Result<f64, Error>;

    /// Forward only, nothing dropped: the sum of all rows' losses.
    fn evaluate(&mut self, batch: &Sequences<'_>) -> Result<f64, Error>;

    /// Moves the parameters along the gradients; returns the gradient's norm, without the loss scale, before it was clipped. If the norm is not finite,
    /// nothing is changed.
    fn update(&mut self, update: &Update) -> Result<f64, Error>;

    /// [`learn`](Self::learn) and [`update`](Self::update), each part timed by itself, and the gradient's norm.
    fn profile(
        &mut self,
        batch: &Sequences<'_>,
        how: &Learn,
        update: &Update,
    ) -> Result<(TrainProfile, f64), Error>;

    /// Copies the tensor `id` of `layer` (0 for a tensor of the model), `[rows, columns]` as the plan has it.
    fn read(
        &mut self,
        state: State,
        id: TensorId,
        layer: u32,
        values: &mut [f32],
    ) -> Result<(), Error>;

    /// Replaces it.
    fn write(
        &mut self,
        state: State,
        id: TensorId,
        layer: u32,
        values: &[f32],
    ) -> Result<(), Error>;

    /// What was allocated.
    fn allocated(&self) -> TrainBytes;
}
