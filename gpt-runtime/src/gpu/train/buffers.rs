//! What a pass works with: the plan's buffers, and what goes in and out.
//!
//! Besides the buffers that [`TrainBytes`](gpt_plan::TrainBytes) counts there are the numbers of a pass, memory that the host can reach for tokens
//! and losses, and the table of a model whose positions are computed, as far as its sequences reach: some hundred KiB.

use bytemuck::{Pod, Zeroable, cast_slice};
use gpt_plan::{BufferId, Component, Plan, Positions, Role, Slot, TrainShape};
use wgpu::{Buffer, BufferUsages, CommandEncoder};

use crate::Error;
use crate::gpu::device::GpuDevice;
use crate::weights::{Weights, rotary};

/// The struct `Run` of `train/run.wgsl`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct Run {
    pub tokens: u32,
    pub rows: u32,
    pub first: u32,
    pub replace: u32,
    pub scale: f32,
    pub key: u32,
    pub threshold: u32,
    pub keep: f32,
}

/// The struct `Update` of `train/adamw.wgsl`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct Moved {
    pub lr: f32,
    pub beta1: f32,
    pub beta2: f32,
    pub eps: f32,
    pub decay: f32,
    pub correction1: f32,
    pub correction2: f32,
    pub clip: f32,
}

/// Bytes from one of these to the next: where any adapter may bind a uniform.
pub const SLOT: u32 = 256;

/// Bytes of one.
pub const NUMBERS: u64 = size_of::<Run>() as u64;

pub struct Buffers {
    /// By [`BufferId`], then by copy.
    named: [Vec<Buffer>; BufferId::COUNT],
    /// A [`Run`] for the whole pass, one for each chunk, and a [`Moved`].
    pub run: Buffer,
    /// How many that are.
    pub runs: u32,
    /// Sines and cosines, computed: of positions, or of the angles by which queries and keys turn.
    pub table: Option<Buffer>,
    /// All runs, then tokens, then targets: what is copied to where kernels read it.
    pub upload: Buffer,
    /// Losses, or sums of squares, on their way back.
    pub download: Buffer,
    layers: u32,
    /// Bytes of activations, and of all else that the plan counts.
    pub bytes: (u64, u64),
}

impl Buffers {
    pub fn new(
        device: &GpuDevice,
        plan: &Plan,
        weights: &dyn Weights,
        shape: &TrainShape,
        sums_of_squares: u64,
    ) -> Result<Buffers, Error> {
        let rows = shape.rows();
        if rows > 65_535 {
            return Err(Error::Input(format!(
                "a batch of {rows} tokens is more than a dispatch covers, which is 65535; take smaller ones and add up their gradients"
            )));
        }
        let most = device.device.limits().max_storage_buffer_binding_size;
        let storage = BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST;
        let mut named: [Vec<Buffer>; BufferId::COUNT] = Default::default();
        let mut sums = (0, 0);
        for buffer in plan.training.buffers.iter() {
            let bytes = 4 * buffer.train_len(shape);
            if bytes > most {
                return Err(Error::Input(format!(
                    "{} of a batch of {rows} tokens would take {} MiB, and {} binds {} MiB at once; take smaller batches and add up their gradients",
                    buffer.id.name(),
                    bytes >> 20,
                    device.name(),
                    most >> 20
                )));
            }
            let count = buffer.train_copies(plan.spec.layers, shape);
            let copies = (0..count)
                .map(|_| device.buffer(buffer.id.name(), bytes, storage))
                .collect::<Result<Vec<_>, _>>()?;
            let sum = if buffer.is_activation() {
                &mut sums.0
            } else {
                &mut sums.1
            };
            *sum += bytes * u64::from(count);
            named[buffer.id as usize] = copies;
        }
        let logits = plan.training.buffer(BufferId::Logits);
        let chunks = rows.div_ceil(logits.train_rows(shape)) as u32;
        let runs = chunks + 2;
        let run = u64::from(runs * SLOT);
        let uniform = BufferUsages::UNIFORM | BufferUsages::COPY_DST;
        let upload = BufferUsages::MAP_WRITE | BufferUsages::COPY_SRC;
        let download = BufferUsages::MAP_READ | BufferUsages::COPY_DST;
        Ok(Buffers {
            named,
            run: device.buffer("the numbers of a pass", run, uniform)?,
            runs,
            table: table(device, plan, weights, shape)?,
            upload: device.buffer("upload", run + 8 * rows, upload)?,
            download: device.buffer("download", sums_of_squares.max(4 * rows), download)?,
            layers: plan.spec.layers,
            bytes: sums,
        })
    }

    /// The copy of a buffer that a step of `layer` means by `slot`.
    pub fn slot(&self, slot: Slot, layer: u32) -> &Buffer {
        self.get(slot.buffer, slot.index(layer, self.layers))
    }

    /// Copy `copy`; of a buffer that is there once, that one.
    pub fn get(&self, name: BufferId, copy: u32) -> &Buffer {
        let copies = &self.named[name as usize];
        match copies.len() {
            1 => &copies[0],
            _ => &copies[copy as usize],
        }
    }

