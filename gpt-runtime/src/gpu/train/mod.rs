//! Training on a GPU: a plan's training pass, walked through wgpu.
//!
//! `parameters` keeps what is learned, its gradients and moments; `buffers` has the activations and all else a pass works with; `bind` says which
//! of these a kernel reads and writes, and how many workgroups it has; `build` makes dispatches of it, and `pass` strings those of a
//! whole pass together, `profile` times them. All are made when
//! a trainer is created: a step writes some numbers into a mapped buffer, and records.
//!
//! Gradients come without float atomics, each sum in one fixed order, so a step gives the same bits whenever it is run.
//!
//! In f16 products have kernels of their own (`Training::in_f16`); nothing else here knows of it.

mod bind;
mod buffers;
mod build;
mod parameters;
mod pass;
mod profile;

use std::sync::Arc;

use bytemuck::{bytes_of, cast_slice};
use gpt_plan::{BufferId, MAX_BINDING, Plan, TensorId, TrainBytes};
use wgpu::{CommandEncoder, ComputePass, MapMode};

use super::device::GpuDevice;
use crate::Error;
use crate::engine::{
    EngineTrainer, Learn, Precision, Sequences, State, TrainProfile, TrainerOptions, Update,
};
use crate::weights::Weights;

use buffers::{Buffers, Moved, Run, SLOT};
use parameters::Parameters;
use pass::{Dispatch, Pass};

/// A model that learns on a GPU.
pub struct GpuTrainer {
    device: Arc<GpuDevice>,
    plan: &'static Plan,
    options: TrainerOptions,
    parameters: Parameters,
    buffers: Buffers,
    pass: Pass,
}

impl GpuTrainer {
    /// A trainer that starts from `weights`. Everything it will ever need is made here.
    ///
    /// # Errors
    /// A shape that the device has no room for, or a precision that it does not have.
    pub fn new(
        device: Arc<GpuDevice>,
        plan: &'static Plan,
        weights: &dyn Weights,
        options: TrainerOptions,
    ) -> Result<GpuTrainer, Error> {
        Self::in_parts(device, plan, weights, options, MAX_BINDING)
    }

    /// As [`new`](Self::new), with parameters cut into parts of at most `part` bytes; tests make small ones.
    #[doc(hidden)]
    pub fn in_parts(
        device: Arc<GpuDevice>,
        plan: &'static Plan,
        weights: &dyn Weights,
        options: TrainerOptions,
        part: u64,
    ) -> Result<GpuTrainer, Error> {
        check(&device, options.precision)?;
        let parameters = Parameters::new(&device, plan, weights, part)?;
        let sums = pass::sums(plan, &parameters);
        let buffers = Buffers::new(&device, plan, weights, &options.shape, sums)?;
        let pass = Pass::new(&device, plan, &parameters, &buffers, &options)?;
        buffers.upload.map_async(MapMode::Write, .., |_| {});
        device.wait()?;
        Ok(GpuTrainer {
            device,
            plan,
            options,
            parameters,
            buffers,
            pass,
        })
    }

    /// Fills all that a pass must not need with NaN, for tests: every element that means something of every buffer.
    #[doc(hidden)]
    pub fn poison(&mut self) {
        self.buffers
            .poison(&self.device, self.plan, &self.options.shape);
    }

    /// The first buffer whose padding is not zero, for tests.
    #[doc(hidden)]
    pub fn spilled(&mut self) -> Result<Option<BufferId>, Error> {
        self.buffers
            .spilled(&self.device, self.plan, &self.options.shape)
    }

