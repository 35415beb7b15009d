//! Inference: one pass of a chunk of tokens, or of several texts, through a model.
//!
//! `ForwardPass` has a function for each kind of step; the functions of queries, keys and values
//! are in `heads`. `parameters` calls the functions with the parameters of a step and the `buffers`
//! of a session.

mod buffers;
mod heads;
mod parameters;

use gpt_plan::{Format, Formula, Plan, Scores, Step};

pub use buffers::{PassScratch, SessionBuffers};
pub use parameters::Interpreter;

use crate::clock::Instant;
use crate::cpu::device::CpuDevice;
use crate::cpu::kv_cache::Cache;
use crate::cpu::ops::attention::cached::{self, Queries};
use crate::cpu::ops::matmul::epilogue::{self, Activate, ActivationEpilogue, EpilogueFn};
use crate::cpu::ops::matmul::forward::{self, Prologue, project};
use crate::cpu::ops::norm::forward::{RowStatistics, Sum, forward as norm_rows};
use crate::cpu::ops::rotary::RotaryTables;
use crate::cpu::ops::{RowsOut, embed};
use crate::cpu::pack::Packed;
use crate::cpu::parameters::{NormParameters, ProjectionParameters};
use crate::cpu::sequences::Sequences;
use crate::engine::{LogitsRequest, StepTime, Trace};
use gpt_simd::Strided;

/// Measures the time of each step.
pub struct Stopwatch {
    last: Instant,
    /// Format of the matrix that the current step multiplies.
    format: Format,
    pub steps: Vec<StepTime>,
}

impl Stopwatch {
    pub fn start() -> Stopwatch {
        Stopwatch { last: Instant::now(), format: Format::F32, steps: Vec::new() }
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

/// A forward pass: the state that its steps share.
pub struct ForwardPass<'a> {
    pub(in crate::cpu) plan: &'static Plan,
    pub(in crate::cpu) device: &'a CpuDevice,
    pub(in crate::cpu) rotary: &'a RotaryTables,
    pub(in crate::cpu) scratch: &'a mut PassScratch,
    pub(in crate::cpu) tokens: &'a [u32],
    /// The sequence of each token, and its position there.
    pub(in crate::cpu) sequences: &'a Sequences,
    pub(in crate::cpu) request: LogitsRequest,
    /// The output for the requested logits.
    pub(in crate::cpu) logits: &'a mut [f32],
    /// Every step of the pass, with its layer.
    pub(in crate::cpu) steps: &'a [(u32, &'static Step)],
    /// Index of the next step.
    pub(in crate::cpu) next: usize,
    /// Receives a copy of each step's output.
    pub(in crate::cpu) trace: Option<&'a mut Vec<Trace>>,
    pub(in crate::cpu) stopwatch: Option<&'a mut Stopwatch>,
    /// Receives a copy of the residual stream that the head reads.
    pub(in crate::cpu) stream: Option<&'a mut Vec<f32>>,
}

/// An activation for the epilogue of a projection. Inference needs no derivative of it.
struct InPlace<'a>(&'a (dyn Fn(&mut [f32]) + Sync));

impl Activate for InPlace<'_> {
    const SLOPES: bool = false;

    fn activate(&self, values: &mut [f32], _: &mut [f32]) {
        (self.0)(values)
    }
}

