//! Inference: one pass of a chunk of tokens through a model.

mod buffers;

use std::time::Instant;

use gpt_plan::{
    BufferId, Epilogue, Format, Formula, NormRef, Op, Place, Plan, Scores, Step, TensorId,
    TensorKind,
};

pub use buffers::{PassScratch, SessionBuffers};

use crate::Error;
use crate::cpu::activation::Apply;
use crate::cpu::device::CpuDevice;
use crate::cpu::kv_cache::{Cache, CacheShape, KeysAndValues, KvStorage, each_format, narrow};
use crate::cpu::ops::attention::cached::{self, Queries};
use crate::cpu::ops::matmul::epilogue::{self, Activate, ActivationEpilogue, EpilogueFn};
use crate::cpu::ops::matmul::forward::{self, Prologue, project};
use crate::cpu::ops::norm::forward::{RowStatistics, Sum, forward as norm_rows};
use crate::cpu::ops::norm::heads::forward as norm_heads;
use crate::cpu::ops::rotary::{Rotary, RotaryTables};
use crate::cpu::ops::{RowsOut, embed};
use crate::cpu::pack::{Order, Packed};
use crate::cpu::parameters::{NormParameters, ParameterReader, ProjectionParameters};
use crate::cpu::pool::Disjoint;
use crate::engine::{LogitsRequest, StepTime, Trace};
use gpt_simd::{CacheElement, PANEL, Strided};

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

/// A forward pass of one chunk of tokens: the state that its steps share.
pub struct ForwardPass<'a> {
    pub(in crate::cpu) plan: &'static Plan,
    pub(in crate::cpu) device: &'a CpuDevice,
    pub(in crate::cpu) rotary: &'a RotaryTables,
    pub(in crate::cpu) scratch: &'a mut PassScratch,
    pub(in crate::cpu) tokens: &'a [u32],
    pub(in crate::cpu) position: usize,
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
    /// Receives the residual stream that the head reads, if wanted.
    pub(in crate::cpu) stream: Option<&'a mut Vec<f32>>,
}

