//! A step of training whose kernels are timed, each by itself: by timestamps of the device, where it writes them, or else by the host.

use std::time::Instant;

use super::pass::Dispatch;
use super::{GpuTrainer, Part};
use crate::Error;
use crate::engine::{Clock, Learn, Sequences, TrainProfile, Update};
use crate::gpu::timestamps::{MOST, Timestamps};

impl GpuTrainer {
    pub(super) fn time_step(
        &mut self,
        batch: &Sequences<'_>,
        how: &Learn,
        update: &Update,
    ) -> Result<(TrainProfile, f64), Error> {
        let mut profile = TrainProfile::new(match self.device.has_timestamps() {
            true => Clock::Device,
            false => Clock::Host,
        });
        let mut encoder = self.encoder();
        let chunks = self.prepare(&mut encoder, batch, Some(how))?;
        self.submit(encoder);
        self.device.wait()?;
        let mut parts = self.parts(batch, &chunks, true);
        parts.push(self.squares());
        self.time(&parts, &mut profile)?;
        let norm = self.norm()? / f64::from(update.scale);
        if norm.is_finite() {
            let mut encoder = self.encoder();
            self.prepare_moves(&mut encoder, update, norm)?;
            self.submit(encoder);
            self.device.wait()?;
            self.time(&[self.moves()], &mut profile)?;
        }
        Ok((profile, norm))
    }

    fn time(&self, parts: &[Part<'_>], profile: &mut TrainProfile) -> Result<(), Error> {
        let of_part = |part| move |dispatch| (dispatch, part);
        let all = parts
            .iter()
            .flat_map(|part| part.dispatches.iter().map(of_part(part)));
        let all: Vec<(&Dispatch, &Part<'_>)> = all.collect();
        for some in all.chunks(MOST) {
            let seconds = match profile.clock {
                Clock::Device => self.by_device(some)?,
                Clock::Host => {
                    let each = some
                        .iter()
                        .map(|&(dispatch, part)| self.by_host(dispatch, part));
                    each.collect::<Result<_, Error>>()?
                }
            };
            for ((dispatch, _), seconds) in some.iter().zip(seconds) {
                profile.add(self.pass.pipelines[dispatch.kernel].0, seconds);
            }
        }
        Ok(())
    }

    /// Seconds of each, from the timestamps that the device writes.
    fn by_device(&self, all: &[(&Dispatch, &Part<'_>)]) -> Result<Vec<f64>, Error> {
        let stamps = Timestamps::new(&self.device, all.len())?;
        let mut encoder = self.encoder();
        for (number, (dispatch, part)) in all.iter().enumerate() {
            self.record(&mut stamps.pass(&mut encoder, number), dispatch, part);
        }
        stamps.read(&self.device, encoder)
    }

    /// Seconds from handing a dispatch over to its end.
    fn by_host(&self, dispatch: &Dispatch, part: &Part<'_>) -> Result<f64, Error> {
        let mut encoder = self.encoder();
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            self.record(&mut pass, dispatch, part);
        }
        let start = Instant::now();
        self.device.submit(encoder);
        self.device.wait()?;
        Ok(start.elapsed().as_secs_f64())
    }
}
