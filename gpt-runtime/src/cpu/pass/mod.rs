//! One pass of a chunk of tokens through a model: the steps of the plan, as functions.
//!
//! A [`Pass`] holds what all steps need: the device, the tokens and their position, scratch memory. Each step of the plan
//! is a method on slices here, and a typed shell around it in `typed`; the walker in `walk` calls the same methods.
//! `linear` has the projections, `attention` the attention; this file the embedding, the norms and the trace.

mod attention;
mod linear;

use std::time::Instant;

use gpt_plan::{BufferId, Format, Plan, Step};

use super::device::CpuDevice;
use super::epilogue;
use super::gemm::ThreadScratch;
use super::kv_cache::Cache;
use super::pack::Packed;
use super::parameters::{NormParameters, Rotary};
use super::pool::Disjoint;
use super::quantize_inputs::Rounded;
use super::simd::PANEL;
use crate::engine::{LogitsRequest, SessionOptions, StepTime, Trace};

/// A nonlinearity, applied in place to a few dozen values at a time.
pub type Activate<'a> = &'a (dyn Fn(&mut [f32]) + Sync);

/// Memory that steps need besides their buffers. Made once for a session.
pub struct Scratch {
    /// `[chunk, embed]`: the residual stream as its reader's norm shows it.
    normed: Vec<f32>,
    /// `[chunk, widest]`: what a matrix is multiplied with that wants it rounded.
    pub(super) rounded: Rounded,
    attention: attention::Scratch,
}

impl Scratch {
    pub fn new(plan: &Plan, device: &CpuDevice, options: &SessionOptions) -> Scratch {
        let spec = &plan.spec;
        let chunk = options.chunk as usize;
        let widest = plan
            .tensors
            .iter()
            .map(|t| t.columns as usize)
            .max()
            .unwrap_or(1);
        Scratch {
            normed: vec![0.0; chunk * spec.embed as usize],
            rounded: Rounded::new(chunk, widest),
            attention: attention::Scratch::new(
                spec,
                device.pool.threads(),
                options.capacity as usize,
            ),
        }
    }

    fn poison(&mut self, device: &CpuDevice) {
        self.normed.fill(f32::NAN);
        self.rounded.poison();
        for thread in 0..device.thread_scratch.len() {
            ThreadScratch::of(&device.thread_scratch, thread).poison();
        }
        self.attention.poison();
    }
}

/// A chunk of tokens on its way.
pub struct Pass<'a> {
    pub(super) plan: &'static Plan,
    pub(super) device: &'a CpuDevice,
    pub(super) rotary: &'a Rotary,
    pub(super) scratch: &'a mut Scratch,
    pub(super) tokens: &'a [u32],
    pub(super) position: usize,
    pub(super) want: LogitsRequest,
    /// Where the wanted logits go.
    pub(super) logits: &'a mut [f32],
    /// Every step that will run, with its layer, and which is next.
    pub(super) steps: &'a [(u32, &'static Step)],
    pub(super) next: usize,
    /// Where outputs are copied to, if anywhere.
    pub(super) trace: Option<&'a mut Vec<Trace>>,
    /// Who takes the time of each step, if anybody.
    pub(super) watch: Option<&'a mut Watch>,
    /// Receives the residual stream that the head reads, if wanted.
    pub(super) stream: Option<&'a mut Vec<f32>>,
}

/// Takes the time of each step.
pub(super) struct Watch {
    last: Instant,
    /// Of the matrix that was multiplied since.
    format: Format,
    pub steps: Vec<StepTime>,
}

impl Watch {
    pub fn start() -> Watch {
        Watch {
            last: Instant::now(),
            format: Format::F32,
            steps: Vec::new(),
        }
    }

    fn step(&mut self, step: &'static str, layer: u32) {
        let now = Instant::now();
        self.steps.push(StepTime {
            step,
            layer,
            format: std::mem::replace(&mut self.format, Format::F32),
            seconds: (now - self.last).as_secs_f64(),
        });
        self.last = now;
    }
}

