//! A trainer: writes the uniforms of a pass, records the pass, and reads losses and norms.

use std::sync::Arc;

use bytemuck::{bytes_of, cast_slice};
use gpt_plan::{BufferId, MAX_BINDING, Plan};
use wgpu::{CommandEncoder, ComputePass};

use super::buffers::{TrainBuffers, TrainPassUniform, UNIFORM_STRIDE, UpdateUniform};
use super::dispatch::Dispatch;
use super::parameters::DeviceParameters;
use super::pass::{self, TrainPass};
use crate::Error;
use crate::engine::{Learn, Precision, Sequences, TrainerOptions, Update};
use crate::gpu::device::GpuDevice;
use crate::gpu::upload::Upload;
use crate::weights::Weights;

/// A model that is trained on a GPU.
pub struct GpuTrainer {
    pub(super) device: Arc<GpuDevice>,
    plan: &'static Plan,
    options: TrainerOptions,
    pub(super) parameters: DeviceParameters,
    pub(super) buffers: TrainBuffers,
    pub(super) pass: TrainPass,
}

impl GpuTrainer {
    /// Creates a trainer that starts from `weights`, and everything that it needs.
    ///
    /// # Errors
    /// Fails if the weights cannot be read, if the device lacks the precision, or if a batch of the
    /// shape is too large for it.
    pub fn new(
        device: Arc<GpuDevice>,
        plan: &'static Plan,
        weights: &dyn Weights,
        options: TrainerOptions,
    ) -> Result<GpuTrainer, Error> {
        Self::in_parts(device, plan, weights, options, MAX_BINDING)
    }

    /// Like [`new`](Self::new), with parameters in buffers of at most `part` bytes; for tests.
    #[doc(hidden)]
    pub fn in_parts(
        device: Arc<GpuDevice>,
        plan: &'static Plan,
        weights: &dyn Weights,
        options: TrainerOptions,
        part: u64,
    ) -> Result<GpuTrainer, Error> {
        check(&device, options.precision)?;
        let (parameters, buffers, pass) = device.scoped(|| {
            let parameters = DeviceParameters::new(&device, plan, weights, part)?;
            let sums = pass::square_sum_bytes(plan, &parameters);
            let buffers = TrainBuffers::new(&device, plan, weights, &options.shape, sums)?;
            let pass = TrainPass::new(&device, plan, &parameters, &buffers, &options)?;
            Ok((parameters, buffers, pass))
        })?;
        Ok(GpuTrainer { device, plan, options, parameters, buffers, pass })
    }

    /// Fills every element that a pass must not depend on with NaN; for tests.
    #[doc(hidden)]
    pub fn poison(&mut self) {
        let shape = &self.options.shape;
        self.buffers.poison(&self.device, self.plan, shape);
    }

    /// The first buffer whose padding is not zero; for tests.
    #[doc(hidden)]
    pub fn spilled(&mut self) -> Result<Option<BufferId>, Error> {
        let shape = &self.options.shape;
        self.buffers.spilled(&self.device, self.plan, shape)
    }

