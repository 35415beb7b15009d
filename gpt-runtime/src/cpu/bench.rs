//! Gives benchmarks access to the single steps of a pass and to the barrier between two steps. Not
//! part of the public interface.

use std::sync::Arc;

use gpt_plan::Plan;

use super::device::CpuDevice;
use super::session::{CpuModel, CpuSession};
use crate::Error;
use crate::engine::SessionOptions;
use crate::weights::Weights;

/// A session whose steps are called one at a time, in any order, on the current contents of its
/// buffers.
pub struct Steps {
    session: CpuSession,
    logits: Vec<f32>,
}

impl Steps {
    /// Packs `weights` and opens a session.
    ///
    /// # Errors
    /// Fails if the weights cannot be read, or if there is too little memory.
    pub fn new(
        device: &Arc<CpuDevice>,
        plan: &'static Plan,
        weights: &dyn Weights,
        options: SessionOptions,
    ) -> Result<Steps, Error> {
        let model = CpuModel::new(device.clone(), plan, None, weights)?;
        Ok(Steps {
            session: CpuSession::new(model.shared, options)?,
            logits: vec![0.0; options.chunk as usize * plan.spec.vocab as usize],
        })
    }

    /// Runs step `index` of [`Plan::steps`] for `tokens` from `position` on. The head computes all
    /// logits.
    ///
    /// # Panics
    /// Panics if there is no such step, or if the tokens exceed the session's chunk or capacity.
    pub fn run(&mut self, index: usize, tokens: &[u32], position: u32) {
        self.session.step(index, tokens, position, &mut self.logits);
    }
}

/// Runs as many empty tasks as `device` has threads and waits for all of them: the overhead between
/// two steps.
pub fn barrier(device: &CpuDevice) {
    device.pool.run(device.pool.threads(), &|task, thread| {
        std::hint::black_box((task, thread));
    });
}
