//! One sequence on a GPU: its buffers and bind groups, made once, and the recording of its passes.
//!
//! What changes from pass to pass (tokens, position, rows) is written into a mapped buffer and copied on the device; the wanted logits
//! come back the same way. Both are mapped again and again, never made again.

mod profile;

use std::sync::Arc;

use bytemuck::{Pod, Zeroable, cast_slice};
use gpt_plan::{BufferId, MAX_BINDING, Op, Rows};
use wgpu::{BindGroup, BindGroupEntry, Buffer, BufferUsages, CommandEncoder, ComputePass, MapMode};

use super::device::GpuDevice;
use super::layout::{self, Slot};
use super::model::{ModelStep, Shared};
use crate::Error;
use crate::engine::{CacheFormat, EngineSession, Profile, SessionOptions, Trace, Want};

/// The struct of `run.wgsl`, padded to what a uniform needs.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Run {
    position: u32,
    rows: u32,
    first: u32,
    padding: u32,
}

const RUN_BYTES: u64 = size_of::<Run>() as u64;

/// One sequence.
pub struct GpuSession {
    shared: Arc<Shared>,
    buffers: Buffers,
    /// Group 0 of each step.
    groups: Vec<BindGroup>,
}

struct Buffers {
    /// For all steps but the head, and for the head.
    run: [Buffer; 2],
    tokens: Buffer,
    /// Both runs, then the tokens: what `upload` is copied to.
    upload: Buffer,
    stream: [Buffer; 2],
    q: Buffer,
    a: Buffer,
    h: Buffer,
    logits: Buffer,
    /// Logits on their way back.
    download: Buffer,
    /// Keys and values of each layer.
    cache: Vec<[Buffer; 2]>,
}

impl Buffers {
    fn new(shared: &Shared, options: &SessionOptions) -> Result<Buffers, Error> {
        let device = &*shared.device;
        let plan = shared.plan;
        let bytes = |id: BufferId| {
            let buffer = &plan.buffers[id as usize];
            let rows = match buffer.rows {
                Rows::Chunk => options.chunk,
                Rows::Wanted if options.all_logits => options.chunk,
                Rows::Wanted => 1,
                Rows::Capacity => options.capacity,
            };
            (buffer.name, u64::from(rows) * u64::from(buffer.width) * 4)
        };
        let storage = BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST;
        let make = |id: BufferId| {
            let (name, bytes) = bytes(id);
            if bytes > MAX_BINDING {
                return Err(Error::Input(format!(
                    "the session's {name} would take {} MiB, and an adapter binds {} MiB at once; ask for a smaller capacity or chunk",
                    bytes >> 20,
                    MAX_BINDING >> 20
                )));
            }
            device.buffer(name, bytes, storage)
        };
        if options.cache != CacheFormat::F32 {
            return Err(Error::Input(format!(
                "a cache in {} was asked for, and the GPU engine keeps keys and values in f32",
                options.cache.name()
            )));
        }
        if options.chunk > 65_535 {
            return Err(Error::Input(format!(
                "a chunk of {} tokens is more than a dispatch covers, which is 65535",
                options.chunk
            )));
        }
        let run = || {
            device.buffer(
                "run",
                RUN_BYTES,
                BufferUsages::UNIFORM | BufferUsages::COPY_DST,
            )
        };
        let tokens = u64::from(options.chunk) * 4;
        Ok(Buffers {
            run: [run()?, run()?],
            tokens: device.buffer("tokens", tokens, storage)?,
            upload: device.buffer(
                "upload",
                2 * RUN_BYTES + tokens,
                BufferUsages::MAP_WRITE | BufferUsages::COPY_SRC,
            )?,
            stream: [make(BufferId::X)?, make(BufferId::X)?],
            q: make(BufferId::Q)?,
            a: make(BufferId::A)?,
            h: make(BufferId::H)?,
            logits: make(BufferId::Logits)?,
            download: device.buffer(
                "download",
                bytes(BufferId::Logits).1,
                BufferUsages::MAP_READ | BufferUsages::COPY_DST,
            )?,
            cache: (0..plan.spec.layers)
                .map(|_| Ok([make(BufferId::K)?, make(BufferId::V)?]))
                .collect::<Result<_, Error>>()?,
        })
    }

    fn get(&self, id: BufferId, layer: u32) -> &Buffer {
        match id {
            BufferId::X => &self.stream[0],
            BufferId::Q => &self.q,
            BufferId::A => &self.a,
            BufferId::H => &self.h,
            BufferId::Logits => &self.logits,
            BufferId::K => &self.cache[layer as usize][0],
            BufferId::V => &self.cache[layer as usize][1],
        }
    }