    /// Forward, and back if there is anything to learn.
    fn run(&mut self, batch: &Sequences<'_>, learn: Option<&Learn>) -> Result<f64, Error> {
        let mut encoder = self.encoder();
        let chunks = self.prepare(&mut encoder, batch, learn)?;
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            for part in self.parts(batch, &chunks, learn.is_some()) {
                self.record_all(&mut pass, &part);
            }
        }
        let losses = self.buffers.get(BufferId::Losses, 0);
        let bytes = 4 * batch.inputs.len() as u64;
        encoder.copy_buffer_to_buffer(losses, 0, &self.buffers.download, 0, bytes);
        self.submit(encoder);
        let mut sum = 0.0;
        self.device.read(&self.buffers.download, bytes, |losses| {
            let losses: &[f32] = cast_slice(losses);
            sum = losses.iter().map(|&loss| f64::from(loss)).sum();
        })?;
        Ok(sum)
    }

    /// Records what goes before a pass: its numbers and tokens on the device, gradients cleared. Returns the chunks of its rows.
    fn prepare(
        &mut self,
        encoder: &mut CommandEncoder,
        batch: &Sequences<'_>,
        learn: Option<&Learn>,
    ) -> Result<Vec<(u32, u32)>, Error> {
        let rows = batch.inputs.len() as u32;
        let how = learn.copied().unwrap_or(Learn {
            first: true,
            scale: 1.0,
            dropout: None,
        });
        let chunks = self.chunks(rows);
        let run = |first, rows, replaces: bool| Run {
            tokens: batch.tokens,
            rows,
            first,
            replace: u32::from(replaces),
            scale: how.scale,
            key: how.dropout.map_or(0, |d| d.key),
            threshold: how.dropout.map_or(0, |d| d.threshold),
            keep: how.dropout.map_or(1.0, |d| d.scale),
        };
        self.buffers.fill(&self.device, encoder, |moved| {
            moved.run(0, bytes_of(&run(0, rows, how.first)));
            for (i, &(first, rows)) in (1..).zip(&chunks) {
                // Every chunk adds to what the one before it has left.
                moved.run(i, bytes_of(&run(first, rows, how.first && first == 0)));
            }
            moved.tokens(cast_slice(batch.inputs), cast_slice(batch.targets));
        })?;
        if learn.is_some() && how.first {
            for (buffer, offset, bytes) in &self.pass.cleared {
                encoder.clear_buffer(buffer, *offset, Some(*bytes));
            }
        }
        Ok(chunks)
    }

    /// The dispatches of a pass, in the order they run.
    fn parts(&self, batch: &Sequences<'_>, chunks: &[(u32, u32)], learns: bool) -> Vec<Part<'_>> {
        let part = |dispatches, run, rows| Part {
            dispatches,
            run,
            rows,
            tokens: batch.tokens,
        };
        let rows = batch.inputs.len() as u32;
        let mut parts = vec![part(&self.pass.forward, 0, rows)];
        for (i, &(_, rows)) in (1..).zip(chunks) {
            parts.push(part(&self.pass.loss, i, rows));
            if learns {
                parts.push(part(&self.pass.head, i, rows));
            }
        }
        if learns {
            parts.push(part(&self.pass.backward, 0, rows));
        }
        parts
    }

    /// First row and rows of each chunk.
    fn chunks(&self, rows: u32) -> Vec<(u32, u32)> {
        let most = self.plan.training.buffer(BufferId::Logits);
        let most = most.train_rows(&self.options.shape) as u32;
        let starts = (0..rows).step_by(most as usize);
        starts
            .map(|first| (first, most.min(rows - first)))
            .collect()
    }

    fn record_all(&self, pass: &mut ComputePass<'_>, part: &Part<'_>) {
        for dispatch in part.dispatches {
            self.record(pass, dispatch, part);
        }
    }

    fn record(&self, pass: &mut ComputePass<'_>, dispatch: &Dispatch, part: &Part<'_>) {
        pass.set_pipeline(&self.pass.pipelines[dispatch.kernel].1);
        pass.set_bind_group(0, &self.pass.numbers, &[part.run * SLOT, dispatch.step]);
        pass.set_bind_group(1, &dispatch.group, &[]);
        let [x, y, z] = dispatch.extent.groups(part.rows, part.tokens);
        pass.dispatch_workgroups(x, y, z);
    }

    /// Sums the squares of all gradients.
    fn squares(&self) -> Part<'_> {
        Part::alone(&self.pass.squares, 0)
    }

    /// Moves the parameters.
    fn moves(&self) -> Part<'_> {
        Part::alone(&self.pass.update, self.buffers.runs - 1)
    }

    fn encoder(&self) -> CommandEncoder {
        self.device
            .device
            .create_command_encoder(&Default::default())
    }

    fn submit(&self, encoder: CommandEncoder) {
        self.device.submit(encoder);
        self.buffers.upload.map_async(MapMode::Write, .., |_| {});
    }

    /// The norm of all gradients: the sums of squares come back in f32, and are added in f64.
    fn norm(&mut self) -> Result<f64, Error> {
        let mut encoder = self.encoder();
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            self.record_all(&mut pass, &self.squares());
        }
        let bytes = self.pass.sums.size();
        encoder.copy_buffer_to_buffer(&self.pass.sums, 0, &self.buffers.download, 0, bytes);
        self.device.submit(encoder);
        let mut square = 0.0;
        self.device.read(&self.buffers.download, bytes, |sums| {
            let sums: &[f32] = cast_slice(sums);
            square = sums.iter().map(|&sum| f64::from(sum)).sum::<f64>();
        })?;
        Ok(square.sqrt())
    }

    /// Records the numbers of the optimizer's step, for gradients of the norm `norm`.
    fn prepare_moves(
        &mut self,
        encoder: &mut CommandEncoder,
        update: &Update,
        norm: f64,
    ) -> Result<(), Error> {
        let clip = update.clip.map_or(1.0, |most| {
            if norm > f64::from(most) {
                f64::from(most) / norm
            } else {
                1.0
            }
        });
        let corrected = |beta: f32| 1.0 / (1.0 - f64::from(beta).powf(update.step as f64));
        let moved = Moved {
            lr: update.lr,
            beta1: update.beta1,
            beta2: update.beta2,
            eps: update.eps,
            decay: update.lr * update.weight_decay,
            correction1: corrected(update.beta1) as f32,
            correction2: corrected(update.beta2) as f32,
            // One factor makes up for the loss scale and clips.
            clip: (clip / f64::from(update.scale)) as f32,
        };
        let last = self.buffers.runs - 1;
        self.buffers.fill(&self.device, encoder, |upload| {
            upload.run(last, bytes_of(&moved));
        })
    }
}

