//! The parameters of a trainer as weights, to save or to build a model from.

use std::borrow::Cow;
use std::sync::{Mutex, PoisonError};

use gpt_plan::{Format, Plan, TensorId};

use crate::Error;
use crate::engine::{EngineTrainer, TensorState};
use crate::weights::{HostTensor, Weights, computed};

/// A trainer's parameters and moments, copied from the engine on demand, tensor by tensor.
pub struct Parameters<'a> {
    plan: &'static Plan,
    engine: Mutex<&'a mut dyn EngineTrainer>,
}

impl<'a> Parameters<'a> {
    pub fn new(plan: &'static Plan, engine: &'a mut dyn EngineTrainer) -> Self {
        Parameters { plan, engine: Mutex::new(engine) }
    }

    /// The values of one tensor.
    pub fn values(&self, state: TensorState, id: TensorId, layer: u32) -> Result<Vec<f32>, Error> {
        let mut values = vec![0.0; self.plan.tensor(id).len() as usize];
        let mut engine = self.engine.lock().unwrap_or_else(PoisonError::into_inner);
        engine.read(state, id, layer, &mut values)?;
        Ok(values)
    }
}

impl Weights for Parameters<'_> {
    fn tensor(&self, id: TensorId, layer: u32) -> Result<HostTensor<'_>, Error> {
        let tensor = self.plan.tensor(id);
        let data = if tensor.sources.is_empty() {
            computed(tensor)
        } else {
            let values = self.values(TensorState::Parameter, id, layer)?;
            Cow::Owned(values.iter().flat_map(|x| x.to_le_bytes()).collect())
        };
        Ok(HostTensor {
            format: Format::F32,
            rows: tensor.rows as usize,
            columns: tensor.columns as usize,
            data,
        })
    }

    fn format(&self, _id: TensorId, _layer: u32) -> Format {
        Format::F32
    }
}
