//! A pass whose steps are timed, each by itself: by timestamps of the device, where it writes them, or else by the host.

use std::time::Instant;

use gpt_plan::Op;

use super::{GpuSession, runs};
use crate::Error;
use crate::engine::{Clock, Profile, StepTime};
use crate::gpu::timestamps::{MOST, Timestamps};

impl GpuSession {
    pub(super) fn time_steps(&self, tokens: &[u32], position: u32) -> Result<Profile, Error> {
        let rows = tokens.len() as u32;
        let mut encoder = self.encoder();
        self.upload(&mut encoder, tokens, runs(position, rows, 1), None)?;
        self.submit(encoder);
        self.device().wait()?;
        let all: Vec<usize> = (0..self.shared.steps.len()).collect();
        let (clock, seconds) = if self.device().has_timestamps() {
            let mut seconds = Vec::new();
            for steps in all.chunks(MOST) {
                seconds.extend(self.by_device(steps, rows, position)?);
            }
            (Clock::Device, seconds)
        } else {
            let each = all.iter().map(|&step| self.by_host(step, rows, position));
            (Clock::Host, each.collect::<Result<_, Error>>()?)
        };
        let steps = self.shared.steps.iter().zip(seconds);
        Ok(Profile {
            clock,
            steps: steps
                .map(|(step, seconds)| StepTime {
                    step: step.step.name,
                    layer: step.layer,
                    format: step.format,
                    seconds,
                })
                .collect(),
        })
    }

    /// Seconds of each of `steps`, from the timestamps that the device writes.
    fn by_device(&self, steps: &[usize], rows: u32, position: u32) -> Result<Vec<f64>, Error> {
        let stamps = Timestamps::new(self.device(), steps.len())?;
        let mut encoder = self.encoder();
        for (number, &step) in steps.iter().enumerate() {
            let mut pass = stamps.pass(&mut encoder, number);
            self.record(&mut pass, step, self.rows_of(step, rows), position);
        }
        stamps.read(self.device(), encoder)
    }

    /// Seconds from handing `step` over to its end.
    fn by_host(&self, step: usize, rows: u32, position: u32) -> Result<f64, Error> {
        let mut encoder = self.encoder();
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            self.record(&mut pass, step, self.rows_of(step, rows), position);
        }
        let start = Instant::now();
        self.device().submit(encoder);
        self.device().wait()?;
        Ok(start.elapsed().as_secs_f64())
    }

    /// The head makes the last row's logits only.
    fn rows_of(&self, step: usize, rows: u32) -> u32 {
        match self.shared.steps[step].step.op {
            Op::Head { .. } => 1,
            _ => rows,
        }
    }
}