/// Dispatches that share their numbers.
struct Part<'a> {
    dispatches: &'a [Dispatch],
    /// The place of their numbers.
    run: u32,
    rows: u32,
    tokens: u32,
}

impl<'a> Part<'a> {
    /// Dispatches that have nothing to do with a batch.
    fn alone(dispatches: &'a [Dispatch], run: u32) -> Part<'a> {
        Part {
            dispatches,
            run,
            rows: 0,
            tokens: 0,
        }
    }
}

/// That `device` can train in `precision`.
fn check(device: &GpuDevice, precision: Precision) -> Result<(), Error> {
    let what = match precision {
        Precision::F32 => return Ok(()),
        Precision::F16 if device.has_f16() => return Ok(()),
        Precision::F16 => "has no f16 arithmetic and trains in f32 only; leave the precision out",
        Precision::Bf16 if device.has_f16() => "trains in f32 or f16; choose one of them",
        Precision::Bf16 => "trains in f32 only; leave the precision out",
    };
    Err(Error::Input(format!("{} {what}", device.name())))
}

impl EngineTrainer for GpuTrainer {
    fn learn(&mut self, batch: &Sequences<'_>, how: &Learn) -> Result<f64, Error> {
        self.run(batch, Some(how))
    }

    fn evaluate(&mut self, batch: &Sequences<'_>) -> Result<f64, Error> {
        self.run(batch, None)
    }

    fn update(&mut self, update: &Update) -> Result<f64, Error> {
        let norm = self.norm()? / f64::from(update.scale);
        if !norm.is_finite() {
            return Ok(norm);
        }
        let mut encoder = self.encoder();
        self.prepare_moves(&mut encoder, update, norm)?;
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            self.record_all(&mut pass, &self.moves());
        }
        self.submit(encoder);
        self.device.wait()?;
        Ok(norm)
    }

    fn profile(
        &mut self,
        batch: &Sequences<'_>,
        how: &Learn,
        update: &Update,
    ) -> Result<(TrainProfile, f64), Error> {
        self.time_step(batch, how, update)
    }

    fn read(
        &mut self,
        state: State,
        id: TensorId,
        layer: u32,
        values: &mut [f32],
    ) -> Result<(), Error> {
        self.parameters.read(&self.device, state, id, layer, values)
    }

    fn write(
        &mut self,
        state: State,
        id: TensorId,
        layer: u32,
        values: &[f32],
    ) -> Result<(), Error> {
        self.parameters
            .write(&self.device, state, id, layer, values);
        self.device.check()
    }

    fn allocated(&self) -> TrainBytes {
        let of = |state| self.parameters.bytes(state);
        let (activations, scratch) = self.buffers.bytes;
        TrainBytes {
            parameters: of(State::Parameter),
            gradients: of(State::Gradient),
            optimizer: of(State::FirstMoment) + of(State::SecondMoment),
            activations,
            scratch,
        }
    }
}
