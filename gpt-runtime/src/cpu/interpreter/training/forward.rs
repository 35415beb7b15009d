//! The ops of the forward pass.

use gpt_plan::{
    BranchSum, BufferId as B, Formula, NormRef, Scores, Site, Slot, Statistics, TensorId,
};
use gpt_simd::PANEL;

use super::{TrainPass, WithSlopes};
use crate::cpu::ops::attention;
use crate::cpu::ops::embed;
use crate::cpu::ops::loss;
use crate::cpu::ops::matmul::epilogue::{self, ActivationEpilogue, EpilogueFn};
use crate::cpu::ops::matmul::forward::project_floats;
use crate::cpu::ops::norm::{self, forward::RowStatistics, forward::Sum};
use crate::cpu::pack::Order;
use crate::cpu::pool::Disjoint;

impl TrainPass<'_> {
    /// Passes `weight · input` to `epilogue`.
    pub(super) fn project(&self, input: Slot, weight: TensorId, epilogue: EpilogueFn<'_>) {
        let matrix = self.parameters.matrix(weight, self.layer);
        let input = self.input(input);
        project_floats(self.device, input, self.rows, &matrix, epilogue);
    }

    pub(super) fn embed(
        &mut self,
        table: TensorId,
        added: [Option<TensorId>; 2],
        scale: f64,
        to: Slot,
    ) {
        let mask = self.mask(Site::Embedding);
        self.write(to, |pass, out| {
            let parameters = &pass.parameters;
            embed::forward::forward(
                pass.device,
                &pass.buffers.tokens[..pass.rows],
                &parameters.matrix(table, 0),
                scale as f32,
                added.map(|id| id.map(|id| parameters.plain(id, 0))),
                |row| row % pass.tokens,
                mask,
                &out,
            );
        });
    }

    /// `to = norm(x)`, or its sum with a residual. Computes and stores the row statistics, or reads
    /// the stored ones.
    pub(super) fn norm(
        &mut self,
        norm: NormRef,
        [x, stats, to]: [Slot; 3],
        sum: Option<BranchSum>,
        statistics: Statistics,
    ) {
        let sum = sum.map(|sum| (sum, self.mask(sum.site)));
        self.take(stats, |pass, stats| {
            pass.write(to, |pass, out| {
                let sum = sum.map(|(sum, mask)| Sum {
                    residual: Some(pass.input(sum.residual)),
                    scale: sum.scale as f32,
                    mask,
                });
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
                    sum,
                    &out,
                );
            });
        });
    }

    /// `qkv = rotated(norm(x))`. Stores the statistics of each group.
    pub(super) fn norm_heads(&mut self, norm: NormRef, [x, stats]: [Slot; 2], rotary: Option<u16>) {
        self.take(stats, |pass, stats| {
            pass.write(B::Qkv.here(), |pass, out| {
                let (width, tokens) = (pass.plan.spec.qkv_width() as usize, pass.tokens);
                norm::heads::forward(
                    pass.device,
                    pass.rows,
                    &pass.qk_groups(),
                    pass.parameters.norm(pass.plan, norm, pass.layer),
                    pass.input(x),
                    width,
                    pass.rotary.of(rotary),
                    |row| row % tokens,
                    Some(&Disjoint::new(stats)),
                    |row, first, values| {
                        // SAFETY: each part of a row is written once.
                        unsafe { out.part(row, first, values.len()) }.copy_from_slice(values);
                    },
                );
            });
        });
    }

    /// `to = weight · input`.
    pub(super) fn store(
        &mut self,
        weight: TensorId,
        bias: Option<TensorId>,
        input: Slot,
        to: Slot,
    ) {
        self.write(to, |pass, out| {
            let epilogue = epilogue::store(pass.bias(bias), &out, 0, None);
            pass.project(input, weight, &epilogue);
        });
    }

    /// `qkv = weight · input`, rotated.
    pub(super) fn qkv(
        &mut self,
        weight: TensorId,
        bias: Option<TensorId>,
        rotary: Option<u16>,
        input: Slot,
    ) {
        self.write(B::Qkv.here(), |pass, out| {
            let (width, tokens) = (pass.plan.spec.qkv_width() as usize, pass.tokens);
            let sink = |row: usize, first: usize, outputs: &[f32]| {
                out.prefetch(row, first + PANEL);
                // SAFETY: the parts of different panels and rows do not overlap.
                epilogue::put(unsafe { out.part(row, first, outputs.len()) }, outputs);
            };
            let position = |row| row % tokens;
            let rotary = pass.rotary.of(rotary);
            let epilogue = epilogue::heads(pass.bias(bias), width, rotary, position, sink);
            pass.project(input, weight, &epilogue);
        });
    }

    /// `out = residual + scale * drop(weight · input)`.
    pub(super) fn residual(
        &mut self,
        weight: TensorId,
        bias: Option<TensorId>,
        [input, residual, to]: [Slot; 3],
        site: Site,
        scale: f64,
    ) {
        let mask = self.mask(site);
        self.write(to, |pass, out| {
            let (kernels, residual) = (pass.device.kernels, Some(pass.input(residual)));
            let (bias, scale) = (pass.bias(bias), scale as f32);
            let epilogue = epilogue::residual(kernels, bias, scale, residual, mask, &out);
            pass.project(input, weight, &epilogue);
        });
    }

    /// `out = act(u)` and its slopes, where `u = weight · input`.
    pub(super) fn activated(
        &mut self,
        weight: TensorId,
        bias: Option<TensorId>,
        [input, out, slopes]: [Slot; 3],
    ) {
        self.write(out, |pass, h| {
            pass.write(slopes, |pass, slopes| {
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

    /// `logits = map(weight · normed)` of `logit_rows`.
    pub(super) fn logits(
        &mut self,
        weight: TensorId,
        bias: Option<TensorId>,
        map: Option<&Formula>,
    ) {
        self.write(B::Logits.here(), |pass, out| {
            let matrix = pass.parameters.matrix(weight, 0);
            let input = pass.logit_input(B::Normed.here());
            let epilogue = epilogue::store(pass.bias(bias), &out, 0, map);
            project_floats(pass.device, input, pass.logit_rows.len(), &matrix, &epilogue);
        });
    }

    /// Computes the losses of `logit_rows` and replaces the logits of these rows by their
    /// gradients.
    pub(super) fn cross_entropy(&mut self, slope: Option<&Formula>) {
        self.write(B::Logits.here(), |pass, logits| {
            pass.take(B::Losses.here(), |pass, losses| {
                let rows = pass.logit_rows.clone();
                let targets = &pass.buffers.targets[rows.clone()];
                let losses = &mut losses[rows];
                loss::cross_entropy(
                    pass.device,
                    targets,
                    pass.options.scale,
                    slope,
                    &logits,
                    losses,
                );
            });
        });
    }

    /// `a = drop(softmax(scores(q, k))) v`. Stores the log-sum-exp of each query's scores.
    pub(super) fn attention(&mut self, scores: Scores) {
        self.write(B::A.here(), |pass, out| {
            pass.take(B::Lse.here(), |pass, lse| {
                attention::forward::forward(pass.device, &pass.heads(scores), &out, lse);
            });
        });
    }
}
