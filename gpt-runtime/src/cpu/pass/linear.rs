//! Projections: the loop over a packed matrix, and what each step does with the outputs.
//!
//! Outputs come in pieces of one row and one panel (32 outputs); the step that asked for them adds its bias and puts them where they belong
//! while they are still in a register's reach. That is how bias, activation, residual, rotation and the write to
//! the cache cost no pass of their own.

use gpt_plan::Op;

use super::{Activate, Pass, bias_of};
use crate::cpu::cache::{Cache, Cells, Shape, Sides, each_format, narrow};
use crate::cpu::device::CpuDevice;
use crate::cpu::multiply::{Panels, Rows, multiply};
use crate::cpu::pack::Packed;
use crate::cpu::parameters::{NormParameters, Projection};
use crate::cpu::pool::Disjoint;
use crate::cpu::simd::{Cell, PANEL};

/// Receives a row's 32 outputs of a panel: `(row, panel, outputs)`.
type Finish<'a> = &'a (dyn Fn(usize, usize, &mut [f32; PANEL]) + Sync);

impl Pass<'_> {
    /// `finish` gets `weight · x` for each of the rows, in pieces, from many threads.
    pub(super) fn linear(&mut self, x: &[f32], rows: usize, weight: &Packed, finish: Finish<'_>) {
        debug_assert_eq!(x.len(), rows * weight.depth);
        self.reads(weight.format);
        let each = |from: usize, panel: usize, tile: &mut [[f32; PANEL]]| {
            for (i, outputs) in tile.iter_mut().enumerate() {
                finish(from + i, panel, outputs);
            }
        };
        let device = self.device;
        let rounding = weight.rounding(device.kernels);
        let input = self.scratch.rounded.round(device, x, rows, rounding);
        if rows == 1 {
            one_row(device, &input, weight, finish)
        } else {
            multiply(device, input, rows, weight, &each);
        }
    }

    /// `q, k, v = qkv · norm(x)`; q and k are turned, k and v go to the cache.
    pub(in crate::cpu) fn qkv_rows(
        &mut self,
        x: &[f32],
        norm: Option<&NormParameters>,
        qkv: &Projection,
        q: &mut Vec<f32>,
        cache: &mut Cache,
    ) {
        self.begin(Some(q));
        let shape = cache.shape;
        each_format!(&mut cache.cells, sides => self.qkv_into(x, norm, qkv, q, &shape, sides));
        let is = |op: &Op| matches!(op, Op::Qkv { .. });
        if self.trace.is_some() {
            let values = self.gather_qkv(q, cache);
            self.end_with(is, || values);
        } else {
            self.end_with(is, Vec::new);
        }
    }

    fn qkv_into<E: Cell>(
        &mut self,
        x: &[f32],
        norm: Option<&NormParameters>,
        qkv: &Projection,
        q: &mut [f32],
        shape: &Shape,
        sides: &mut Sides<E>,
    ) {
        let rows = self.rows();
        let spec = &self.plan.spec;
        let head_dim = shape.head_dim;
        let (q_width, kv_width) = (spec.q_width() as usize, spec.kv_width() as usize);
        let (position, rotary, kernels) = (self.position, self.rotary, self.device.kernels);
        let (keys, values) = sides.both();
        let (q_out, k_out, v_out) = (Disjoint::new(q), Disjoint::new(keys), Disjoint::new(values));
        let finish = |row: usize, panel: usize, outputs: &mut [f32; PANEL]| {
            let first = panel * PANEL;
            let len = PANEL.min(q_width + 2 * kv_width - first);
            let outputs = &mut outputs[..len];
            if let Some(bias) = bias_of(qkv, first, len) {
                add(outputs, bias);
            }
            let position = position + row;
            rotary.turn(position, first, outputs);
            let mut room = [E::default(); PANEL];
            // Head by head: a panel may hold parts of several.
            let mut at = 0;
            while at < len {
                let n = first + at;
                let d = n % head_dim;
                let part = &outputs[at..len.min(at + head_dim - d)];
                at += part.len();
                // SAFETY: every output of every row has a place of its own.
                unsafe {
                    if n < q_width {
                        q_out
                            .part(row * q_width + n, part.len())
                            .copy_from_slice(part);
                    } else if n < q_width + kv_width {
                        let to = shape.key_at((n - q_width) / head_dim, position, d);
                        for (i, &key) in narrow(kernels, part, &mut room).iter().enumerate() {
                            k_out.part(to + i * PANEL, 1).fill(key);
                        }
                    } else {
                        let to = shape.value_at((n - q_width - kv_width) / head_dim, position) + d;
                        v_out
                            .part(to, part.len())
                            .copy_from_slice(narrow(kernels, part, &mut room));
                    }
                }
            }
        };
        self.reading(&x[..rows * qkv.weight.depth], rows, norm, |pass, x| {
            pass.linear(x, rows, &qkv.weight, &finish)
        });
    }

    /// `h = act(up · norm(x))`, or with a gate `act(gate · norm(x)) * (up · norm(x))`.
    pub(in crate::cpu) fn mlp_up_rows(
        &mut self,
        x: &[f32],
        norm: Option<&NormParameters>,
        up: &Projection,
        activation: Activate<'_>,
        h: &mut Vec<f32>,
    ) {
        self.begin(Some(h));
        let rows = self.rows();
        let mlp = &self.plan.spec.mlp;
        let (hidden, gated) = (mlp.hidden as usize, mlp.gated);
        let out = Disjoint::new(h);
        let finish = |row: usize, panel: usize, outputs: &mut [f32; PANEL]| {
            let width = if gated { PANEL / 2 } else { PANEL };
            let first = panel * width;
            let len = width.min(hidden - first);
            let (head, tail) = outputs.split_at_mut(width);
            if let Some(bias) = bias_of(up, first, len) {
                add(head, bias);
            }
            activation(&mut head[..len]);
            if gated {
                if let Some(bias) = bias_of(up, hidden + first, len) {
                    add(tail, bias);
                }
                for (gate, up) in head.iter_mut().zip(tail) {
                    *gate *= *up;
                }
            }
            // SAFETY: panels and rows do not overlap.
            unsafe { out.part(row * hidden + first, len) }.copy_from_slice(&head[..len]);
        };
        self.reading(&x[..rows * up.weight.depth], rows, norm, |pass, x| {
            pass.linear(x, rows, &up.weight, &finish)
        });
        self.end(|op| matches!(op, Op::MlpUp { .. }), h, hidden);
    }

    /// `x = residual + out · a`.
    pub(in crate::cpu) fn attention_out_rows(
        &mut self,
        a: &[f32],
        out: &Projection,
        norm: Option<&NormParameters>,
        x: &mut [f32],
    ) {
        self.residual(a, out, norm, x);
        self.end(
            |op| matches!(op, Op::AttentionOut { .. }),
            x,
            out.weight.rows,
        );
    }

    /// `x = residual + down · h`.
    pub(in crate::cpu) fn mlp_down_rows(
        &mut self,
        h: &[f32],
        down: &Projection,
        norm: Option<&NormParameters>,
        x: &mut [f32],
    ) {
        self.residual(h, down, norm, x);
        self.end(|op| matches!(op, Op::MlpDown { .. }), x, down.weight.rows);
    }

    /// Adds a projection to the stream: to what it holds, or in a post-norm block to what `norm` shows of it.
    fn residual(
        &mut self,
        input: &[f32],
        projection: &Projection,
        norm: Option<&NormParameters>,
        x: &mut [f32],
    ) {
        self.begin(None);
        let rows = self.rows();
        let width = projection.weight.rows;
        let x = &mut x[..rows * width];
        if let Some(norm) = norm {
            let mut normed = std::mem::take(&mut self.scratch.normed);
            self.normalise(x, rows, norm, &mut normed);
            x.copy_from_slice(&normed[..x.len()]);
            self.scratch.normed = normed;
        }
        let stream = Disjoint::new(x);
        self.linear(
            &input[..rows * projection.weight.depth],
            rows,
            &projection.weight,
            &|row, panel, outputs| {
                let first = panel * PANEL;
                let len = PANEL.min(width - first);
                if let Some(bias) = bias_of(projection, first, len) {
                    add(&mut outputs[..len], bias);
                }
                // SAFETY: panels and rows do not overlap.
                add(
                    unsafe { stream.part(row * width + first, len) },
                    &outputs[..len],
                );
            },
        );
    }
}

/// A row of input is small, the matrix is not: what counts is to read it once, from beginning to end.
fn one_row(device: &CpuDevice, input: &Rows<'_>, weight: &Packed, finish: Finish<'_>) {
    let kernels = device.kernels;
    weight.share_out(device, &|index| {
        let (panel, mut outputs) = (weight.panel(index), [0.0; PANEL]);
        match input {
            Rows::Plain(row) => kernels.gemv(weight.format, row.data, panel, &mut outputs),
            Rows::Pairs(row) => {
                kernels.gemv_pairs(row.data, bytemuck::cast_slice(panel), &mut outputs)
            }
            Rows::Integers(row) => {
                kernels.integer_row(weight.format, row, panel, &mut outputs);
            }
        }
        finish(0, index, &mut outputs);
    });
}

fn add(to: &mut [f32], what: &[f32]) {
    for (to, what) in to.iter_mut().zip(what) {
        *to += what;
    }
}