    /// What stands in `slot` of a step of `layer`, where `current` of the two stream buffers holds the stream.
    fn slot(&self, slot: Slot, op: &Op, layer: u32, current: usize) -> &Buffer {
        match slot {
            Slot::Run => &self.run[usize::from(matches!(op, Op::Head { .. }))],
            Slot::Tokens => &self.tokens,
            Slot::StreamIn => &self.stream[current],
            Slot::StreamOut => &self.stream[1 - current],
            Slot::Buffer(id) => self.get(id, layer),
        }
    }
}

/// Which of the stream's buffers holds it before each step; the step that writes the stream moves it to the other.
fn currents(steps: &[ModelStep]) -> impl Iterator<Item = usize> {
    steps.iter().scan(1, |current, step| {
        let before = *current;
        let slots = layout::session_slots(&step.step.op);
        if slots.iter().any(|(_, slot, _)| *slot == Slot::StreamOut) {
            *current = 1 - before;
        }
        Some(before)
    })
}

impl GpuSession {
    pub(super) fn new(shared: Arc<Shared>, options: SessionOptions) -> Result<GpuSession, Error> {
        let buffers = Buffers::new(&shared, &options)?;
        let device = &shared.device;
        let groups = shared
            .steps
            .iter()
            .zip(currents(&shared.steps))
            .map(|(step, current)| {
                let op = &step.step.op;
                let entries: Vec<BindGroupEntry<'_>> = layout::session_slots(op)
                    .iter()
                    .map(|&(binding, slot, _)| BindGroupEntry {
                        binding,
                        resource: buffers
                            .slot(slot, op, step.layer, current)
                            .as_entire_binding(),
                    })
                    .collect();
                let layout = layout::session_layout(device, op);
                device.bind_group(step.step.name, &layout, &entries)
            })
            .collect();
        buffers.upload.map_async(MapMode::Write, .., |_| {});
        device.wait()?;
        Ok(GpuSession {
            buffers,
            groups,
            shared,
        })
    }

    /// Records that the pass's numbers and tokens go where the kernels read them.
    fn upload(
        &self,
        encoder: &mut CommandEncoder,
        tokens: &[u32],
        runs: [Run; 2],
    ) -> Result<(), Error> {
        let upload = &self.buffers.upload;
        // It was asked for when the last pass was submitted.
        self.device().wait()?;
        let mut view = upload.get_mapped_range_mut(..).map_err(|error| {
            Error::Device(format!(
                "{} takes no more input: {error}",
                self.device().name()
            ))
        })?;
        let start = 2 * RUN_BYTES as usize;
        view.slice(..start).copy_from_slice(cast_slice(&runs));
        view.slice(start..start + 4 * tokens.len())
            .copy_from_slice(cast_slice(tokens));
        drop(view);
        upload.unmap();
        for (i, run) in self.buffers.run.iter().enumerate() {
            encoder.copy_buffer_to_buffer(upload, i as u64 * RUN_BYTES, run, 0, RUN_BYTES);
        }
        let bytes = 4 * tokens.len() as u64;
        encoder.copy_buffer_to_buffer(upload, start as u64, &self.buffers.tokens, 0, bytes);
        Ok(())
    }

    fn submit(&self, encoder: CommandEncoder) {
        self.device().submit(encoder);
        self.buffers.upload.map_async(MapMode::Write, .., |_| {});
    }

    fn device(&self) -> &GpuDevice {
        &self.shared.device
    }

    fn encoder(&self) -> CommandEncoder {
        self.device()
            .device
            .create_command_encoder(&Default::default())
    }

    /// Records one step for `rows` rows.
    fn record(&self, pass: &mut ComputePass<'_>, index: usize, rows: u32) {
        let step = &self.shared.steps[index];
        let (kernel, pipeline) =
            self.shared
                .kernel(if rows == 1 { step.decode } else { step.prefill });
        pass.set_pipeline(pipeline);
        pass.set_bind_group(0, &self.groups[index], &[]);
        if let Some(weights) = &step.weights {
            pass.set_bind_group(1, weights, &[]);
        }
        pass.dispatch_workgroups(kernel.groups, rows.div_ceil(kernel.tile_rows), 1);
    }
}

/// What the body and the head of a model run on.
fn runs(position: u32, rows: u32, wanted: u32) -> [Run; 2] {
    let run = |rows, first| Run {
        position,
        rows,
        first,
        padding: 0,
    };
    [run(rows, 0), run(wanted, rows - wanted)]
}