    /// Records that what `write` puts into an [`Upload`] goes where kernels read it. Its memory was asked for when the last pass was submitted.
    pub fn fill(
        &self,
        device: &GpuDevice,
        encoder: &mut CommandEncoder,
        write: impl FnOnce(&mut Upload<'_>),
    ) -> Result<(), Error> {
        device.wait()?;
        let mut view = self.upload.get_mapped_range_mut(..).map_err(|error| {
            Error::Device(format!("{} takes no more input: {error}", device.name()))
        })?;
        let mut upload = Upload {
            start: u64::from(self.runs * SLOT),
            put: &mut |at, bytes| {
                let at = at as usize;
                view.slice(at..at + bytes.len()).copy_from_slice(bytes);
            },
            copies: Vec::new(),
        };
        write(&mut upload);
        let copies = upload.copies;
        drop(view);
        self.upload.unmap();
        for (from, to, at, bytes) in copies {
            let to = match to {
                Target::Run => &self.run,
                Target::Named(name) => self.get(name, 0),
            };
            encoder.copy_buffer_to_buffer(&self.upload, from, to, at, bytes);
        }
        Ok(())
    }
}

/// Where a copy goes.
enum Target {
    Run,
    Named(BufferId),
}

/// Memory of the host's on its way to the device.
pub struct Upload<'a> {
    /// Where tokens begin.
    start: u64,
    put: &'a mut dyn FnMut(u64, &[u8]),
    /// From where in it, to what, where there, how many bytes.
    copies: Vec<(u64, Target, u64, u64)>,
}

impl Upload<'_> {
    /// The numbers of slot `slot`.
    pub fn run(&mut self, slot: u32, bytes: &[u8]) {
        let at = u64::from(slot * SLOT);
        (self.put)(at, bytes);
        self.copies.push((at, Target::Run, at, bytes.len() as u64));
    }

    pub fn tokens(&mut self, inputs: &[u8], targets: &[u8]) {
        let mut from = self.start;
        for (name, tokens) in [(BufferId::Tokens, inputs), (BufferId::Targets, targets)] {
            let bytes = tokens.len() as u64;
            (self.put)(from, tokens);
            self.copies.push((from, Target::Named(name), 0, bytes));
            from += bytes;
        }
    }
}

/// A computed table's first rows.
fn table(
    device: &GpuDevice,
    plan: &Plan,
    weights: &dyn Weights,
    shape: &TrainShape,
) -> Result<Option<Buffer>, Error> {
    let tokens = shape.tokens.min(plan.spec.context) as usize;
    match plan.spec.positions {
        Positions::Learned => Ok(None),
        Positions::Sinusoidal => {
            let id = plan.role(Role::Positions, Component::Weight);
            let id = id.expect("a table of positions");
            let bytes = 4 * tokens * plan.spec.embed as usize;
            let table = weights.tensor(id, 0)?;
            let what = "the table of positions";
            let table = device.upload(what, &table.data[..bytes], BufferUsages::STORAGE)?;
            Ok(Some(table))
        }
        Positions::Rope { .. } => {
            let angles = rotary(&plan.spec);
            let angles = &angles[..tokens * plan.spec.head_dim as usize / 2];
            let what = "the table of rotary angles";
            let table = device.upload(what, cast_slice(angles), BufferUsages::STORAGE)?;
            Ok(Some(table))
        }
    }
}

/// Testing: what a pass must not need is filled with NaN, and what must stay zero is looked at.
impl Buffers {
    pub fn poison(&self, device: &GpuDevice, plan: &Plan, shape: &TrainShape) {
        for buffer in plan.training.buffers.iter() {
            let copies = &self.named[buffer.id as usize];
            let mut values = vec![0.0; buffer.train_len(shape) as usize];
            let rows = buffer.train_rows(shape) as usize;
            for row in values.chunks_mut(buffer.stride as usize).take(rows) {
                row[..buffer.width as usize].fill(f32::NAN);
            }
            for copy in copies {
                device.queue.write_buffer(copy, 0, cast_slice(&values));
            }
        }
    }

    pub fn spilled(
        &self,
        device: &GpuDevice,
        plan: &Plan,
        shape: &TrainShape,
    ) -> Result<Option<BufferId>, Error> {
        for buffer in plan.training.buffers.iter() {
            let copies = &self.named[buffer.id as usize];
            let (rows, stride) = (buffer.train_rows(shape) as usize, buffer.stride as usize);
            for copy in copies {
                let usage = BufferUsages::MAP_READ | BufferUsages::COPY_DST;
                let back = device.buffer("a buffer", copy.size(), usage)?;
                let mut encoder = device.device.create_command_encoder(&Default::default());
                encoder.copy_buffer_to_buffer(copy, 0, &back, 0, copy.size());
                device.submit(encoder);
                let mut clean = true;
                device.read(&back, copy.size(), |read| {
                    let values: &[f32] = cast_slice(read);
                    let (valid, slack) = values.split_at(rows * stride);
                    let mut padding = valid
                        .chunks(stride)
                        .map(|row| &row[buffer.width as usize..]);
                    clean = slack.iter().all(|x| *x == 0.0)
                        && padding.all(|row| row.iter().all(|x| *x == 0.0));
                })?;
                if !clean {
                    return Ok(Some(buffer.id));
                }
            }
        }
        Ok(None)
    }
}