/// An inference activation as an epilogue applies it.
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

    /// Before a step that is traced, fills its output and scratch memory with NaN.
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
        let (width, position) = (table.layout.columns, self.position);
        let position = |row| position + row;
        let out = RowsOut::new(x, width, width);
        let (device, scale) = (self.device, scale as f32);
        embed::forward::forward(device, self.tokens, table, scale, added, position, None, &out);
        self.end(x, width);
    }

    /// `q, k, v = qkv · norm(x)`; q and k are rotated, k and v are written to the cache.
    pub(in crate::cpu) fn qkv_rows(
        &mut self,
        x: &[f32],
        norm: Option<&NormParameters>,
        qkv: &ProjectionParameters,
        rotary: &Rotary,
        q: &mut Vec<f32>,
        cache: &mut Cache,
    ) {
        self.begin(Some(q));
        let shape = cache.shape;
        each_format!(&mut cache.storage, kv => {
            let (position, width) = (self.position, self.plan.spec.qkv_width() as usize);
            let sink = self.heads_sink(q, &shape, kv);
            let position = |row| position + row;
            let epilogue = epilogue::heads(qkv.bias.as_deref(), width, rotary, position, sink);
            self.project(x, self.rows(), norm, &qkv.weight, &epilogue);
        });
        self.end_heads(q, cache);
    }

    /// `q, k, v = x`, with the norms of queries and keys; otherwise as [`qkv_rows`](Self::qkv_rows).
    pub(in crate::cpu) fn norm_heads_rows(
        &mut self,
        x: &[f32],
        norm: &NormParameters,
        rotary: &Rotary,
        q: &mut Vec<f32>,
        cache: &mut Cache,
    ) {
        self.begin(Some(q));
        let spec = &self.plan.spec;
        let groups = spec.qk_groups().expect("the spec has a norm of queries and keys");
        let (position, width) = (self.position, spec.qkv_width() as usize);
        let (shape, rows) = (cache.shape, self.rows());
        each_format!(&mut cache.storage, kv => {
            let sink = self.heads_sink(q, &shape, kv);
            let x = Strided { data: x, stride: width };
            let position = |row| position + row;
            let norm = norm.operands();
            norm_heads(self.device, rows, &groups, norm, x, width, rotary, position, None, sink);
        });
        self.end_heads(q, cache);
    }

    /// Ends a step that writes queries, keys and values.
    fn end_heads(&mut self, q: &[f32], cache: &Cache) {
        self.end_with(|pass| {
            let width = pass.plan.buffer(BufferId::Q).width as usize;
            let mut values = Vec::new();
            for (row, q) in q.chunks(width).take(pass.rows()).enumerate() {
                values.extend_from_slice(q);
                cache.gather(pass.position + row, &mut values);
            }
            values
        });
    }

    /// Stores a part of a row of queries, keys and values, from an output on: queries in `q`, the
    /// others in the cache.
    fn heads_sink<'a, E: CacheElement>(
        &self,
        q: &'a mut [f32],
        shape: &'a CacheShape,
        kv: &'a mut KeysAndValues<E>,
    ) -> impl Fn(usize, usize, &[f32]) + Sync + use<'a, E> {
        let spec = &self.plan.spec;
        let head_dim = shape.head_dim;
        let (q_width, kv_width) = (spec.q_width() as usize, spec.kv_width() as usize);
        let (position, kernels) = (self.position, self.device.kernels);
        let (q_out, kv_out) = (Disjoint::new(q), Disjoint::new(kv.elements_mut()));
        move |row: usize, first: usize, outputs: &[f32]| {
            let position = position + row;
            let mut scratch = [E::default(); PANEL];
            // A panel may hold parts of several heads, so the outputs are stored head by head.
            let mut at = 0;
            while at < outputs.len() {
                let n = first + at;
                let d = n % head_dim;
                let part = &outputs[at..outputs.len().min(at + head_dim - d)];
                at += part.len();
                // SAFETY: each output of each row is written to its own element.
                unsafe {
                    if n < q_width {
                        q_out.part(row * q_width + n, part.len()).copy_from_slice(part);
                    } else if n < q_width + kv_width {
                        let to = shape.key_at((n - q_width) / head_dim, position, d);
                        for (i, &key) in narrow(kernels, part, &mut scratch).iter().enumerate() {
                            kv_out.part(to + i * PANEL, 1).fill(key);
                        }
                    } else {
                        let to = shape.value_at((n - q_width - kv_width) / head_dim, position) + d;
                        kv_out.part(to, part.len()).copy_from_slice(narrow(
                            kernels,
                            part,
                            &mut scratch,
                        ));
                    }
                }
            }
        }
    }

    /// `out = projection · norm(x)`, before a norm of `out`.
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

    /// `x = norm(rows)`, or with the factor of a branch `x += scale * norm(rows)`.
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
        let queries = Queries {
            q,
            heads: spec.heads as usize,
            rows: self.rows(),
            position: self.position,
            scores: *scores,
        };
        cached::forward(self.device, &mut self.scratch.attention, &queries, cache, a);
        self.end(a, spec.q_width() as usize);
    }

    /// `h = act(up · norm(x))`, or with a gate `act(gate · norm(x)) * (up · norm(x))`.
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

    /// Adds a projection, times `scale`, to the residual stream. In a post-norm block, to the norm
    /// of the stream.
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

    /// Writes the logits of the requested rows to the caller's slice.
    pub(in crate::cpu) fn head_rows(
        &mut self,
        x: &[f32],
        norm: Option<&NormParameters>,
        weight: &Packed,
        bias: Option<&[f32]>,
        map: Option<&Formula>,
    ) {
        let (width, vocab) = (weight.layout.columns, weight.layout.rows);
        if let Some(stream) = &mut self.stream {
            stream.extend_from_slice(&x[..self.tokens.len() * width]);
        }
        let from = match self.request {
            LogitsRequest::Nothing => return,
            LogitsRequest::Last => self.rows() - 1,
            LogitsRequest::All => 0,
        };
        let rows = self.rows() - from;
        self.begin(None);
        let logits = std::mem::take(&mut self.logits);
        if self.trace.is_some() {
            logits.fill(f32::NAN);
        }
        let out = RowsOut::new(logits, vocab, vocab);
        let epilogue = epilogue::store(bias, &out, 0, map);
        self.project(&x[from * width..], rows, norm, weight, &epilogue);
        drop(epilogue);
        self.end_with(|_| logits[..rows * vocab].to_vec());
        self.logits = logits;
    }
}

/// A model's parameters, by the steps of its plan.
pub struct Interpreter {
    /// The matrices that the model has once, not in each layer, by tensor.
    matrices: Vec<Option<Packed>>,
    /// The tables of positions, by tensor.
    tables: Vec<Vec<f32>>,
    /// One for each step of the pass.
    steps: Vec<StepParameters>,
    activation: Apply,
}

/// The parameters that one step of one layer reads.
struct StepParameters {
    norm: Option<NormParameters>,
    projection: Option<ProjectionParameters>,
    /// The bias of the head, whose matrix is in [`Interpreter::matrices`].
    head_bias: Option<Vec<f32>>,
}

impl StepParameters {
    fn new(reader: &ParameterReader<'_>, layer: u32, step: &Step) -> Result<StepParameters, Error> {
        let read_norm =
            |norm: Option<NormRef>| norm.map(|norm| reader.norm(norm, layer)).transpose();
        let Some(projection) = step.op.projection() else {
            let norm = match step.op {
                Op::Norm { norm, .. } | Op::NormHeads { norm, .. } => Some(norm),
                _ => None,
            };
            return Ok(StepParameters {
                norm: read_norm(norm)?,
                projection: None,
                head_bias: None,
            });
        };
        let norm = match projection.epilogue {
            Epilogue::Residual { norm, .. } => norm,
            _ => projection.norm,
        };
        let order = if step.op.is_gated() { Order::Gated } else { Order::Straight };
        let (weight, bias) = (projection.weight, projection.bias);
        // The head's matrix is in `Interpreter::matrices`.
        let own = !step.op.is_head();
        Ok(StepParameters {
            norm: read_norm(norm)?,
            head_bias: bias.filter(|_| !own).map(|bias| reader.vector(bias, layer)).transpose()?,
            projection: own.then(|| reader.projection(weight, bias, layer, order)).transpose()?,
        })
    }
}