impl EngineSession for GpuSession {
    fn forward(
        &mut self,
        tokens: &[u32],
        position: u32,
        want: Want,
        logits: &mut [f32],
    ) -> Result<(), Error> {
        let rows = tokens.len() as u32;
        let wanted = match want {
            Want::Nothing => 0,
            Want::Last => 1,
            Want::All => rows,
        };
        let bytes = u64::from(wanted) * u64::from(self.shared.plan.spec.vocab) * 4;
        let mut encoder = self.encoder();
        self.upload(&mut encoder, tokens, runs(position, rows, wanted))?;
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            for (i, step) in self.shared.steps.iter().enumerate() {
                match step.step.op {
                    Op::Head { .. } if wanted == 0 => {}
                    Op::Head { .. } => self.record(&mut pass, i, wanted),
                    _ => self.record(&mut pass, i, rows),
                }
            }
        }
        let Buffers {
            logits: source,
            download,
            ..
        } = &self.buffers;
        if wanted > 0 {
            encoder.copy_buffer_to_buffer(source, 0, download, 0, bytes);
        }
        self.submit(encoder);
        if wanted > 0 {
            self.device().read(download, bytes, |read| {
                logits[..read.len() / 4].copy_from_slice(cast_slice(read));
            })?;
        }
        Ok(())
    }

    fn trace(&mut self, tokens: &[u32], position: u32) -> Result<Vec<Trace>, Error> {
        let rows = tokens.len() as u32;
        self.poison(position);
        let mut encoder = self.encoder();
        self.upload(&mut encoder, tokens, runs(position, rows, rows))?;
        self.submit(encoder);
        let steps = self.shared.clone();
        let mut traces = Vec::new();
        for ((i, step), current) in steps.steps.iter().enumerate().zip(currents(&steps.steps)) {
            let mut encoder = self.encoder();
            {
                let mut pass = encoder.begin_compute_pass(&Default::default());
                self.record(&mut pass, i, rows);
            }
            self.device().submit(encoder);
            traces.push(Trace {
                step: step.step.name,
                layer: step.layer,
                values: self.output(step, current, rows, position)?,
            });
        }
        Ok(traces)
    }

    fn profile(&mut self, tokens: &[u32], position: u32) -> Result<Profile, Error> {
        self.time_steps(tokens, position)
    }
}

/// Tracing: everything that a pass must not need is filled with NaN first, and each step's output is read back.
impl GpuSession {
    fn poison(&self, position: u32) {
        let fill = |buffer: &Buffer, from: u64| {
            let floats = (buffer.size() - from) / 4;
            let nan = vec![f32::NAN; floats as usize];
            self.device()
                .queue
                .write_buffer(buffer, from, cast_slice(&nan));
        };
        let Buffers {
            stream: [x, y],
            q,
            a,
            h,
            logits,
            ..
        } = &self.buffers;
        for buffer in [x, y, q, a, h, logits] {
            fill(buffer, 0);
        }
        let row = 4 * u64::from(self.shared.plan.spec.kv_width());
        for buffer in self.buffers.cache.as_flattened() {
            fill(buffer, u64::from(position) * row);
        }
    }

    /// What `step` wrote: `[rows, width]`; for q, k and v row by row.
    fn output(
        &self,
        step: &ModelStep,
        current: usize,
        rows: u32,
        position: u32,
    ) -> Result<Vec<f32>, Error> {
        let op = &step.step.op;
        let mut columns = Vec::new();
        for &(_, slot, written) in layout::session_slots(op) {
            if !written {
                continue;
            }
            let id = match slot {
                Slot::Buffer(id) => id,
                _ => BufferId::X,
            };
            let width = self.shared.plan.buffers[id as usize].width;
            let first = if matches!(id, BufferId::K | BufferId::V) {
                position
            } else {
                0
            };
            let buffer = self.buffers.slot(slot, op, step.layer, current);
            columns.push((width, self.copy(buffer, first * width, rows * width)?));
        }
        let mut values = Vec::new();
        for row in 0..rows as usize {
            for (width, column) in &columns {
                let width = *width as usize;
                values.extend_from_slice(&column[row * width..(row + 1) * width]);
            }
        }
        Ok(values)
    }

    /// `len` floats of `buffer` from float `start` on.
    fn copy(&self, buffer: &Buffer, start: u32, len: u32) -> Result<Vec<f32>, Error> {
        let bytes = 4 * u64::from(len);
        let back = self.device().buffer(
            "a trace",
            bytes,
            BufferUsages::MAP_READ | BufferUsages::COPY_DST,
        )?;
        let mut encoder = self.encoder();
        encoder.copy_buffer_to_buffer(buffer, 4 * u64::from(start), &back, 0, bytes);
        self.device().submit(encoder);
        let mut values = vec![0.0; len as usize];
        self.device().read(&back, bytes, |read| {
            values.copy_from_slice(cast_slice(read))
        })?;
        Ok(values)
    }
}