    /// Runs a forward pass and, with `learn`, a backward pass. Returns the sum of all rows' losses.
    pub(super) fn run(
        &mut self,
        batch: &Sequences<'_>,
        learn: Option<&Learn>,
    ) -> Result<f64, Error> {
        let mut encoder = self.device.encoder();
        let ranges = self.prepare(&mut encoder, batch, learn)?;
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            for stage in self.stages(batch, &ranges, learn.is_some()) {
                self.record_stage(&mut pass, &stage);
            }
        }
        let losses = self.buffers.get(BufferId::Losses, 0);
        let bytes = 4 * batch.inputs.len() as u64;
        encoder.copy_buffer_to_buffer(losses, 0, &self.buffers.download, 0, bytes);
        self.buffers.upload.submit(&self.device, encoder);
        self.sum_of_download(bytes)
    }

    /// The sum of the f32s in the first `bytes` of the download buffer, in f64.
    fn sum_of_download(&self, bytes: u64) -> Result<f64, Error> {
        let mut sum = 0.0;
        self.device.read(&self.buffers.download, bytes, |values| {
            let values: &[f32] = cast_slice(values);
            sum = values.iter().map(|&value| f64::from(value)).sum();
        })?;
        Ok(sum)
    }

    /// Records the upload of a pass's uniforms and tokens, and the clearing of gradients. Returns
    /// the ranges of rows whose logits are computed together.
    pub(super) fn prepare(
        &mut self,
        encoder: &mut CommandEncoder,
        batch: &Sequences<'_>,
        learn: Option<&Learn>,
    ) -> Result<Vec<(u32, u32)>, Error> {
        let rows = batch.inputs.len() as u32;
        let options = learn.copied().unwrap_or(Learn { first: true, scale: 1.0, dropout: None });
        let ranges = pass::logit_ranges(self.plan, &self.options, rows);
        let uniform = |first, rows, replaces: bool| TrainPassUniform {
            tokens: batch.tokens,
            rows,
            first,
            replace: u32::from(replaces),
            scale: options.scale,
            key: options.dropout.map_or(0, |d| d.key),
            threshold: options.dropout.map_or(0, |d| d.threshold),
            keep: options.dropout.map_or(1.0, |d| d.scale),
        };
        // Every range but the first adds to the gradients of those before it.
        let of_range =
            |&(first, rows): &(u32, u32)| uniform(first, rows, options.first && first == 0);
        let uniforms = std::iter::once(uniform(0, rows, options.first));
        let uniforms: Vec<_> = uniforms.chain(ranges.iter().map(of_range)).collect();
        let buffers = &self.buffers;
        let mut uploads: Vec<_> = (0..)
            .zip(&uniforms)
            .map(|(index, uniform)| buffers.pass_uniform(index, bytes_of(uniform)))
            .collect();
        for (name, tokens) in [(BufferId::Tokens, batch.inputs), (BufferId::Targets, batch.targets)]
        {
            uploads.push(Upload::new(cast_slice(tokens), buffers.get(name, 0)));
        }
        buffers.upload.record(&self.device, encoder, &uploads)?;
        if learn.is_some() && options.first {
            for (buffer, offset, bytes) in &self.pass.cleared {
                encoder.clear_buffer(buffer, *offset, Some(*bytes));
            }
        }
        Ok(ranges)
    }

    /// The stages of a pass, in order.
    pub(super) fn stages(
        &self,
        batch: &Sequences<'_>,
        ranges: &[(u32, u32)],
        learns: bool,
    ) -> Vec<Stage<'_>> {
        let stage =
            |dispatches, uniform, rows| Stage { dispatches, uniform, rows, tokens: batch.tokens };
        let rows = batch.inputs.len() as u32;
        let mut stages = vec![stage(&self.pass.forward, 0, rows)];
        for (i, &(_, rows)) in (1..).zip(ranges) {
            stages.push(stage(&self.pass.loss, i, rows));
            if learns {
                stages.push(stage(&self.pass.head, i, rows));
            }
        }
        if learns {
            stages.push(stage(&self.pass.backward, 0, rows));
        }
        stages
    }

    fn record_stage(&self, pass: &mut ComputePass<'_>, stage: &Stage<'_>) {
        for dispatch in stage.dispatches {
            self.record(pass, dispatch, stage);
        }
    }

    /// Records a dispatch of `stage`.
    pub(super) fn record(
        &self,
        pass: &mut ComputePass<'_>,
        dispatch: &Dispatch,
        stage: &Stage<'_>,
    ) {
        let uniform = stage.uniform * UNIFORM_STRIDE;
        let program = &self.pass.program;
        program.record(pass, dispatch, uniform, stage.rows, stage.tokens);
    }

    /// The stage that sums the squares of all gradients.
    pub(super) fn squares_stage(&self) -> Stage<'_> {
        Stage::without_batch(&self.pass.squares, 0)
    }

    /// The stage that updates the parameters.
    pub(super) fn update_stage(&self) -> Stage<'_> {
        Stage::without_batch(&self.pass.update, self.buffers.update_uniform())
    }

    /// The norm of all gradients. The sums of squares are f32 and are added in f64.
    pub(super) fn norm(&mut self) -> Result<f64, Error> {
        let mut encoder = self.device.encoder();
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            self.record_stage(&mut pass, &self.squares_stage());
        }
        let sums = &self.pass.square_sums;
        let bytes = sums.size();
        encoder.copy_buffer_to_buffer(sums, 0, &self.buffers.download, 0, bytes);
        self.device.submit(encoder);
        Ok(self.sum_of_download(bytes)?.sqrt())
    }

    /// Clips the gradients and updates the parameters. Returns the norm; if it is not finite,
    /// nothing is updated.
    pub(super) fn step_optimizer(&mut self, update: &Update) -> Result<f64, Error> {
        let norm = self.norm()? / f64::from(update.scale);
        if !norm.is_finite() {
            return Ok(norm);
        }
        let mut encoder = self.device.encoder();
        self.prepare_update(&mut encoder, update, norm)?;
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            self.record_stage(&mut pass, &self.update_stage());
        }
        self.buffers.upload.submit(&self.device, encoder);
        self.device.wait()?;
        Ok(norm)
    }

    /// Records the upload of the optimizer's uniform, for gradients whose norm is `norm`.
    pub(super) fn prepare_update(
        &mut self,
        encoder: &mut CommandEncoder,
        update: &Update,
        norm: f64,
    ) -> Result<(), Error> {
        let clip = update
            .clip
            .map_or(1.0, |most| if norm > f64::from(most) { f64::from(most) / norm } else { 1.0 });
        let corrected = |beta: f32| 1.0 / (1.0 - f64::from(beta).powf(update.step as f64));
        let uniform = UpdateUniform {
            lr: update.lr,
            beta1: update.beta1,
            beta2: update.beta2,
            eps: update.eps,
            decay: update.lr * update.weight_decay,
            correction1: corrected(update.beta1) as f32,
            correction2: corrected(update.beta2) as f32,
            // One factor removes the loss scale and clips.
            clip: (clip / f64::from(update.scale)) as f32,
        };
        let buffers = &self.buffers;
        let upload = buffers.pass_uniform(buffers.update_uniform(), bytes_of(&uniform));
        buffers.upload.record(&self.device, encoder, &[upload])
    }
}

/// Dispatches that share a uniform of the pass.
pub(super) struct Stage<'a> {
    pub dispatches: &'a [Dispatch],
    /// Index of their uniform.
    uniform: u32,
    rows: u32,
    tokens: u32,
}

impl<'a> Stage<'a> {
    /// Dispatches that do not depend on a batch.
    fn without_batch(dispatches: &'a [Dispatch], uniform: u32) -> Stage<'a> {
        Stage { dispatches, uniform, rows: 0, tokens: 0 }
    }
}

/// Checks that `device` can train in `precision`.
fn check(device: &GpuDevice, precision: Precision) -> Result<(), Error> {
    let what = match precision {
        Precision::F32 => return Ok(()),
        Precision::F16 if device.has_f16() => return Ok(()),
        Precision::F16 => "has no f16 arithmetic and trains in f32 only; leave the precision out",
        Precision::Bf16 if device.has_f16() => "trains in f32 or f16; choose one of them",
        Precision::Bf16 => "trains in f32 only; leave the precision out",
    };
    Err(Error::Unsupported(format!("{} {what}", device.name())))
}
