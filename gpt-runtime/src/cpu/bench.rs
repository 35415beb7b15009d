//! A door for benchmarks: the steps of a pass one by one, and what stands between two of them. Nothing here is part of the interface.

use std::sync::Arc;

use gpt_plan::Plan;

use super::device::CpuDevice;
use super::session::{CpuModel, Observe, Session};
use crate::Error;
use crate::engine::{LogitsRequest, SessionOptions};
use crate::weights::Weights;

/// A sequence whose steps are called one at a time, in any order, on whatever the buffers hold.
pub struct Steps {
    session: Session,
    logits: Vec<f32>,
}

impl Steps {
    /// Packs `weights`, and opens a session.
    ///
    /// # Errors
    /// Those of the weights.
    pub fn new(
        device: &Arc<CpuDevice>,
        plan: &'static Plan,
        weights: &dyn Weights,
        options: SessionOptions,
    ) -> Result<Steps, Error> {
        let model = CpuModel::new(device.clone(), plan, None, weights)?;
        Ok(Steps {
            session: Session::new(model.shared, options)?,
            logits: vec![0.0; options.chunk as usize * plan.spec.vocab as usize],
        })
    }

    /// Step `index` of [`Plan::steps`] for `tokens` from `position` on, all logits if it is the head.
    ///
    /// # Panics
    /// If there is no such step, or more tokens or positions than the session has.
    pub fn run(&mut self, index: usize, tokens: &[u32], position: u32) {
        let logits = &mut self.logits;
        self.session.with_pass(
            tokens,
            position,
            LogitsRequest::All,
            logits,
            Observe::Nothing,
            |model, buffers, pass| {
                pass.next = index;
                model.step(index, buffers, pass);
            },
        );
    }
}

/// Hands every thread of `device` a task that does nothing, and waits until all are done: what stands between two steps.
pub fn barrier(device: &CpuDevice) {
    device.pool.run(device.pool.threads(), &|task, thread| {
        std::hint::black_box((task, thread));
    });
}