impl Pass<'_> {
    /// Number of tokens.
    pub fn rows(&self) -> usize {
        self.tokens.len()
    }

    /// Before a step: what it writes must not look like what it should.
    fn begin(&mut self, output: Option<&mut Vec<f32>>) {
        if self.trace.is_some() {
            self.scratch.poison(self.device);
            if let Some(output) = output {
                output.fill(f32::NAN);
            }
        }
    }

    /// After a step: it is the plan's next one, and a trace takes `width` values of each row.
    fn end(&mut self, output: &[f32], width: usize) {
        let rows = self.rows();
        self.end_with(|| output[..rows * width].to_vec());
    }

    fn end_with(&mut self, values: impl FnOnce() -> Vec<f32>) {
        let (layer, step) = self.steps[self.next];
        self.next += 1;
        if let Some(watch) = &mut self.watch {
            watch.step(&step.name, layer);
        }
        if let Some(trace) = &mut self.trace {
            trace.push(Trace {
                step: &step.name,
                layer,
                values: values(),
            });
        }
    }

    /// A matrix in `format` is about to be read.
    fn reads(&mut self, format: Format) {
        if let Some(watch) = &mut self.watch {
            watch.format = format;
        }
    }

    /// `x = table[token] (+ positions[position])`.
    pub(super) fn embed_rows(
        &mut self,
        table: &Packed,
        positions: Option<&[f32]>,
        x: &mut Vec<f32>,
    ) {
        self.begin(Some(x));
        self.reads(table.format);
        let width = table.depth;
        let (tokens, position) = (self.tokens, self.position);
        let out = Disjoint::new(x);
        self.device.pool.run(tokens.len(), &|row, _| {
            // SAFETY: each task writes the row of its own number.
            let out = unsafe { out.part(row * width, width) };
            table.row(tokens[row] as usize, out);
            if let Some(positions) = positions {
                for (x, p) in out.iter_mut().zip(&positions[(position + row) * width..]) {
                    *x += p;
                }
            }
        });
        self.end(x, width);
    }

    /// The logits of the rows that are wanted, to the caller.
    pub(super) fn head_rows(&mut self, x: &[f32], norm: Option<&NormParameters>, weight: &Packed) {
        let (width, vocab) = (weight.depth, weight.rows);
        if let Some(stream) = &mut self.stream {
            stream.extend_from_slice(&x[..self.tokens.len() * width]);
        }
        let from = match self.want {
            LogitsRequest::Nothing => return,
            LogitsRequest::Last => self.rows() - 1,
            LogitsRequest::All => 0,
        };
        let rows = self.rows() - from;
        let x = &x[from * width..][..rows * width];
        let logits = std::mem::take(&mut self.logits);
        if self.trace.is_some() {
            self.scratch.poison(self.device);
            logits.fill(f32::NAN);
        }
        let out = Disjoint::new(logits);
        self.reading(x, rows, norm, |pass, x| {
            pass.linear(x, rows, weight, &|from, panel, tile| {
                let first = panel * PANEL;
                let len = PANEL.min(vocab - first);
                for (i, outputs) in tile.iter().enumerate() {
                    // SAFETY: panels and rows do not overlap.
                    epilogue::put(
                        unsafe { out.part((from + i) * vocab + first, len) },
                        outputs,
                    );
                }
            });
        });
        self.end_with(|| logits[..rows * vocab].to_vec());
        self.logits = logits;
    }

    /// Hands `read` the rows of `x` as `norm` shows them.
    fn reading(
        &mut self,
        x: &[f32],
        rows: usize,
        norm: Option<&NormParameters>,
        read: impl FnOnce(&mut Self, &[f32]),
    ) {
        let Some(norm) = norm else {
            return read(self, x);
        };
        // Taken out while it is read, as reading needs the rest of the scratch memory.
        let mut normed = std::mem::take(&mut self.scratch.normed);
        self.normalise(x, rows, norm, &mut normed);
        read(self, &normed[..x.len()]);
        self.scratch.normed = normed;
    }

    fn normalise(&self, x: &[f32], rows: usize, norm: &NormParameters, out: &mut [f32]) {
        let width = x.len() / rows;
        let kernels = self.device.kernels;
        let out = Disjoint::new(out);
        // A row takes less time than handing it to another thread, so a thread gets several.
        const ROWS: usize = 8;
        self.device.pool.run(rows.div_ceil(ROWS), &|task, _| {
            for row in task * ROWS..((task + 1) * ROWS).min(rows) {
                let x = &x[row * width..][..width];
                // SAFETY: each task writes rows of its own.
                let out = unsafe { out.part(row * width, width) };
                let statistics = kernels.statistics(norm.kind, x);
                kernels.normalise(x, statistics, &norm.gamma, &norm.beta, out);
            }
        });
    }

    /// For the trace of the `qkv` step: each row's q, k and v, the latter two out of the cache.
    fn gather_qkv(&self, q: &[f32], cache: &Cache) -> Vec<f32> {
        let width = self.buffer_width(BufferId::Q);
        let mut values = Vec::new();
        for (row, q) in q.chunks(width).take(self.rows()).enumerate() {
            values.extend_from_slice(q);
            cache.gather(self.position + row, &mut values);
        }
        values
    }

    fn buffer_width(&self, id: BufferId) -> usize {
        self.plan.buffer(id).width as usize
    }
}
