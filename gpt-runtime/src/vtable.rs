//! The functions that `gpt_model!` compiles for a model.
//!
//! Code that serves many models identifies a model by its plan. A plan lacks only the compiled
//! activation; [`ModelVtable`] carries it from the model's type to the engines.

use gpt_plan::Plan;

use crate::Error;
use crate::cpu::CpuModel;
#[cfg(feature = "train")]
use crate::cpu::{ActivateWithSlopes, CpuTrainer};
use crate::device::{Device, EngineRef};
use crate::engine::EngineModel;
#[cfg(feature = "train")]
use crate::engine::{EngineTrainer, TrainerOptions};
#[cfg(feature = "gpu")]
use crate::gpu::GpuModel;
#[cfg(all(feature = "gpu", feature = "train"))]
use crate::gpu::GpuTrainer;
use crate::parameter::Row;
use crate::weights::Weights;

/// A model that `gpt_model!` declares. The macro implements it.
pub trait Gpt: Sized + Send + Sync + 'static {
    /// Scores of the next token: `[f32; VOCAB]`.
    type Logits: Row;

    /// The hidden state of a token: `[f32; EMBED]`.
    type Hidden: Row;

    /// The model's plan.
    fn plan() -> &'static Plan;

    /// Applies the MLP's activation to `values`, in place.
    fn activation(values: &mut [f32]);

    /// Applies the MLP's activation to `values`, in place, and writes its derivative to `slopes`,
    /// which has the same length.
    fn activate(values: &mut [f32], slopes: &mut [f32]);
}

/// The type parameter of a model that is known only at run time.
pub enum Untyped {}

/// A model's plan and compiled functions, without its type.
#[derive(Clone, Copy)]
pub struct ModelVtable {
    pub plan: &'static Plan,
    activation: Option<fn(&mut [f32])>,
    #[cfg(feature = "train")]
    activate: Option<ActivateWithSlopes>,
}

impl ModelVtable {
    /// The vtable of a declared model.
    pub fn of<M: Gpt>() -> ModelVtable {
        ModelVtable {
            plan: M::plan(),
            activation: Some(M::activation),
            #[cfg(feature = "train")]
            activate: Some(M::activate),
        }
    }

    /// The vtable of a plan made at run time; its closure is evaluated node by node.
    pub fn of_plan(plan: &'static Plan) -> ModelVtable {
        ModelVtable {
            plan,
            activation: None,
            #[cfg(feature = "train")]
            activate: None,
        }
    }

    /// Packs `weights` for `device`.
    pub fn model(
        &self,
        device: &Device,
        weights: &dyn Weights,
    ) -> Result<Box<dyn EngineModel>, Error> {
        match device.engine() {
            EngineRef::Cpu(cpu) => {
                let model = CpuModel::new(cpu.clone(), self.plan, self.activation, weights)?;
                Ok(Box::new(model))
            }
            #[cfg(not(feature = "gpu"))]
            EngineRef::Gpu(_) => Err(crate::gpu::unavailable()),
            #[cfg(feature = "gpu")]
            EngineRef::Gpu(gpu) => Ok(Box::new(GpuModel::new(gpu.clone(), self.plan, weights)?)),
        }
    }

    /// Copies `weights` into a trainer on `device`.
    #[cfg(feature = "train")]
    pub fn trainer(
        &self,
        device: &Device,
        weights: &dyn Weights,
        options: TrainerOptions,
    ) -> Result<Box<dyn EngineTrainer>, Error> {
        match device.engine() {
            EngineRef::Cpu(cpu) => {
                let trainer =
                    CpuTrainer::new(cpu.clone(), self.plan, self.activate, weights, options)?;
                Ok(Box::new(trainer))
            }
            #[cfg(not(feature = "gpu"))]
            EngineRef::Gpu(_) => Err(crate::gpu::unavailable()),
            #[cfg(feature = "gpu")]
            EngineRef::Gpu(gpu) => {
                let trainer = GpuTrainer::new(gpu.clone(), self.plan, weights, options)?;
                Ok(Box::new(trainer))
            }
        }
    }
}
