//! An exponential moving average of the parameters (EMA).
//!
//! The parameters of single steps are noisy, and their average often has the lower validation loss
//! (Polyak and Juditsky 1992). It is computed on the host, from parameters that are read from the
//! engine after each step, so it is the same code for both engines. To evaluate or save it, it
//! changes places with the parameters of the engine.

use gpt_plan::Plan;

use crate::Error;
use crate::engine::{EngineTrainer, TensorState};
use crate::weights::{Weights, format};

/// The average of all trained tensors.
pub struct Average {
    /// The tensors, in the order of [`Plan::trained`].
    values: Vec<Vec<f32>>,
    /// As many values as the largest tensor has.
    scratch: Vec<f32>,
    /// Whether the engine holds the average, and `values` the parameters.
    pub is_swapped: bool,
}

/// Bytes of the average of a model, in main memory.
pub fn bytes(plan: &Plan) -> u64 {
    4 * plan.trained().map(|(id, _)| plan.tensor(id).len()).sum::<u64>()
}

/// The decay of step `step`, counted from 1. It is lower in the first steps, so that the initial
/// parameters are soon forgotten, as in TensorFlow's `ExponentialMovingAverage`.
fn decay_of(decay: f32, step: u64) -> f64 {
    let step = step as f64;
    f64::from(decay).min((1.0 + step) / (10.0 + step))
}

impl Average {
    /// An average that begins with the parameters of `engine`.
    pub fn new(plan: &Plan, engine: &mut dyn EngineTrainer) -> Result<Average, Error> {
        let mut values = Vec::new();
        let mut longest = 0;
        for (id, layer) in plan.trained() {
            let len = plan.tensor(id).len() as usize;
            let mut tensor = zeros(len, plan)?;
            engine.read(TensorState::Parameter, id, layer, &mut tensor)?;
            values.push(tensor);
            longest = longest.max(len);
        }
        Ok(Average { values, scratch: zeros(longest, plan)?, is_swapped: false })
    }

    /// Replaces the average by `weights`.
    pub fn load(&mut self, plan: &Plan, weights: &dyn Weights) -> Result<(), Error> {
        for ((id, layer), values) in plan.trained().zip(&mut self.values) {
            let tensor = weights.tensor(id, layer)?;
            let rows = tensor.data.chunks(tensor.format.row_bytes(tensor.columns));
            for (row, out) in rows.zip(values.chunks_mut(tensor.columns)) {
                format::decode(tensor.format, row, out);
            }
            if !values.iter().all(|value| value.is_finite()) {
                let name = &plan.tensor(id).name;
                return Err(Error::Input(format!(
                    "the average of {name} has a value that is not finite; restore the checkpoint, or resume without the average"
                )));
            }
        }
        Ok(())
    }

    /// Adds the parameters after step `step`, counted from 1.
    pub fn add(
        &mut self,
        plan: &Plan,
        engine: &mut dyn EngineTrainer,
        decay: f32,
        step: u64,
    ) -> Result<(), Error> {
        let share = (1.0 - decay_of(decay, step)) as f32;
        for ((id, layer), values) in plan.trained().zip(&mut self.values) {
            let new = &mut self.scratch[..values.len()];
            engine.read(TensorState::Parameter, id, layer, new)?;
            for (average, new) in values.iter_mut().zip(new) {
                *average += share * (*new - *average);
            }
        }
        Ok(())
    }

    /// Exchanges the average and the parameters of `engine`. Twice is as if nothing had happened.
    pub fn swap(&mut self, plan: &Plan, engine: &mut dyn EngineTrainer) -> Result<(), Error> {
        for ((id, layer), values) in plan.trained().zip(&mut self.values) {
            let held = &mut self.scratch[..values.len()];
            engine.read(TensorState::Parameter, id, layer, held)?;
            engine.write(TensorState::Parameter, id, layer, values)?;
            values.copy_from_slice(held);
        }
        self.is_swapped = !self.is_swapped;
        Ok(())
    }
}

fn zeros(len: usize, plan: &Plan) -> Result<Vec<f32>, Error> {
    let mut values = Vec::new();
    values.try_reserve_exact(len).map_err(|_| {
        let bytes = bytes(plan);
        let message = format!(
            "the average of the parameters of {} takes {bytes} bytes of main memory, which are not free; train without it",
            plan.name
        );
        Error::OutOfMemory { message, bytes }
    })?;
    values.resize(len, 0.0);
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_decay_rises_to_its_value() {
        assert!((decay_of(0.999, 1) - 2.0 / 11.0).abs() < 1e-12);
        assert!((decay_of(0.999, 90) - 0.91).abs() < 1e-12);
        assert_eq!(decay_of(0.999, 10_000), f64::from(0.999f32));
        assert_eq!(decay_of(0.999, u64::MAX), f64::from(0.999f32));
        assert_eq!(decay_of(0.0, 1), 0.0);
    }
}
