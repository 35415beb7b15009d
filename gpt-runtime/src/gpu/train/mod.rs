//! Training on a GPU: a plan's training pass, run through wgpu.
//!
//! - `parameters` keeps parameters, gradients and moments, `buffers` everything else that a pass
//!   works with; `operands` says which of these an operand of a kernel is.
//! - `dispatch` makes dispatches from a plan's steps, and `pass` lists the dispatches of a whole
//!   pass and of the optimizer. All are created with the trainer.
//! - `trainer` writes the uniforms of a pass and records the pass; `profile` times it.
//!
//! Gradients need no float atomics: each sum has one fixed order, so a step gives the same bits
//! each time. In f16, products have separate kernels (`Training::in_f16`).

mod buffers;
mod dispatch;
mod operands;
mod parameters;
mod pass;
mod profile;
mod trainer;

pub use trainer::GpuTrainer;

use gpt_plan::{TensorId, TrainBytes};

use crate::Error;
use crate::engine::{EngineTrainer, Learn, Sequences, TensorState, TrainProfile, Update};

impl GpuTrainer {
    fn scoped<T>(&mut self, calls: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        let device = self.device.clone();
        device.scoped(|| calls(self))
    }
}

impl EngineTrainer for GpuTrainer {
    fn learn(&mut self, batch: &Sequences<'_>, options: &Learn) -> Result<f64, Error> {
        self.scoped(|trainer| trainer.run(batch, Some(options)))
    }

    fn evaluate(&mut self, batch: &Sequences<'_>) -> Result<f64, Error> {
        self.scoped(|trainer| trainer.run(batch, None))
    }

    fn update(&mut self, update: &Update) -> Result<f64, Error> {
        self.scoped(|trainer| trainer.step_optimizer(update))
    }

    fn profile(
        &mut self,
        batch: &Sequences<'_>,
        options: &Learn,
        update: &Update,
    ) -> Result<(TrainProfile, f64), Error> {
        self.scoped(|trainer| trainer.time_step(batch, options, update))
    }

    fn read(
        &mut self,
        state: TensorState,
        id: TensorId,
        layer: u32,
        values: &mut [f32],
    ) -> Result<(), Error> {
        self.scoped(|trainer| trainer.parameters.read(&trainer.device, state, id, layer, values))
    }

    fn write(
        &mut self,
        state: TensorState,
        id: TensorId,
        layer: u32,
        values: &[f32],
    ) -> Result<(), Error> {
        self.scoped(|trainer| {
            trainer.parameters.write(&trainer.device, state, id, layer, values);
            trainer.device.check()
        })
    }

    fn allocated(&self) -> TrainBytes {
        let of = |state| self.parameters.bytes(state);
        let (activations, scratch) = self.buffers.bytes;
        TrainBytes {
            parameters: of(TensorState::Parameter),
            gradients: of(TensorState::Gradient),
            optimizer: of(TensorState::FirstMoment) + of(TensorState::SecondMoment),
            activations,
            scratch,
        }
    }
}