impl Interpreter {
    /// Packs every tensor of the plan. `compiled` is the activation of a declared model; without
    /// it, a closure is evaluated node by node.
    ///
    /// # Errors
    /// The weights cannot be read, or there is too little memory.
    pub fn new(
        reader: &ParameterReader<'_>,
        compiled: Option<fn(&mut [f32])>,
    ) -> Result<Interpreter, Error> {
        let plan = reader.plan;
        let mut matrices: Vec<Option<Packed>> = Vec::new();
        matrices.resize_with(plan.tensors.len(), || None);
        let mut tables: Vec<Vec<f32>> = vec![Vec::new(); plan.tensors.len()];
        for (i, tensor) in plan.tensors.iter().enumerate() {
            let id = TensorId(i as u16);
            match tensor.kind {
                TensorKind::Table => tables[i] = reader.vector(id, 0)?,
                // Two steps may share a matrix that the model has once, so such matrices are not
                // stored with the steps.
                TensorKind::Matrix if tensor.place == Place::Model => {
                    matrices[i] = Some(reader.matrix(id, 0, Order::Straight)?);
                }
                _ => {}
            }
        }
        let steps = plan
            .steps()
            .map(|(layer, step)| StepParameters::new(reader, layer, step))
            .collect::<Result<_, _>>()?;
        let activation = Apply::new(&plan.spec.mlp.activation, compiled, reader.device.kernels);
        Ok(Interpreter { matrices, tables, steps, activation })
    }

    /// Runs every step, in order.
    pub fn forward(&self, buffers: &mut SessionBuffers, pass: &mut ForwardPass<'_>) {
        for index in 0..self.steps.len() {
            self.step(index, buffers, pass);
        }
    }

    /// Runs step `index`.
    pub fn step(&self, index: usize, buffers: &mut SessionBuffers, pass: &mut ForwardPass<'_>) {
        let SessionBuffers { x, q, a, h, embedded, qkv_raw, attn_branch, mlp_branch, cache } =
            buffers;
        let (parameters, (layer, step)) = (&self.steps[index], pass.steps[index]);
        let norm = parameters.norm.as_ref();
        let cache = &mut cache[layer as usize];
        let projection = match &step.op {
            Op::Embed { table, positions, types, scale, out } => {
                let table_of = |id: TensorId| &*self.tables[usize::from(id.0)];
                let added = [positions, types].map(|id| id.map(table_of));
                let out = if out.buffer == BufferId::Embedded { embedded } else { x };
                return pass.embed_rows(self.matrix(*table), added, *scale, out);
            }
            Op::Attention { scores, .. } => return pass.attention_rows(scores, q, cache, a),
            Op::NormHeads { rotary, .. } => {
                let norm = norm.expect("a norm has parameters");
                let rotary = pass.rotary.of(*rotary);
                return pass.norm_heads_rows(qkv_raw, norm, rotary, q, cache);
            }
            Op::Norm { sum: None, .. } => {
                let norm = norm.expect("a norm has parameters");
                return pass.norm_rows(embedded, norm, None, x);
            }
            Op::Norm { x: branch, sum: Some(sum), .. } => {
                let norm = norm.expect("a norm has parameters");
                let branch =
                    if branch.buffer == BufferId::AttnBranch { attn_branch } else { mlp_branch };
                return pass.norm_rows(branch, norm, Some(sum.scale), x);
            }
            Op::Project(projection) => projection,
            _ => unreachable!("{} is no step of a forward pass", step.name),
        };
        let packed = || parameters.projection.as_ref().expect("a layer has matrices");
        match &projection.epilogue {
            Epilogue::Heads { rotary, .. } => {
                let rotary = pass.rotary.of(*rotary);
                pass.qkv_rows(x, norm, packed(), rotary, q, cache);
            }
            Epilogue::Activation { .. } => {
                pass.mlp_up_rows(x, norm, packed(), &|row| self.activation.apply(row), h)
            }
            Epilogue::Residual { scale, .. } => {
                let input = if projection.input.buffer == BufferId::A { a } else { h };
                pass.residual_rows(input, packed(), norm, *scale, x);
            }
            // The head's matrix is in `matrices`, because the embedding may share it.
            Epilogue::Store { map, .. } if step.op.is_head() => {
                let map = map.as_ref().map(|map| &map.value);
                let bias = parameters.head_bias.as_deref();
                pass.head_rows(x, norm, self.matrix(projection.weight), bias, map);
            }
            Epilogue::Store { out, .. } => match out.buffer {
                BufferId::QkvRaw => pass.store_rows(x, norm, packed(), qkv_raw),
                BufferId::AttnBranch => pass.store_rows(a, norm, packed(), attn_branch),
                _ => pass.store_rows(h, norm, packed(), mlp_branch),
            },
        }
    }

    fn matrix(&self, id: TensorId) -> &Packed {
        self.matrices[usize::from(id.0)].as_ref().expect("a matrix of the model is packed")
    }
}