impl ForwardPass<'_> {
    /// Number of tokens.
    pub fn rows(&self) -> usize {
        self.tokens.len()
    }

    /// Before a step that is traced, fills its output and scratch memory with NaN. A value that the
    /// step fails to write then shows in the trace.
    fn begin(&mut self, output: Option<&mut Vec<f32>>) {
        if self.trace.is_some() {
            self.scratch.poison(self.device);
            if let Some(output) = output {
                output.fill(f32::NAN);
            }
        }
    }

    /// Ends a step whose output has `width` values in each row.
    fn end(&mut self, output: &[f32], width: usize) {
        let rows = self.rows();
        self.end_with(|_| output[..rows * width].to_vec());
    }

    /// Ends a step. If it is traced, `values` copies its output.
    fn end_with(&mut self, values: impl FnOnce(&Self) -> Vec<f32>) {
        let (layer, step) = self.steps[self.next];
        self.next += 1;
        if let Some(stopwatch) = &mut self.stopwatch {
            stopwatch.step(&step.name, layer);
        }
        if let Some(trace) = self.trace.take() {
            trace.push(Trace { step: &step.name, layer, values: values(self) });
            self.trace = Some(trace);
        }
    }

    /// Records the format of the matrix that a step reads.
    fn reads(&mut self, format: Format) {
        if let Some(stopwatch) = &mut self.stopwatch {
            stopwatch.format = format;
        }
    }

    /// Passes `matrix · prologue(x)` to `epilogue`. `x` has at least `rows` rows.
    fn project(
        &mut self,
        x: &[f32],
        rows: usize,
        norm: Option<&NormParameters>,
        matrix: &Packed,
        epilogue: EpilogueFn<'_>,
    ) {
        self.reads(matrix.format());
        let prologue = norm.map_or(Prologue::Plain, |norm| Prologue::Norm(norm.operands()));
        let x = &x[..rows * matrix.layout.columns];
        let scratch = &mut self.scratch.project;
        project(self.device, scratch, x, rows, prologue, matrix, epilogue);
    }

    /// `x = scale * table[token] (+ positions[position]) (+ types[0])`.
    pub(in crate::cpu) fn embed_rows(
        &mut self,
        table: &Packed,
        added: [Option<&[f32]>; 2],
        scale: f64,
        x: &mut Vec<f32>,
    ) {
        self.begin(Some(x));
        self.reads(table.format());
        let (width, sequences) = (table.layout.columns, self.sequences);
        let position = |row| sequences.position(row);
        let out = RowsOut::new(x, width, width);
        let (device, scale) = (self.device, scale as f32);
        embed::forward::forward(device, self.tokens, table, scale, added, position, None, &out);
        self.end(x, width);
    }

    /// `out = projection · norm(x)`, for a later step that normalises `out`.
    fn store_rows(
        &mut self,
        x: &[f32],
        norm: Option<&NormParameters>,
        projection: &ProjectionParameters,
        out: &mut Vec<f32>,
    ) {
        self.begin(Some(out));
        let width = projection.weight.layout.rows;
        let rows_out = RowsOut::new(out, width, width);
        let epilogue = epilogue::store(projection.bias.as_deref(), &rows_out, 0, None);
        self.project(x, self.rows(), norm, &projection.weight, &epilogue);
        drop(epilogue);
        self.end(out, width);
    }

    /// `x = norm(rows)`; with `scale`, the factor of a branch, `x += scale * norm(rows)`.
    fn norm_rows(
        &mut self,
        rows: &[f32],
        norm: &NormParameters,
        scale: Option<f64>,
        x: &mut [f32],
    ) {
        self.begin(None);
        let width = self.plan.spec.embed as usize;
        let out = RowsOut::new(x, width, width);
        let sum = scale.map(|scale| Sum { residual: None, scale: scale as f32, mask: None });
        let rows = Strided { data: rows, stride: width };
        let (norm, statistics) = (norm.operands(), RowStatistics::Discard);
        norm_rows(self.device, self.rows(), norm, rows, statistics, sum, &out);
        self.end(x, width);
    }

    /// `a = softmax(scores(q, k)) v`, masked, head by head.
    pub(in crate::cpu) fn attention_rows(
        &mut self,
        scores: &Scores,
        q: &[f32],
        cache: &Cache,
        a: &mut Vec<f32>,
    ) {
        self.begin(Some(a));
        let spec = &self.plan.spec;
        let queries =
            Queries { q, heads: spec.heads as usize, sequences: self.sequences, scores: *scores };
        cached::forward(self.device, &mut self.scratch.attention, &queries, cache, a);
        self.end(a, spec.q_width() as usize);
    }

    /// `h = act(up · norm(x))`; with a gate, `h = act(gate · norm(x)) * (up · norm(x))`.
    pub(in crate::cpu) fn mlp_up_rows(
        &mut self,
        x: &[f32],
        norm: Option<&NormParameters>,
        up: &ProjectionParameters,
        activation: &(dyn Fn(&mut [f32]) + Sync),
        h: &mut Vec<f32>,
    ) {
        self.begin(Some(h));
        let (rows, mlp) = (self.rows(), &self.plan.spec.mlp);
        let hidden = mlp.hidden as usize;
        let out = RowsOut::new(h, hidden, hidden);
        let activation = ActivationEpilogue {
            activation: InPlace(activation),
            bias: up.bias.as_deref(),
            h: &out,
            slopes: None,
        };
        if mlp.gated {
            self.project(x, rows, norm, &up.weight, &|from, panel, tile| {
                activation.gated(from, panel, tile)
            });
        } else {
            self.project(x, rows, norm, &up.weight, &|from, panel, tile| {
                activation.plain(from, panel, tile)
            });
        }
        self.end(h, hidden);
    }

    /// Adds a projection, times `scale`, to the residual stream. In a post-norm block, the stream
    /// is normalised first.
    fn residual_rows(
        &mut self,
        input: &[f32],
        projection: &ProjectionParameters,
        norm: Option<&NormParameters>,
        scale: f64,
        x: &mut [f32],
    ) {
        self.begin(None);
        let (rows, kernels) = (self.rows(), self.device.kernels);
        let width = projection.weight.layout.rows;
        let x = &mut x[..rows * width];
        if let Some(norm) = norm {
            let scratch = &mut self.scratch.project;
            forward::normalize_in_place(self.device, scratch, x, rows, norm.operands());
        }
        let out = RowsOut::new(x, width, width);
        let bias = projection.bias.as_deref();
        let epilogue = epilogue::residual(kernels, bias, scale as f32, None, None, &out);
        self.project(input, rows, None, &projection.weight, &epilogue);
        drop(epilogue);
        self.end(x, width);
    }

    /// Returns the first row whose logits are requested, or the number of rows if none are. Copies
    /// the stream `x`, which the head reads, if it is observed.
    fn first_requested(&mut self, x: &[f32]) -> usize {
        let width = self.plan.spec.embed as usize;
        let rows = self.rows();
        if let Some(stream) = &mut self.stream {
            stream.extend_from_slice(&x[..rows * width]);
        }
        rows - self.requested()
    }

    /// The number of rows whose logits are requested.
    fn requested(&self) -> usize {
        match self.request {
            LogitsRequest::Nothing => 0,
            LogitsRequest::Last => 1,
            LogitsRequest::All => self.rows(),
        }
    }

    /// `out = act(dense · norm(x))` of the requested rows.
    fn head_dense_rows(
        &mut self,
        x: &[f32],
        head: &HeadOperands<'_>,
        activation: &(dyn Fn(&mut [f32]) + Sync),
        out: &mut Vec<f32>,
    ) {
        let (first, rows) = (self.first_requested(x), self.requested());
        if rows == 0 {
            self.next += 1;
            return;
        }
        self.begin(Some(out));
        let width = head.matrix.layout.rows;
        let h = RowsOut::new(out, width, width);
        let activation = InPlace(activation);
        let activation = ActivationEpilogue { activation, bias: head.bias, h: &h, slopes: None };
        let x = &x[first * head.matrix.layout.columns..];
        self.project(x, rows, head.norm, head.matrix, &|from, panel, tile| {
            activation.plain(from, panel, tile)
        });
        self.end_with(|_| out[..rows * width].to_vec());
    }

    /// Writes the logits of the requested rows, in `x` from row `first` on, to the caller's slice.
    fn head_rows(
        &mut self,
        x: &[f32],
        first: usize,
        head: &HeadOperands<'_>,
        map: Option<&Formula>,
    ) {
        let rows = self.requested();
        if rows == 0 {
            return;
        }
        let (width, vocab) = (head.matrix.layout.columns, head.matrix.layout.rows);
        self.begin(None);
        let logits = std::mem::take(&mut self.logits);
        if self.trace.is_some() {
            logits.fill(f32::NAN);
        }
        let out = RowsOut::new(logits, vocab, vocab);
        let epilogue = epilogue::store(head.bias, &out, 0, map);
        self.project(&x[first * width..], rows, head.norm, head.matrix, &epilogue);
        drop(epilogue);
        self.end_with(|_| logits[..rows * vocab].to_vec());
        self.logits = logits;
    }
}

/// The parameters of a step of the head.
struct HeadOperands<'a> {
    norm: Option<&'a NormParameters>,
    matrix: &'a Packed,
    bias: Option<&'a [f32]>,
}
