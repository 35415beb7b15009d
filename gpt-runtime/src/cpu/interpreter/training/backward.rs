//! The ops of the backward pass.

use gpt_plan::{BufferId as B, NormRef, Scores, Site, Slot, TensorId};

use super::TrainPass;
use crate::cpu::ops::matmul::backward::{self, WeightGradient};
use crate::cpu::ops::matmul::epilogue::{self, EpilogueFn};
use crate::cpu::ops::{attention, dropout, elements, embed, norm};

impl TrainPass<'_> {
    /// `out = scale * mask * dy`.
    pub(super) fn dropout(&mut self, site: Site, scale: f64, dy: Slot, out: Slot) {
        let mask = self.mask(site);
        self.write(out, |pass, to| {
            dropout::backward(pass.device, pass.rows, pass.input(dy), mask, scale as f32, &to);
        });
    }

    /// `to = (to +) d(norm)/dx · dy`.
    pub(super) fn norm_input(
        &mut self,
        norm: NormRef,
        [x, stats, dy, to]: [Slot; 4],
        residual: Option<Slot>,
    ) {
        assert!(
            residual.is_none_or(|residual| residual == to),
            "a stream's gradient is added in place"
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
    pub(super) fn norm_weight(&mut self, norm: NormRef, [x, stats, dy]: [Slot; 3]) {
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

    /// `to = d(norm)/dx · dy` for the norms of queries and keys.
    pub(super) fn norm_heads_input(&mut self, norm: NormRef, [x, stats, dy, to]: [Slot; 4]) {
        self.write(to, |pass, out| {
            norm::heads::input(
                pass.device,
                pass.rows,
                &pass.qk_groups(),
                pass.parameters.norm(pass.plan, norm, pass.layer),
                [pass.input(x), pass.input(dy)],
                pass.buffers.get(stats, pass.layer),
                &out,
            );
        });
    }

    /// Accumulates the gradients of the parameters of the norms of queries and keys.
    pub(super) fn norm_heads_weight(&mut self, norm: NormRef, [x, stats, dy]: [Slot; 3]) {
        self.write_gradients(|pass, gradients| {
            let start = |id| pass.parameters.extent(id, pass.layer).start;
            norm::heads::weight(
                pass.device,
                pass.rows,
                &pass.qk_groups(),
                [pass.input(x), pass.input(dy)],
                pass.buffers.get(stats, pass.layer),
                [norm.gamma.map(start), norm.beta.map(start)],
                gradients,
                !pass.options.first,
            );
        });
    }

    /// `to += x`.
    pub(super) fn add(&mut self, x: Slot, to: Slot) {
        self.write(to, |pass, out| {
            elements::add(pass.device, pass.rows, pass.input(x), &out);
        });
    }

    /// `to *= x`.
    pub(super) fn multiply(&mut self, x: Slot, to: Slot) {
        self.write(to, |pass, out| {
            elements::multiply(pass.device, pass.rows, pass.input(x), &out);
        });
    }

    /// `to = dy · weight`, the gradient of the input; with `slopes`, times the slopes.
    pub(super) fn linear_input(
        &mut self,
        weight: TensorId,
        dy: Slot,
        slopes: Option<Slot>,
        to: Slot,
    ) {
        // The gradients of the inputs of logits are stored from the first of `logit_rows` on.
        let (first_row, rows) = match dy.buffer == B::Logits {
            true => (self.logit_rows.start, self.logit_rows.len()),
            false => (0, self.rows),
        };
        self.write(to, |pass, out| {
            let matrix = pass.parameters.matrix(weight, pass.layer);
            let run = |epilogue: EpilogueFn<'_>| {
                backward::input(pass.device, pass.input(dy), rows, matrix, epilogue);
            };
            match slopes {
                None => run(&epilogue::store(None, &out, first_row, None)),
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
    pub(super) fn linear_weight(
        &mut self,
        weight: TensorId,
        bias: Option<TensorId>,
        dy: Slot,
        input: Slot,
    ) {
        let of_logits = dy.buffer == B::Logits;
        self.write_gradients(|pass, gradients| {
            // The gradient of a head is the sum over the ranges of rows.
            let (input, rows, add) = match of_logits {
                true => {
                    let add = !pass.options.first || pass.logit_rows.start > 0;
                    (pass.logit_input(input), pass.logit_rows.len(), add)
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

    /// Computes the gradients of q, k and v.
    pub(super) fn attention_input(&mut self, scores: Scores, rotary: Option<u16>) {
        self.write(B::DQkv.here(), |pass, out| {
            pass.take(B::Delta.here(), |pass, delta| {
                let saved = attention::backward::SavedForward {
                    a: pass.input(B::A.here()),
                    da: pass.input(B::DA.here()),
                    lse: pass.buffers.get(B::Lse.here(), pass.layer),
                };
                let (device, heads) = (pass.device, pass.heads(scores));
                let rotary = pass.rotary.of(rotary);
                attention::backward::input(device, &heads, rotary, saved, delta, &out);
            });
        });
    }

    /// `d(table)[token] += scale * dx`, `d(positions)[t] += dx`, `d(types)[0] += dx`.
    pub(super) fn embed_weight(
        &mut self,
        table: TensorId,
        added: [Option<TensorId>; 2],
        scale: f64,
        dx: Slot,
    ) {
        // A tied table already has the head's gradient.
        let own_table = !self.plan.spec.tie_embeddings;
        self.write_gradients(|pass, gradients| {
            let table = pass.parameters.extent(table, 0);
            let added = added.map(|id| id.map(|id| pass.parameters.extent(id, 0)));
            if pass.options.first {
                let cleared =
                    own_table.then_some(table).into_iter().chain(added.into_iter().flatten());
                for extent in cleared {
                    gradients[extent.start..][..extent.len].fill(0.0);
                }
            }
            let [positions, types] = added.map(|extent| extent.map(|extent| extent.start));
            let tables = embed::backward::Tables {
                table: table.start,
                positions,
                types,
                width: pass.buffers.width(dx.buffer),
                scale: scale as f32,
            };
            let tokens = &pass.buffers.tokens[..pass.rows];
            let (dx, length) = (pass.input(dx), pass.tokens);
            embed::backward::weight(pass.device, tokens, length, dx, &tables, gradients);
        });
    }
}
