//! Projections: the loop over a packed matrix, and what each step does with the outputs.
//!
//! Outputs come in tiles, some rows of one panel (32 outputs each); the step that asked for them adds its bias and puts them where they belong
//! while they are still in the nearest cache. That is how bias, activation, residual, rotation and the write to
//! the cache cost no pass of their own.

use super::{Activate, Pass};
use crate::cpu::device::CpuDevice;
use crate::cpu::epilogue;
use crate::cpu::gemm::{Finish, Panels, Rows, gemm};
use crate::cpu::kv_cache::{Cache, Cells, Pairs, Shape, each_format, narrow};
use crate::cpu::pack::Packed;
use crate::cpu::parameters::{NormParameters, Projection};
use crate::cpu::pool::Disjoint;
use crate::cpu::simd::{Cell, PANEL};

/// Rows whose gates are activated together.
const GATES: usize = 48;

impl Pass<'_> {
    /// `finish` gets `weight · x` for each of the rows, in tiles, from many threads.
    pub(super) fn linear(&mut self, x: &[f32], rows: usize, weight: &Packed, finish: Finish<'_>) {
        debug_assert_eq!(x.len(), rows * weight.depth);
        self.reads(weight.format);
        let device = self.device;
        let rounding = weight.rounding(device.kernels);
        let input = self.scratch.rounded.round(device, x, rows, rounding);
        if rows == 1 {
            one_row(device, &input, weight, finish)
        } else {
            gemm(device, input, rows, weight, finish);
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
        each_format!(&mut cache.cells, pairs => self.qkv_into(x, norm, qkv, q, &shape, pairs));
        if self.trace.is_some() {
            let values = self.gather_qkv(q, cache);
            self.end_with(|| values);
        } else {
            self.end_with(Vec::new);
        }
    }

    fn qkv_into<E: Cell>(
        &mut self,
        x: &[f32],
        norm: Option<&NormParameters>,
        qkv: &Projection,
        q: &mut [f32],
        shape: &Shape,
        pairs: &mut Pairs<E>,
    ) {
        let rows = self.rows();
        let spec = &self.plan.spec;
        let head_dim = shape.head_dim;
        let (q_width, kv_width) = (spec.q_width() as usize, spec.kv_width() as usize);
        let (position, rotary, kernels) = (self.position, self.rotary, self.device.kernels);
        let (q_out, kv_out) = (Disjoint::new(q), Disjoint::new(pairs.cells_mut()));
        let finish_row = |row: usize, first: usize, outputs: &mut [f32]| {
            let position = position + row;
            rotary.turn(position, first, outputs);
            let mut room = [E::default(); PANEL];
            // Head by head: a panel may hold parts of several.
            let mut at = 0;
            while at < outputs.len() {
                let n = first + at;
                let d = n % head_dim;
                let part = &outputs[at..outputs.len().min(at + head_dim - d)];
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
                            kv_out.part(to + i * PANEL, 1).fill(key);
                        }
                    } else {
                        let to = shape.value_at((n - q_width - kv_width) / head_dim, position) + d;
                        kv_out
                            .part(to, part.len())
                            .copy_from_slice(narrow(kernels, part, &mut room));
                    }
                }
            }
        };
        let finish = |from: usize, panel: usize, tile: &mut [[f32; PANEL]]| {
            let first = panel * PANEL;
            let len = PANEL.min(q_width + 2 * kv_width - first);
            let bias = epilogue::bias_of(qkv.bias.as_deref(), first, len);
            for (i, outputs) in tile.iter_mut().enumerate() {
                epilogue::add(outputs, &bias);
                finish_row(from + i, first, &mut outputs[..len]);
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
        let finish = |from: usize, panel: usize, tile: &mut [[f32; PANEL]]| {
            let width = if gated { PANEL / 2 } else { PANEL };
            let first = panel * width;
            let len = width.min(hidden - first);
            let bias = |first| epilogue::bias_of(up.bias.as_deref(), first, len);
            // SAFETY: panels and rows do not overlap.
            let place = |row: usize| unsafe { out.part((from + row) * hidden + first, len) };
            let bias_of_first = bias(first);
            if !gated {
                tile.iter_mut()
                    .for_each(|row| epilogue::add(row, &bias_of_first));
                activation(tile.as_flattened_mut());
                for (row, outputs) in tile.iter().enumerate() {
                    epilogue::put(place(row), outputs);
                }
                return;
            }
            let (of_gates, _) = halves(&bias_of_first);
            let bias_of_ups = bias(hidden + first);
            let (of_ups, _) = halves(&bias_of_ups);
            // Gates of some rows side by side, as an activation wants them.
            let mut room = [[0.0; PANEL / 2]; GATES];
            for (block, tile) in tile.chunks(GATES).enumerate() {
                let gates = &mut room[..tile.len()];
                for (gates, outputs) in gates.iter_mut().zip(tile) {
                    *gates = *halves(outputs).0;
                    epilogue::add(gates, of_gates);
                }
                activation(gates.as_flattened_mut());
                for (row, (gates, outputs)) in gates.iter_mut().zip(tile).enumerate() {
                    let mut ups = *halves(outputs).1;
                    epilogue::add(&mut ups, of_ups);
                    epilogue::multiply(gates, &ups);
                    epilogue::put(place(block * GATES + row), gates);
                }
            }
        };
        self.reading(&x[..rows * up.weight.depth], rows, norm, |pass, x| {
            pass.linear(x, rows, &up.weight, &finish)
        });
        self.end(h, hidden);
    }

    /// Adds a projection to the stream: to what it holds, or in a post-norm block to what `norm` shows of it.
    pub(in crate::cpu) fn residual_rows(
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
            &|from, panel, tile| {
                let first = panel * PANEL;
                let len = PANEL.min(width - first);
                let bias = epilogue::bias_of(projection.bias.as_deref(), first, len);
                for (i, outputs) in tile.iter_mut().enumerate() {
                    let at = (from + i) * width + first;
                    stream.prefetch(at + PANEL);
                    epilogue::add(outputs, &bias);
                    // SAFETY: panels and rows do not overlap.
                    epilogue::add(unsafe { stream.part(at, len) }, outputs);
                }
            },
        );
        self.end(x, width);
    }
}

/// A row of input is small, the matrix is not: what counts is to read it once, from beginning to end.
fn one_row(device: &CpuDevice, input: &Rows<'_>, weight: &Packed, finish: Finish<'_>) {
    let kernels = device.kernels;
    device.pool.run(weight.panels(), &|index, _| {
        let (panel, mut tile) = (weight.panel(index), [[0.0; PANEL]]);
        let [outputs] = &mut tile;
        match input {
            Rows::Plain(row) => kernels.gemv(weight.format, row.data, panel, outputs),
            Rows::Pairs(row) => kernels.gemv_pairs(row.data, bytemuck::cast_slice(panel), outputs),
            Rows::Integers(row) => kernels.integer_row(weight.format, row, panel, outputs),
        }
        finish(0, index, &mut tile);
    });
}

/// Both halves of a gated panel's outputs: gates, and what they gate.
#[inline(always)]
fn halves(outputs: &[f32; PANEL]) -> (&[f32; PANEL / 2], &[f32; PANEL / 2]) {
    let (halves, _) = outputs.as_chunks();
    (&halves[0], &halves[1])
}
