//! Training: the forward and backward pass of a batch.

use std::ops::Range;
use std::time::Instant;

use gpt_plan::{
    BufferId as B, Dropout, Epilogue, Formula, Mask, NormRef, Op, Plan, Repeat, Section, Site,
    Slot, Statistics, Step, TensorId,
};

use super::buffers::TrainBuffers;
use crate::cpu::device::CpuDevice;
use crate::cpu::ops::RowsOut;
use crate::cpu::ops::attention::{self, HeadViews};
use crate::cpu::ops::dropout::{self, DropoutMask};
use crate::cpu::ops::embed;
use crate::cpu::ops::loss::cross_entropy;
use crate::cpu::ops::matmul::backward::{self, WeightGradient};
use crate::cpu::ops::matmul::epilogue::{self, ActivationEpilogue, EpilogueFn};
use crate::cpu::ops::matmul::forward::project_floats;
use crate::cpu::ops::norm::{self, forward::RowStatistics};
use crate::cpu::ops::rotary::RotaryTables;
use crate::cpu::pack::Order;
use crate::cpu::parameters::TrainParameters;
use crate::cpu::pool::Disjoint;
use crate::engine::{Learn, TrainProfile};
use gpt_simd::Strided;

/// Replaces the first slice by its activation and writes the derivative to the second.
pub type ActivateWithSlopes = fn(&mut [f32], &mut [f32]);

/// A training pass of one batch: the state that its steps share.
pub struct TrainPass<'a> {
    pub device: &'a CpuDevice,
    pub plan: &'static Plan,
    pub activate: Option<ActivateWithSlopes>,
    pub parameters: &'a mut TrainParameters,
    pub buffers: &'a mut TrainBuffers,
    pub rotary: &'a RotaryTables,
    /// Whether the backward pass recomputes a layer's activations.
    pub recomputes: bool,
    /// Tokens of all sequences.
    pub rows: usize,
    /// Tokens of each sequence.
    pub tokens: usize,
    pub options: Learn,
    /// The layer that steps run for.
    pub layer: usize,
    /// The rows of the current chunk of logits.
    pub chunk: Range<usize>,
    /// Receives the time of each step.
    pub profile: Option<&'a mut TrainProfile>,
}

/// The activation and its derivative, as an epilogue applies it.
struct WithSlopes<'a>(&'a TrainPass<'a>);

impl epilogue::Activate for WithSlopes<'_> {
    const SLOPES: bool = true;

    fn activate(&self, values: &mut [f32], slopes: &mut [f32]) {
        use gpt_plan::Activation::Custom;
        match (self.0.activate, &self.0.plan.spec.mlp.activation) {
            (Some(activate), _) => activate(values, slopes),
            (None, Custom { value, derivative, .. }) => {
                for (x, slope) in values.iter_mut().zip(slopes) {
                    *slope = derivative.eval_f32(*x);
                    *x = value.eval_f32(*x);
                }
            }
            (None, built_in) => self.0.device.kernels.with_slopes(built_in, values, slopes),
        }
    }
}

