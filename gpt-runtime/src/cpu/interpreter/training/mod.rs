//! Training: the forward and backward pass of a batch. This file walks the ops; `forward` and
//! `backward` look up the operands of each.

mod backward;
mod forward;

use std::ops::Range;

use gpt_plan::{
    BufferId as B, Dropout, Epilogue, Op, Plan, QkGroups, Repeat, Scores, Section, Site, Slot,
    Step, TensorId,
};

use gpt_simd::Strided;

use super::buffers::TrainBuffers;
use crate::clock::Instant;
use crate::cpu::device::CpuDevice;
use crate::cpu::ops::RowsOut;
use crate::cpu::ops::attention::HeadViews;
use crate::cpu::ops::dropout::DropoutMask;
use crate::cpu::ops::matmul::epilogue;
use crate::cpu::ops::rotary::RotaryTables;
use crate::cpu::parameters::TrainParameters;
use crate::engine::{Learn, TrainProfile};

/// Applies the activation to the first slice, in place, and writes its derivative to the second.
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
    /// The rows of the batch whose logits the buffer holds.
    pub logit_rows: Range<usize>,
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
            Repeat::LogitRanges => {
                self.layer = 0;
                let most = self.buffers.max_logit_rows;
                for from in (0..self.rows).step_by(most) {
                    self.logit_rows = from..(from + most).min(self.rows);
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

    /// Runs a layer's forward steps again, except those whose only output is the residual stream
    /// that the next layer reads, which is stored.
    fn recompute(&mut self, layer: u32) {
        let plan = self.plan;
        let forward = plan.training.forward.iter();
        for section in forward.filter(|section| section.repeat.has_layer(layer)) {
            self.steps(section.of_layer(layer), |op| !op.is_skipped_by_recompute());
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
            Op::Embed { table, positions, types, scale, out } => {
                self.embed(table, [positions, types], scale, out);
            }
            Op::Norm { norm, x, sum, stats: Some(stats), out, statistics } => {
                self.norm(norm, [x, stats, out], sum, statistics)
            }
            Op::NormHeads { norm, x, stats: Some(stats), rotary, .. } => {
                self.norm_heads(norm, [x, stats], rotary)
            }
            Op::Norm { stats: None, .. } | Op::NormHeads { stats: None, .. } => {
                unreachable!("training stores statistics")
            }
            Op::NormHeadsInput { norm, x, stats, dy, out } => {
                self.norm_heads_input(norm, [x, stats, dy, out])
            }
            Op::NormHeadsWeight { norm, x, stats, dy } => {
                self.norm_heads_weight(norm, [x, stats, dy])
            }
            Op::Project(ref projection) => {
                let (weight, bias, input) = (projection.weight, projection.bias, projection.input);
                match projection.epilogue {
                    Epilogue::Heads { rotary, .. } => self.qkv(weight, bias, rotary, input),
                    Epilogue::Residual { residual, out, site, scale, .. } => {
                        self.residual(weight, bias, [input, residual, out], site, scale)
                    }
                    Epilogue::Activation { out, slopes: Some(slopes), .. } => {
                        self.activated(weight, bias, [input, out, slopes])
                    }
                    Epilogue::Activation { slopes: None, .. } => {
                        unreachable!("training stores slopes")
                    }
                    Epilogue::Store { ref map, .. } if step.op.is_head() => {
                        self.logits(weight, bias, map.as_ref().map(|map| &map.value))
                    }
                    Epilogue::Store { out, .. } => self.store(weight, bias, input, out),
                }
            }
            Op::Attention { scores, .. } => self.attention(scores),
            Op::CrossEntropy { ref slope, .. } => self.cross_entropy(slope.as_ref()),
            Op::DropoutBackward { site, scale, dy, out } => self.dropout(site, scale, dy, out),
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
                assert_eq!(a, out, "a gradient is added in place");
                self.add(b, out);
            }
            Op::Multiply { a, b, out } => {
                assert_eq!(a, out, "a gradient is multiplied in place");
                self.multiply(b, out);
            }
            Op::AttentionBackward { scores, rotary, .. } => self.attention_input(scores, rotary),
            Op::EmbedBackward { table, positions, types, scale, dx } => {
                self.embed_weight(table, [positions, types], scale, dx);
            }
        }
    }

    /// The sum of all rows' losses, in f64 and in row order.
    pub fn loss(&self) -> f64 {
        let losses = &self.buffers.one(B::Losses)[..self.rows];
        losses.iter().map(|&loss| f64::from(loss)).sum()
    }

    /// The dropout mask of a site of this layer; `None` without dropout.
    fn mask(&self, site: Site) -> Option<DropoutMask> {
        let dropout = self.options.dropout?;
        let key = Dropout::site_key(dropout.key, site, self.layer as u32);
        Some(DropoutMask { dropout, key })
    }

    /// Takes a buffer out of the set, so that `f` can write it and read others.
    fn take<R>(&mut self, slot: Slot, f: impl FnOnce(&mut Self, &mut [f32]) -> R) -> R {
        let mut buffer = self.buffers.take(slot, self.layer);
        let result = f(self, &mut buffer);
        self.buffers.put(slot, self.layer, buffer);
        result
    }

    /// Like [`take`](Self::take), with the buffer as rows.
    fn write(&mut self, slot: Slot, f: impl FnOnce(&mut Self, RowsOut<'_>)) {
        let width = self.buffers.width(slot.buffer);
        let stride = self.buffers.stride(slot.buffer);
        self.take(slot, |pass, out| {
            f(pass, RowsOut::new(out, width, stride));
        });
    }

    /// Takes the gradients out of the parameters, so that `f` can write them and read buffers.
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

    /// The rows of a buffer from the first of `logit_rows` on.
    fn logit_input(&self, slot: Slot) -> Strided<'_> {
        let rows = self.input(slot);
        Strided { data: &rows.data[self.logit_rows.start * rows.stride..], stride: rows.stride }
    }

    fn bias(&self, bias: Option<TensorId>) -> Option<&[f32]> {
        bias.map(|id| self.parameters.plain(id, self.layer))
    }

    fn qk_groups(&self) -> QkGroups {
        self.plan.spec.qk_groups().expect("the spec has a norm of queries and keys")
    }

    fn heads(&self, scores: Scores) -> HeadViews<'_> {
        let spec = &self.plan.spec;
        HeadViews {
            kernels: self.device.kernels,
            qkv: self.input(B::Qkv.here()),
            head_dim: spec.head_dim as usize,
            kv_heads: spec.kv_heads as usize,
            group: (spec.heads / spec.kv_heads) as usize,
            rows: self.rows,
            tokens: self.tokens,
            scores,
            mask: self.mask(Site::Attention),
        }
    }
}
