//! A pass whose steps are timed, each by itself: by timestamps of the device, where it writes them, or else by the host.

use std::time::Instant;

use gpt_plan::ChoiceOp;
use wgpu::ComputePass;

use super::{GpuSession, runs};
use crate::engine::{Clock, Profile, StepTime};
use crate::gpu::buffers::SamplingNumbers;
use crate::gpu::timestamps::{MOST, Timestamps};
use crate::{Error, Sampling};

/// What is timed.
#[derive(Clone, Copy)]
enum Timed {
    /// A step of the pass.
    Step(usize),
    Choice(ChoiceOp),
}

impl GpuSession {
    pub(super) fn time_steps(&self, tokens: &[u32], position: u32) -> Result<Profile, Error> {
        let rows = tokens.len() as u32;
        self.prepare(rows, 1);
        let mut encoder = self.encoder();
        let cut = Sampling {
            top_k: 40,
            ..Sampling::default()
        };
        let cut = SamplingNumbers::new(&cut, &[], 0, self.shared.plan.spec.vocab);
        self.upload(&mut encoder, tokens, runs(position, rows, 1), Some(&cut))?;
        self.submit(encoder);
        self.device().wait()?;
        let steps = 0..self.shared.steps.len();
        let mut all: Vec<Timed> = steps.map(Timed::Step).collect();
        if rows == 1 {
            all.extend(ChoiceOp::CUT.iter().map(|op| Timed::Choice(*op)));
        }
        let (clock, seconds) = if self.device().has_timestamps() {
            let mut seconds = Vec::new();
            for some in all.chunks(MOST) {
                seconds.extend(self.by_device(some, rows, position)?);
            }
            (Clock::Device, seconds)
        } else {
            let each = all.iter().map(|&one| self.by_host(one, rows, position));
            (Clock::Host, each.collect::<Result<_, Error>>()?)
        };
        let mut profile = Profile {
            clock,
            steps: Vec::new(),
            choice: Vec::new(),
        };
        for (timed, seconds) in all.into_iter().zip(seconds) {
            match timed {
                Timed::Step(step) => {
                    let step = &self.shared.steps[step];
                    profile.steps.push(StepTime {
                        step: &step.step.name,
                        layer: step.layer,
                        format: step.format,
                        seconds,
                    });
                }
                Timed::Choice(op) => profile.choice.push((op.name(), seconds)),
            }
        }
        Ok(profile)
    }

    /// Seconds of each of `all`, from the timestamps that the device writes.
    fn by_device(&self, all: &[Timed], rows: u32, position: u32) -> Result<Vec<f64>, Error> {
        let stamps = Timestamps::new(self.device(), all.len())?;
        let mut encoder = self.encoder();
        for (number, &timed) in all.iter().enumerate() {
            let mut pass = stamps.pass(&mut encoder, number);
            self.record_timed(&mut pass, timed, rows, position);
        }
        stamps.read(self.device(), encoder)
    }

    /// Seconds from handing `timed` over to its end.
    fn by_host(&self, timed: Timed, rows: u32, position: u32) -> Result<f64, Error> {
        let mut encoder = self.encoder();
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            self.record_timed(&mut pass, timed, rows, position);
        }
        let start = Instant::now();
        self.device().submit(encoder);
        self.device().wait()?;
        Ok(start.elapsed().as_secs_f64())
    }

    fn record_timed(&self, pass: &mut ComputePass<'_>, timed: Timed, rows: u32, position: u32) {
        match timed {
            Timed::Step(step) => self.record(pass, step, self.rows_of(step, rows), position),
            Timed::Choice(op) => self.record_choice(pass, op),
        }
    }

    /// The head makes the last row's logits only.
    fn rows_of(&self, step: usize, rows: u32) -> u32 {
        if self.shared.steps[step].step.op.is_head() {
            1
        } else {
            rows
        }
    }
}
