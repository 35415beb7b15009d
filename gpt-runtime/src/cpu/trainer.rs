//! Training on the CPU.
//!
//! The division of work into tasks and the order of every sum do not depend on the number of
//! threads, so a training run can be repeated bit for bit. In bf16, both operands of a projection's
//! three products are rounded to bf16, whose products are exact in f32; sums, attention, norms and
//! the optimizer are in f32.

use std::sync::Arc;

use gpt_plan::{Plan, TensorId, TrainBytes};

use super::device::CpuDevice;
use super::interpreter::{ActivateWithSlopes, TrainBuffers, TrainPass};
use super::memory::Arena;
use super::ops::rotary::RotaryTables;
use super::parameters::TrainParameters;
use crate::Error;
use crate::clock::Instant;
use crate::engine::{
    Clock, EngineTrainer, Learn, Precision, Sequences, TensorState, TrainProfile, TrainerOptions,
    Update,
};
use crate::weights::Weights;

/// A model that is trained on the CPU.
pub struct CpuTrainer {
    device: Arc<CpuDevice>,
    plan: &'static Plan,
    options: TrainerOptions,
    activate: Option<ActivateWithSlopes>,
    parameters: TrainParameters,
    buffers: TrainBuffers,
    rotary: RotaryTables,
}

impl CpuTrainer {
    /// Allocates all memory and reads the parameters from `weights`. `activate` is the compiled
    /// activation of a declared model; without it, a closure is evaluated node by node.
    ///
    /// # Errors
    /// Fails if the weights cannot be read, if the engine lacks the precision, or if there is too
    /// little memory.
    pub fn new(
        device: Arc<CpuDevice>,
        plan: &'static Plan,
        activate: Option<ActivateWithSlopes>,
        weights: &dyn Weights,
        options: TrainerOptions,
    ) -> Result<CpuTrainer, Error> {
        if options.precision == Precision::F16 {
            return Err(Error::Unsupported(
                "the CPU engine trains in f32 or bf16; f16 is for GPUs, so choose bf16".to_owned(),
            ));
        }
        let rounds = options.precision == Precision::Bf16;
        let arena = Arena::default();
        Ok(CpuTrainer {
            parameters: TrainParameters::new(&device, &arena, plan, weights, rounds)?,
            buffers: TrainBuffers::new(&arena, plan, &options.shape)?,
            rotary: RotaryTables::new(plan),
            device,
            plan,
            options,
            activate,
        })
    }

    /// Fills with NaN, for tests, every buffer that a pass writes before reading it.
    pub fn poison(&mut self) {
        self.buffers.poison();
    }

    fn pass<'a>(&'a mut self, batch: &Sequences<'_>, options: Learn) -> TrainPass<'a> {
        self.buffers.tokens[..batch.inputs.len()].copy_from_slice(batch.inputs);
        self.buffers.targets[..batch.targets.len()].copy_from_slice(batch.targets);
        TrainPass {
            device: &self.device,
            plan: self.plan,
            activate: self.activate,
            parameters: &mut self.parameters,
            buffers: &mut self.buffers,
            rotary: &self.rotary,
            recomputes: self.options.shape.recompute.is_block(),
            rows: batch.inputs.len(),
            tokens: batch.tokens as usize,
            options,
            layer: 0,
            logit_rows: 0..0,
            profile: None,
        }
    }
}

impl EngineTrainer for CpuTrainer {
    fn learn(&mut self, batch: &Sequences<'_>, options: &Learn) -> Result<f64, Error> {
        let mut pass = self.pass(batch, *options);
        pass.forward();
        pass.backward();
        Ok(pass.loss())
    }

    fn evaluate(&mut self, batch: &Sequences<'_>) -> Result<f64, Error> {
        let options = Learn { first: true, scale: 0.0, dropout: None };
        let mut pass = self.pass(batch, options);
        pass.forward();
        pass.losses_only();
        Ok(pass.loss())
    }

    fn update(&mut self, update: &Update) -> Result<f64, Error> {
        Ok(self.parameters.update(&self.device, update))
    }

    fn profile(
        &mut self,
        batch: &Sequences<'_>,
        options: &Learn,
        update: &Update,
    ) -> Result<(TrainProfile, f64), Error> {
        let mut profile = TrainProfile::new(Clock::Host);
        let mut pass = self.pass(batch, *options);
        pass.profile = Some(&mut profile);
        pass.forward();
        pass.backward();
        let start = Instant::now();
        let norm = self.update(update)?;
        profile.add("update", start.elapsed().as_secs_f64());
        Ok((profile, norm))
    }

    fn read(
        &mut self,
        state: TensorState,
        id: TensorId,
        layer: u32,
        values: &mut [f32],
    ) -> Result<(), Error> {
        self.parameters.read(self.plan, state, id, layer, values);
        Ok(())
    }

    fn write(
        &mut self,
        state: TensorState,
        id: TensorId,
        layer: u32,
        values: &[f32],
    ) -> Result<(), Error> {
        self.parameters.write(self.plan, state, id, layer, values);
        Ok(())
    }

    fn allocated(&self) -> TrainBytes {
        let (activations, scratch) = self.buffers.bytes(self.plan);
        let [parameters, gradients, first, second] = self.parameters.bytes();
        TrainBytes { parameters, gradients, optimizer: first + second, activations, scratch }
    }
}
