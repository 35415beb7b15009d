//! What generated code does for a model, as functions.
//!
//! The compiler writes a model as a type. Code that serves many models knows one only by its plan; what it cannot do from the plan alone,
//! build the typed engine and call the compiled activation, it does through these.

use std::sync::Arc;

use gpt_plan::Plan;

use crate::Error;
use crate::cpu::{Activate, CpuDevice, CpuModel, CpuTrainer, Gpt, TypedCpuModel};
use crate::device::{Device, EngineRef};
use crate::engine::{EngineModel, EngineTrainer, TrainerOptions};
use crate::gpu::{GpuModel, GpuTrainer};
use crate::weights::Weights;

type OnCpu = fn(Arc<CpuDevice>, &'static Plan, &dyn Weights) -> Result<Box<dyn EngineModel>, Error>;

/// A model's plan, and what was written for it.
#[derive(Clone, Copy)]
pub struct ModelVtable {
    pub plan: &'static Plan,
    on_cpu: OnCpu,
    activate: Option<Activate>,
}

impl ModelVtable {
    /// Of a model that was declared.
    pub fn of<M: Gpt>() -> ModelVtable {
        ModelVtable {
            plan: M::plan(),
            on_cpu: |device, _, weights| Ok(Box::new(TypedCpuModel::<M>::new(device, weights)?)),
            activate: Some(M::activate),
        }
    }

    /// Of a plan that was made at run time: engines walk it as data.
    pub fn of_plan(plan: &'static Plan) -> ModelVtable {
        ModelVtable {
            plan,
            on_cpu: |device, plan, weights| Ok(Box::new(CpuModel::new(device, plan, weights)?)),
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
            EngineRef::Cpu(cpu) => (self.on_cpu)(cpu.clone(), self.plan, weights),
            EngineRef::Gpu(gpu) => Ok(Box::new(GpuModel::new(gpu.clone(), self.plan, weights)?)),
        }
    }

    /// Copies `weights` into a trainer on `device`.
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
            EngineRef::Gpu(gpu) => {
                let trainer = GpuTrainer::new(gpu.clone(), self.plan, weights, options)?;
                Ok(Box::new(trainer))
            }
        }
    }
}
