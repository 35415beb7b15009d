//! Runs a pass and times its steps one by one.

use gpt_plan::SamplingOp;

use super::buffers::{PassUniform, SamplingUniform};
use super::sequence::GpuSession;
use crate::engine::{Profile, StepTime};
use crate::gpu::timing;
use crate::{Error, Sampling};

impl GpuSession {
    /// Runs `tokens` from `position` on, with the logits of the last row, and for a single token
    /// also the steps of sampling. Returns the time of each step.
    pub(super) fn time_steps(&self, tokens: &[u32], position: u32) -> Result<Profile, Error> {
        let rows = tokens.len() as u32;
        let ops = if rows == 1 { SamplingOp::TRUNCATED } else { &[] };
        self.prepare(rows, 1);
        self.prepare_sampling(ops);
        let mut encoder = self.device().encoder();
        let cut = Sampling { top_k: 40, ..Sampling::default() };
        let cut = SamplingUniform::new(&cut, &[], 0, self.shared.plan.spec.vocab);
        let uniforms = PassUniform::body_and_head(position, rows, 1);
        self.upload(&mut encoder, tokens, uniforms, Some(&cut))?;
        self.submit(encoder);
        self.device().wait()?;
        let steps = &self.shared.steps;
        let count = steps.len() + ops.len();
        let seconds = timing::seconds(self.device(), count, |index, pass| {
            match index.checked_sub(steps.len()) {
                None => self.record(pass, index, self.rows_of(index, rows, 1), position),
                Some(index) => self.record_sampling(pass, ops[index]),
            }
        })?;
        let (of_steps, of_sampling) = seconds.split_at(steps.len());
        let step_times = steps.iter().zip(of_steps).map(|(step, &seconds)| StepTime {
            step: &step.step.name,
            layer: step.layer,
            format: step.format,
            seconds,
        });
        let sampling_times = ops.iter().map(|op| op.name());
        Ok(Profile {
            clock: timing::clock(self.device()),
            steps: step_times.collect(),
            sampling: sampling_times.zip(of_sampling.iter().copied()).collect(),
        })
    }
}
