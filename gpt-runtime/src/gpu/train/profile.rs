//! Runs a training step and times its kernels one by one.

use super::dispatch::Dispatch;
use super::trainer::{GpuTrainer, Stage};
use crate::Error;
use crate::engine::{Learn, Sequences, TrainProfile, Update};
use crate::gpu::timing;

impl GpuTrainer {
    /// Computes the gradients of `batch` and updates the parameters. Returns the times and the
    /// gradients' norm.
    pub(super) fn time_step(
        &mut self,
        batch: &Sequences<'_>,
        options: &Learn,
        update: &Update,
    ) -> Result<(TrainProfile, f64), Error> {
        let mut profile = TrainProfile::new(timing::clock(&self.device));
        let mut encoder = self.device.encoder();
        let ranges = self.prepare(&mut encoder, batch, Some(options))?;
        self.buffers.upload.submit(&self.device, encoder);
        self.device.wait()?;
        let mut stages = self.stages(batch, &ranges, true);
        stages.push(self.squares_stage());
        self.time(&stages, &mut profile)?;
        let norm = self.norm()? / f64::from(update.scale);
        if norm.is_finite() {
            let mut encoder = self.device.encoder();
            self.prepare_update(&mut encoder, update, norm)?;
            self.buffers.upload.submit(&self.device, encoder);
            self.device.wait()?;
            self.time(&[self.update_stage()], &mut profile)?;
        }
        Ok((profile, norm))
    }

    /// Runs `stages` and adds the time of each kernel to `profile`.
    fn time(&self, stages: &[Stage<'_>], profile: &mut TrainProfile) -> Result<(), Error> {
        let of_stage = |stage| move |dispatch| (dispatch, stage);
        let all = stages.iter().flat_map(|stage| stage.dispatches.iter().map(of_stage(stage)));
        let all: Vec<(&Dispatch, &Stage<'_>)> = all.collect();
        let seconds = timing::seconds(&self.device, all.len(), |index, pass| {
            let (dispatch, stage) = all[index];
            self.record(pass, dispatch, stage);
        })?;
        for ((dispatch, _), seconds) in all.iter().zip(seconds) {
            let kernel = self.pass.program.pipelines.kernel(dispatch.kernel);
            profile.add(&kernel.name, seconds);
        }
        Ok(())
    }
}