impl TrainPass<'_> {
    pub fn forward(&mut self) {
        let plan = self.plan;
        for section in plan.training.forward.iter() {
            self.section(section, |_| true);
        }
    }

    /// Computes the loss and all gradients.
    pub fn backward(&mut self) {
        let plan = self.plan;
        let training = &plan.training;
        for section in training.loss.iter().chain(training.backward.iter()) {
            self.section(section, |_| true);
        }
    }

    /// Computes the losses of the rows, without gradients.
    pub fn losses_only(&mut self) {
        let plan = self.plan;
        for section in plan.training.loss.iter() {
            self.section(section, |op| !op.is_backward());
        }
    }

    /// Runs the steps of a section whose op satisfies `wanted`.
    fn section(&mut self, section: &'static Section, wanted: fn(&Op) -> bool) {
        match section.repeat {
            Repeat::Chunks => {
                self.layer = 0;
                let most = self.buffers.chunk_rows;
                for from in (0..self.rows).step_by(most) {
                    self.chunk = from..(from + most).min(self.rows);
                    self.steps(&section.steps, wanted);
                }
            }
            repeat => {
                for layer in repeat.layers() {
                    self.layer = layer as usize;
                    if self.recomputes && matches!(repeat, Repeat::LayersReversed { .. }) {
                        self.recompute(layer);
                    }
                    self.steps(section.of_layer(layer), wanted);
                }
            }
        }
    }

    /// Runs a layer's forward steps again, except the last, whose output is stored.
    fn recompute(&mut self, layer: u32) {
        let plan = self.plan;
        let forward = plan.training.forward.iter();
        for section in forward.filter(|section| section.repeat.has_layer(layer)) {
            self.steps(section.of_layer(layer), |op| !op.ends_layer());
        }
    }

    fn steps(&mut self, steps: &'static [Step], wanted: fn(&Op) -> bool) {
        for step in steps.iter().filter(|step| wanted(&step.op)) {
            let start = self.profile.is_some().then(Instant::now);
            self.run(step);
            if let (Some(profile), Some(start)) = (&mut self.profile, start) {
                profile.add(&step.name, start.elapsed().as_secs_f64());
            }
        }
    }

    fn run(&mut self, step: &Step) {
        match step.op {
            Op::Embed { table, positions, out } => self.embed(table, positions, out),
            Op::Norm { norm, x, stats, out, statistics } => {
                self.norm(norm, x, stats, out, statistics)
            }
            Op::Project(ref projection) => {
                let (weight, bias, input) = (projection.weight, projection.bias, projection.input);
                match projection.epilogue {
                    Epilogue::Heads { rotary, .. } => self.qkv(weight, bias, rotary, input),
                    Epilogue::Residual { residual, out, site, .. } => {
                        self.residual(weight, bias, [input, residual, out], site)
                    }
                    Epilogue::Activation { .. } => self.mlp_up(weight, bias, input),
                    Epilogue::Store { ref map, .. } => {
                        self.logits(weight, map.as_ref().map(|map| &map.value))
                    }
                }
            }
            Op::Attention { mask, .. } => self.attention(mask),
            Op::CrossEntropy { ref slope, .. } => self.cross_entropy(slope.as_ref()),
            Op::DropoutBackward { site, dy, out } => self.dropout(site, dy, out),
            Op::ProjectInput { weight, dy, slopes, out } => {
                self.linear_input(weight, dy, slopes, out)
            }
            Op::ProjectWeight { weight, bias, dy, input } => {
                self.linear_weight(weight, bias, dy, input)
            }
            Op::NormInput { norm, x, stats, dy, residual, out } => {
                self.norm_input(norm, [x, stats, dy, out], residual)
            }
            Op::NormWeight { norm, x, stats, dy } => self.norm_weight(norm, [x, stats, dy]),
            Op::Add { a, b, out } => {
                assert_eq!(a, out, "a gradient is added to itself");
                self.add(b, out);
            }
            Op::AttentionBackward { mask, rotary, .. } => self.attention_input(mask, rotary),
            Op::EmbedBackward { table, positions, dx } => self.embed_weight(table, positions, dx),
        }
    }

    /// The sum of all rows' losses, in f64 and in row order.
    pub fn loss(&self) -> f64 {
        let losses = &self.buffers.one(B::Losses)[..self.rows];
        losses.iter().map(|&loss| f64::from(loss)).sum()
    }

    /// The dropout mask of a site of this layer; none without dropout.
    fn mask(&self, site: Site) -> Option<DropoutMask> {
        let dropout = self.options.dropout?;
        let key = Dropout::site_key(dropout.key, site, self.layer as u32);
        Some(DropoutMask { dropout, key })
    }

    /// Takes a buffer while `f` writes it and reads others.
    fn take<R>(&mut self, slot: Slot, f: impl FnOnce(&mut Self, &mut [f32]) -> R) -> R {
        let mut buffer = self.buffers.take(slot, self.layer);
        let result = f(self, &mut buffer);
        self.buffers.put(slot, self.layer, buffer);
        result
    }

    /// As [`take`](Self::take), with the buffer as rows.
    fn write(&mut self, slot: Slot, f: impl FnOnce(&mut Self, RowsOut<'_>)) {
        let width = self.buffers.width(slot.buffer);
        let stride = self.buffers.stride(slot.buffer);
        self.take(slot, |pass, out| {
            f(pass, RowsOut::new(out, width, stride));
        });
    }

    /// Takes the gradients while `f` writes them and reads buffers.
    fn write_gradients(&mut self, f: impl FnOnce(&Self, &mut [f32])) {
        let mut gradients = std::mem::take(&mut self.parameters.gradients);
        f(self, &mut gradients);
        self.parameters.gradients = gradients;
    }

    /// The rows of a buffer.
    fn input(&self, slot: Slot) -> Strided<'_> {
        Strided {
            data: self.buffers.get(slot, self.layer),
            stride: self.buffers.stride(slot.buffer),
        }
    }

    /// The rows of a buffer from the chunk's first row on.
    fn chunk_input(&self, slot: Slot) -> Strided<'_> {
        let rows = self.input(slot);
        Strided { data: &rows.data[self.chunk.start * rows.stride..], stride: rows.stride }
    }

    fn bias(&self, bias: Option<TensorId>) -> Option<&[f32]> {
        bias.map(|id| self.parameters.plain(id, self.layer))
    }

    /// Passes `weight · input` to `epilogue`.
    fn project(&self, input: Slot, weight: TensorId, epilogue: EpilogueFn<'_>) {
        let matrix = self.parameters.matrix(weight, self.layer);
        let input = self.input(input);
        project_floats(self.device, input, self.rows, &matrix, epilogue);
    }

    /// `out = mask * dy`.
    fn dropout(&mut self, site: Site, dy: Slot, out: Slot) {
        let mask = self.mask(site);
        self.write(out, |pass, to| {
            dropout::backward(pass.device, pass.rows, pass.input(dy), mask, &to);
        });
    }

    fn embed(&mut self, table: TensorId, positions: Option<TensorId>, to: Slot) {
        let mask = self.mask(Site::Embedding);
        self.write(to, |pass, out| {
            let parameters = &pass.parameters;
            embed::forward::forward(
                pass.device,
                &pass.buffers.tokens[..pass.rows],
                &parameters.matrix(table, 0),
                positions.map(|id| parameters.plain(id, 0)),
                |row| row % pass.tokens,
                mask,
                &out,
            );
        });
    }

    /// `to = norm(x)`. Computes and stores the row statistics, or reads the stored ones.
    fn norm(&mut self, norm: NormRef, x: Slot, stats: Slot, to: Slot, statistics: Statistics) {
        self.take(stats, |pass, stats| {
            pass.write(to, |pass, out| {
                let statistics = match statistics {
                    Statistics::Compute => RowStatistics::Compute(Disjoint::new(stats)),
                    Statistics::Stored => RowStatistics::Stored(stats),
                };
                let norm = pass.parameters.norm(pass.plan, norm, pass.layer);
                norm::forward::forward(
                    pass.device,
                    pass.rows,
                    norm,
                    pass.input(x),
                    statistics,
                    &out,
                );
            });
        });
    }

    /// `to = (to +) d(norm)/dx · dy`.
    fn norm_input(&mut self, norm: NormRef, [x, stats, dy, to]: [Slot; 4], residual: Option<Slot>) {
        assert!(
            residual.is_none_or(|residual| residual == to),
            "a stream's gradient is added to itself"
        );
        self.write(to, |pass, out| {
            norm::backward::input(
                pass.device,
                pass.rows,
                pass.parameters.norm(pass.plan, norm, pass.layer),
                [pass.input(x), pass.input(dy)],
                pass.buffers.get(stats, pass.layer),
                &out,
                residual.is_some(),
            );
        });
    }

    /// Accumulates the gradients of the norm's parameters.
    fn norm_weight(&mut self, norm: NormRef, [x, stats, dy]: [Slot; 3]) {
        self.write_gradients(|pass, gradients| {
            let start = |id| pass.parameters.extent(id, pass.layer).start;
            norm::backward::weight(
                pass.device,
                pass.buffers.width(x.buffer),
                pass.input(x),
                pass.buffers.get(dy, pass.layer),
                &pass.buffers.get(stats, pass.layer)[..2 * pass.rows],
                [norm.gamma.map(start), norm.beta.map(start)],
                gradients,
                !pass.options.first,
            );
        });
    }

    /// `to += x`.
    fn add(&mut self, x: Slot, to: Slot) {
        self.write(to, |pass, out| {
            dropout::add(pass.device, pass.rows, pass.input(x), &out);
        });
    }

    /// `qkv = weight · input`, rotated.
    fn qkv(&mut self, weight: TensorId, bias: Option<TensorId>, rotary: Option<u16>, input: Slot) {
        self.write(B::Qkv.here(), |pass, out| {
            let (width, tokens) = (pass.plan.spec.qkv_width() as usize, pass.tokens);
            let sink = |row: usize, first: usize, outputs: &[f32]| {
                out.prefetch(row, first + gpt_simd::PANEL);
                // SAFETY: panels and rows do not overlap.
                epilogue::put(unsafe { out.part(row, first, outputs.len()) }, outputs);
            };
            let position = |row| row % tokens;
            let rotary = pass.rotary.of(rotary);
            let epilogue = epilogue::heads(pass.bias(bias), width, rotary, position, sink);
            pass.project(input, weight, &epilogue);
        });
    }

    /// `out = residual + drop(weight · input)`.
    fn residual(
        &mut self,
        weight: TensorId,
        bias: Option<TensorId>,
        [input, residual, to]: [Slot; 3],
        site: Site,
    ) {
        let mask = self.mask(site);
        self.write(to, |pass, out| {
            let (kernels, residual) = (pass.device.kernels, Some(pass.input(residual)));
            let epilogue = epilogue::residual(kernels, pass.bias(bias), residual, mask, &out);
            pass.project(input, weight, &epilogue);
        });
    }

    /// `h = act(u)` and its slopes, `u = weight · input`.
    fn mlp_up(&mut self, weight: TensorId, bias: Option<TensorId>, input: Slot) {
        self.write(B::H.here(), |pass, h| {
            pass.write(B::Slopes.here(), |pass, slopes| {
                let pass = &*pass;
                let activation = ActivationEpilogue {
                    activation: WithSlopes(pass),
                    bias: pass.bias(bias),
                    h: &h,
                    slopes: Some(&slopes),
                };
                match pass.parameters.matrix(weight, pass.layer).layout.order {
                    Order::Gated => pass.project(input, weight, &|from, panel, tile| {
                        activation.gated(from, panel, tile)
                    }),
                    Order::Straight => pass.project(input, weight, &|from, panel, tile| {
                        activation.plain(from, panel, tile)
                    }),
                }
            });
        });
    }

    /// `logits = map(weight · n)` of the chunk's rows.
    fn logits(&mut self, weight: TensorId, map: Option<&Formula>) {
        self.write(B::Logits.here(), |pass, out| {
            let matrix = pass.parameters.matrix(weight, 0);
            let input = pass.chunk_input(B::Normed.here());
            let epilogue = epilogue::store(&out, 0, map);
            project_floats(pass.device, input, pass.chunk.len(), &matrix, &epilogue);
        });
    }

    /// Computes the losses of the chunk's rows and replaces their logits by the gradient.
    fn cross_entropy(&mut self, slope: Option<&Formula>) {
        self.write(B::Logits.here(), |pass, logits| {
            pass.take(B::Losses.here(), |pass, losses| {
                let chunk = pass.chunk.clone();
                let targets = &pass.buffers.targets[chunk.clone()];
                let losses = &mut losses[chunk];
                cross_entropy(pass.device, targets, pass.options.scale, slope, &logits, losses);
            });
        });
    }

    /// `d(input) = dy · weight`.
    fn linear_input(&mut self, weight: TensorId, dy: Slot, slopes: Option<Slot>, to: Slot) {
        // A chunk's gradients are stored at its rows.
        let (first_row, rows) = match dy.buffer == B::Logits {
            true => (self.chunk.start, self.chunk.len()),
            false => (0, self.rows),
        };
        self.write(to, |pass, out| {
            let matrix = pass.parameters.matrix(weight, pass.layer);
            let run = |epilogue: EpilogueFn<'_>| {
                backward::input(pass.device, pass.input(dy), rows, matrix, epilogue);
            };
            match slopes {
                None => run(&epilogue::store(&out, first_row, None)),
                Some(slopes) => {
                    let hidden = pass.buffers.width(B::H);
                    let slopes = pass.buffers.get(slopes, pass.layer);
                    let gated = pass.plan.spec.mlp.gated;
                    run(&epilogue::slopes(hidden, gated, slopes, &out));
                }
            }
        });
    }

    /// `d(weight) += dyᵀ · input`, `d(bias) += Σ dy`.
    fn linear_weight(&mut self, weight: TensorId, bias: Option<TensorId>, dy: Slot, input: Slot) {
        let of_chunk = dy.buffer == B::Logits;
        self.write_gradients(|pass, gradients| {
            // The gradient of a head is the sum over its chunks.
            let (input, rows, add) = match of_chunk {
                true => {
                    let add = !pass.options.first || pass.chunk.start > 0;
                    (pass.chunk_input(input), pass.chunk.len(), add)
                }
                false => (pass.input(input), pass.rows, !pass.options.first),
            };
            let extent = |id| pass.parameters.extent(id, pass.layer);
            let matrix = extent(weight);
            let to = WeightGradient {
                layout: matrix.layout,
                weight: matrix.start,
                bias: bias.map(|id| extent(id).start),
                gradients,
                add,
            };
            let rounds = pass.parameters.rounds;
            backward::weight(pass.device, rows, [input, pass.input(dy)], rounds, to);
        });
    }

    fn heads(&self, mask: Mask) -> HeadViews<'_> {
        let spec = &self.plan.spec;
        HeadViews {
            kernels: self.device.kernels,
            qkv: self.input(B::Qkv.here()),
            head_dim: spec.head_dim as usize,
            kv_heads: spec.kv_heads as usize,
            group: (spec.heads / spec.kv_heads) as usize,
            rows: self.rows,
            tokens: self.tokens,
            causal: mask == Mask::Causal,
            mask: self.mask(Site::Attention),
        }
    }

    /// `a = drop(softmax(q kᵀ / sqrt(head_dim))) v`. Stores the log-sum-exp of each query's scores.
    fn attention(&mut self, mask: Mask) {
        self.write(B::A.here(), |pass, out| {
            pass.take(B::Lse.here(), |pass, lse| {
                attention::forward::forward(pass.device, &pass.heads(mask), &out, lse);
            });
        });
    }

    /// The gradients of q, k and v.
    fn attention_input(&mut self, mask: Mask, rotary: Option<u16>) {
        self.write(B::DQkv.here(), |pass, out| {
            pass.take(B::Delta.here(), |pass, delta| {
                let saved = attention::backward::SavedForward {
                    a: pass.input(B::A.here()),
                    da: pass.input(B::DA.here()),
                    lse: pass.buffers.get(B::Lse.here(), pass.layer),
                };
                let (device, heads) = (pass.device, pass.heads(mask));
                let rotary = pass.rotary.of(rotary);
                attention::backward::input(device, &heads, rotary, saved, delta, &out);
            });
        });
    }

    /// `d(table)[token] += dx`, `d(positions)[t] += dx`.
    fn embed_weight(&mut self, table: TensorId, positions: Option<TensorId>, dx: Slot) {
        // A tied table already has the head's gradient.
        let own_table = !self.plan.spec.tie_embeddings;
        self.write_gradients(|pass, gradients| {
            let table = pass.parameters.extent(table, 0);
            let positions = positions.map(|id| pass.parameters.extent(id, 0));
            if pass.options.first {
                let cleared = own_table.then_some(table).into_iter().chain(positions);
                for extent in cleared {
                    gradients[extent.start..][..extent.len].fill(0.0);
                }
            }
            let tables = embed::backward::Tables {
                table: table.start,
                positions: positions.map(|extent| extent.start),
                width: pass.buffers.width(dx.buffer),
            };
            let tokens = &pass.buffers.tokens[..pass.rows];
            let (dx, length) = (pass.input(dx), pass.tokens);
            embed::backward::weight(pass.device, tokens, length, dx, &tables, gradients);
        });
    }
}
