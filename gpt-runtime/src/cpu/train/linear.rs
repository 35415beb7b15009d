//! Projections, forward and back: three products for each, of rows with a matrix, of rows with the matrix turned over, and of rows with rows.

use gpt_plan::{BufferId as B, Site, Slot, TensorId};

use super::Pass;
use crate::cpu::epilogue;
use crate::cpu::gemm::{Rows, ThreadScratch, gemm};
use crate::cpu::pack::Order;
use crate::cpu::pool::Disjoint;
use crate::cpu::simd::{Bf16Pair, Kernels, PANEL, Strided, StridedMut, prefetch};

/// Rows that a gradient of weights takes before it turns to the next panel: gradients are read and written once for so many.
const ROWS: usize = 256;
/// Columns of a matrix that one task makes the gradient of: with [`ROWS`] of them, inputs stay in the second-level cache while panels of
/// outputs pass by. In pairs they take half as much, and panels are made pairs for each task once more.
const COLUMNS: usize = 256;
const PAIRED_COLUMNS: usize = 384;
/// Floats that the operands of such a task take when they are rounded: inputs, plain or in pairs, and a panel of outputs' gradients.
pub const ROUNDED: usize = ROWS * (COLUMNS + PANEL);
/// Rows of a product: with them a panel of outputs' gradients stays in the first-level cache. In pairs it does with all of [`ROWS`].
const NEAR: usize = 128;

/// Rows of a tile that are activated together.
const ACTIVATED: usize = 16;

/// Rows that a gradient of weights is made of, as its products read them: `depth` rows of `columns` inputs.
enum Operand<'a> {
    /// As they are, or rounded to bf16: then the other operand has to be.
    Plain {
        x: Strided<'a>,
        shape: [usize; 2],
        rounds: bool,
    },
    /// Rounded to bf16, two rows a pair.
    Pairs(&'a [Bf16Pair], [usize; 2]),
}

impl<'a> Operand<'a> {
    fn of(
        kernels: &Kernels,
        x: Strided<'a>,
        [depth, columns]: [usize; 2],
        rounds: bool,
        room: &'a mut [f32],
    ) -> Self {
        if rounds && kernels.has_pairs() {
            let pairs: &mut [Bf16Pair] = bytemuck::cast_slice_mut(room);
            kernels.pair_rows(x, [depth, columns], pairs);
            return Operand::Pairs(pairs, [depth, columns]);
        }
        let mut x = x;
        if rounds {
            kernels.copy_rows(x, [depth, columns], true, room);
            x = Strided {
                data: room,
                stride: columns,
            };
        }
        Operand::Plain {
            x,
            shape: [depth, columns],
            rounds,
        }
    }

    /// `out (+)= xᵀ · dy`, `dy` being as many rows of a panel.
    fn product(
        &self,
        kernels: &Kernels,
        dy: Strided<'a>,
        room: &mut [f32],
        out: &mut [f32],
        add: bool,
    ) {
        // Rows that lie apart are on as many pages, more than the first-level TLB knows; side by side they are read for each column.
        match *self {
            Operand::Plain {
                x,
                shape: [depth, columns],
                rounds,
            } => {
                for start in (0..depth).step_by(NEAR) {
                    let depth = NEAR.min(depth - start);
                    let part = |of: Strided<'a>| Strided {
                        data: &of.data[start * of.stride..],
                        ..of
                    };
                    kernels.copy_rows(part(dy), [depth, PANEL], rounds, room);
                    let dy = Strided {
                        data: &*room,
                        stride: PANEL,
                    };
                    let output = StridedMut {
                        data: &mut *out,
                        stride: PANEL,
                    };
                    let add = add || start > 0;
                    kernels.product_of_columns(columns, depth, part(x), dy, output, add);
                }
            }
            Operand::Pairs(x, [depth, columns]) => {
                let pairs: &mut [Bf16Pair] = bytemuck::cast_slice_mut(room);
                kernels.pair_rows(dy, [depth, PANEL], pairs);
                let (x, dy) = (
                    Strided {
                        data: x,
                        stride: columns,
                    },
                    Strided {
                        data: &*pairs,
                        stride: PANEL,
                    },
                );
                let output = StridedMut {
                    data: out,
                    stride: PANEL,
                };
                kernels.product_of_columns(columns, depth.div_ceil(2), x, dy, output, add);
            }
        }
    }
}

impl Pass<'_> {
    fn bias(&self, bias: Option<TensorId>) -> Option<&[f32]> {
        bias.map(|id| self.parameters.plain(id, self.layer))
    }

    /// The rows of a buffer that a projection reads: all, or those of the chunk.
    fn input(&self, slot: Slot, of_chunk: bool) -> Strided<'_> {
        let stride = self.buffers.stride(slot.buffer);
        let first = if of_chunk { self.chunk.start } else { 0 };
        Strided {
            data: &self.buffers.get(slot, self.layer)[first * stride..],
            stride,
        }
    }

    /// `qkv = weight · input`, rotated.
    pub(super) fn qkv(&mut self, weight: TensorId, bias: Option<TensorId>, input: Slot) {
        let mut out = self.buffers.take(B::Qkv.here(), self.layer);
        let spec = &self.plan.spec;
        let width = spec.qkv_width() as usize;
        let (stride, tokens, rotary) = (self.buffers.stride(B::Qkv), self.tokens, self.rotary);
        let (bias, qkv) = (self.bias(bias), Disjoint::new(&mut out));
        let matrix = self.parameters.matrix(weight, self.layer);
        gemm(
            self.device,
            Rows::Plain(self.input(input, false)),
            self.rows,
            &matrix,
            &|from, panel, tile| {
                let first = panel * PANEL;
                let len = PANEL.min(width - first);
                let bias = epilogue::bias_of(bias, first, len);
                for (i, outputs) in tile.iter_mut().enumerate() {
                    let row = from + i;
                    epilogue::add(outputs, &bias);
                    rotary.turn(row % tokens, first, &mut outputs[..len]);
                    qkv.prefetch(row * stride + first + PANEL);
                    // SAFETY: panels and rows do not overlap.
                    epilogue::put(unsafe { qkv.part(row * stride + first, len) }, outputs);
                }
            },
        );
        self.buffers.put(B::Qkv.here(), self.layer, out);
    }

    /// `out = residual + drop(weight · input)`.
    pub(super) fn residual(
        &mut self,
        weight: TensorId,
        bias: Option<TensorId>,
        [input, residual, to]: [Slot; 3],
        site: Site,
    ) {
        let mut out = self.buffers.take(to, self.layer);
        let width = self.buffers.width(to.buffer);
        let stride = self.buffers.stride(to.buffer);
        let (kernels, dropout) = (self.device.kernels, self.dropout(site));
        let (bias, stream) = (self.bias(bias), Disjoint::new(&mut out));
        let residual = self.input(residual, false);
        let matrix = self.parameters.matrix(weight, self.layer);
        gemm(
            self.device,
            Rows::Plain(self.input(input, false)),
            self.rows,
            &matrix,
            &|from, panel, tile| {
                let first = panel * PANEL;
                let len = PANEL.min(width - first);
                let bias = epilogue::bias_of(bias, first, len);
                for (i, outputs) in tile.iter_mut().enumerate() {
                    let row = from + i;
                    epilogue::add(outputs, &bias);
                    if let Some((dropout, key)) = &dropout {
                        let outputs = &mut outputs[..len];
                        kernels.drop_row(outputs, (row * width + first) as u32, *key, dropout);
                    }
                    let at = row * stride + first;
                    stream.prefetch(at + PANEL);
                    prefetch(residual.data.as_ptr(), residual.data.len(), at + PANEL);
                    // SAFETY: panels and rows do not overlap.
                    let out = unsafe { stream.part(at, len) };
                    epilogue::add(
                        &mut outputs[..len],
                        &residual.data[row * residual.stride + first..],
                    );
                    epilogue::put(out, outputs);
                }
            },
        );
        self.buffers.put(to, self.layer, out);
    }

    /// `h = act(u)` and its slopes, `u = weight · input`.
    pub(super) fn mlp_up(&mut self, weight: TensorId, bias: Option<TensorId>, input: Slot) {
        let mut h_out = self.buffers.take(B::H.here(), self.layer);
        let mut slopes_out = self.buffers.take(B::Slopes.here(), self.layer);
        let hidden = self.buffers.width(B::H);
        let (h_stride, stride) = (self.buffers.stride(B::H), self.buffers.stride(B::Slopes));
        let bias = self.bias(bias);
        let (h, slopes) = (Disjoint::new(&mut h_out), Disjoint::new(&mut slopes_out));
        let matrix = self.parameters.matrix(weight, self.layer);
        let gated = matrix.place.order == Order::Gated;
        let wide = if gated { PANEL / 2 } else { PANEL };
        gemm(
            self.device,
            Rows::Plain(self.input(input, false)),
            self.rows,
            &matrix,
            &|from, panel, tile| {
                let first = panel * wide;
                let len = wide.min(hidden - first);
                let of_values = epilogue::bias_of(bias, first, len);
                let of_ups = epilogue::bias_of(bias.filter(|_| gated), hidden + first, len);
                if !gated {
                    // Many values at once, as the activation's constants are loaded in each call.
                    let mut room = [[0.0; PANEL]; ACTIVATED];
                    for (block, tile) in tile.chunks_mut(ACTIVATED).enumerate() {
                        let room = &mut room[..tile.len()];
                        tile.iter_mut()
                            .for_each(|row| epilogue::add(row, &of_values));
                        self.activate(tile.as_flattened_mut(), room.as_flattened_mut());
                        for (i, (values, slope)) in tile.iter().zip(room).enumerate() {
                            let row = from + block * ACTIVATED + i;
                            h.prefetch(row * h_stride + first + PANEL);
                            slopes.prefetch(row * stride + first + PANEL);
                            // SAFETY: panels and rows do not overlap.
                            unsafe {
                                epilogue::put(h.part(row * h_stride + first, len), values);
                                epilogue::put(slopes.part(row * stride + first, len), slope);
                            }
                        }
                    }
                    return;
                }
                for (i, outputs) in tile.iter_mut().enumerate() {
                    let row = from + i;
                    h.prefetch(row * h_stride + first + wide);
                    slopes.prefetch(row * stride + (panel + 1) * PANEL);
                    // SAFETY: panels and rows do not overlap.
                    let (h, slopes) = unsafe {
                        (
                            h.part(row * h_stride + first, len),
                            slopes.part(row * stride + panel * PANEL, PANEL.min(stride)),
                        )
                    };
                    let (values, ups) = outputs.split_at_mut(wide);
                    let values = &mut values[..len];
                    epilogue::add(values, &of_values);
                    self.activate(values, &mut slopes[..len]);
                    if len < wide {
                        // What only fills up a panel has no slope.
                        slopes[len..wide].fill(0.0);
                        slopes[wide + len..].fill(0.0);
                    }
                    let ups = &mut ups[..len];
                    epilogue::add(ups, &of_ups);
                    let (gates, passes) = slopes.split_at_mut(wide);
                    passes[..len].copy_from_slice(values);
                    epilogue::multiply(gates, ups);
                    epilogue::multiply(values, ups);
                    epilogue::put(h, values);
                }
            },
        );
        self.buffers.put(B::H.here(), self.layer, h_out);
        self.buffers.put(B::Slopes.here(), self.layer, slopes_out);
    }

    /// `logits = weight · n`, of the chunk's rows.
    pub(super) fn logits(&mut self, weight: TensorId) {
        let mut out = self.buffers.take(B::Logits.here(), 0);
        let (width, stride) = (
            self.buffers.width(B::Logits),
            self.buffers.stride(B::Logits),
        );
        let logits = Disjoint::new(&mut out);
        let matrix = self.parameters.matrix(weight, 0);
        gemm(
            self.device,
            Rows::Plain(self.input(B::Normed.here(), true)),
            self.chunk.len(),
            &matrix,
            &|from, panel, tile| {
                let first = panel * PANEL;
                let len = PANEL.min(width - first);
                for (i, outputs) in tile.iter().enumerate() {
                    // SAFETY: panels and rows do not overlap.
                    epilogue::put(
                        unsafe { logits.part((from + i) * stride + first, len) },
                        outputs,
                    );
                }
            },
        );
        self.buffers.put(B::Logits.here(), 0, out);
    }

    /// `d(input) = dy · weight`.
    pub(super) fn linear_input(
        &mut self,
        weight: TensorId,
        dy: Slot,
        slopes: Option<Slot>,
        to: Slot,
    ) {
        let mut buffer = self.buffers.take(to, self.layer);
        let stride = self.buffers.stride(to.buffer);
        let of_chunk = dy.buffer == B::Logits;
        // A chunk's gradients go where its rows are.
        let (first_row, rows) = match of_chunk {
            true => (self.chunk.start, self.chunk.len()),
            false => (0, self.rows),
        };
        let out = Disjoint::new(&mut buffer);
        let matrix = self.parameters.turned(weight, self.layer);
        let dy = Strided {
            data: self.buffers.get(dy, self.layer),
            stride: self.buffers.stride(dy.buffer),
        };
        match slopes {
            None => {
                let width = self.buffers.width(to.buffer);
                gemm(
                    self.device,
                    Rows::Plain(dy),
                    rows,
                    &matrix,
                    &|from, panel, tile| {
                        let first = panel * PANEL;
                        let len = PANEL.min(width - first);
                        for (i, outputs) in tile.iter().enumerate() {
                            let start = (first_row + from + i) * stride + first;
                            out.prefetch(start + PANEL);
                            // SAFETY: panels and rows do not overlap.
                            epilogue::put(unsafe { out.part(start, len) }, outputs);
                        }
                    },
                );
            }
            Some(slopes) => {
                let hidden = self.buffers.width(B::H);
                let slopes = self.buffers.get(slopes, self.layer);
                // In a gated MLP 16 elements pass to gates, and to what they gate beside them.
                let (wide, sides, filled) = match self.plan.spec.mlp.gated {
                    true => (PANEL / 2, 2, hidden.next_multiple_of(PANEL / 2)),
                    false => (PANEL, 1, hidden),
                };
                gemm(
                    self.device,
                    Rows::Plain(dy),
                    rows,
                    &matrix,
                    &|from, panel, tile| {
                        for (i, outputs) in tile.iter().enumerate() {
                            for side in 0..sides {
                                let next =
                                    (from + i) * stride + ((panel + 1) * sides + side) * PANEL;
                                out.prefetch(next);
                                prefetch(slopes.as_ptr(), slopes.len(), next);
                            }
                            for (j, dh) in outputs.chunks(wide).enumerate() {
                                let first = panel * PANEL + j * wide;
                                let len = wide.min(filled.saturating_sub(first));
                                for side in 0..sides {
                                    let at = first * sides + side * wide;
                                    let start = (from + i) * stride + at;
                                    // SAFETY: panels and rows do not overlap, nor do the places of their pieces.
                                    let out = unsafe { out.part(start, len) };
                                    epilogue::put_product(out, dh, &slopes[start..]);
                                }
                            }
                        }
                    },
                );
            }
        }
        self.buffers.put(to, self.layer, buffer);
    }

    /// `d(weight) += dyᵀ · input`, `d(bias) += Σ dy`.
    pub(super) fn linear_weight(
        &mut self,
        weight: TensorId,
        bias: Option<TensorId>,
        dy: Slot,
        input: Slot,
    ) {
        let of_chunk = dy.buffer == B::Logits;
        let rows = if of_chunk {
            self.chunk.len()
        } else {
            self.rows
        };
        let adds = if of_chunk {
            self.adds()
        } else {
            !self.how.first
        };
        let place = self.parameters.place(weight, self.layer);
        let bias = bias.map(|bias| self.parameters.place(bias, self.layer));
        let mut gradients = std::mem::take(&mut self.parameters.gradients);
        let out = Disjoint::new(&mut gradients);
        let dy = Strided {
            data: self.buffers.get(dy, self.layer),
            stride: self.buffers.stride(dy.buffer),
        };
        let input = self.input(input, of_chunk);
        let kernels = self.device.kernels;
        let rounds = self.parameters.rounds;
        let most = match rounds && kernels.has_pairs() {
            true => PAIRED_COLUMNS,
            false => COLUMNS,
        };
        let parts = place.columns.div_ceil(most);
        let share = place.columns.div_ceil(parts);
        let groups = (2 * self.device.pool.threads()).div_ceil(parts);
        let group = place.panels().div_ceil(groups);
        let groups = place.panels().div_ceil(group);
        let thread_scratch = &self.device.thread_scratch;
        self.device.pool.run(groups * parts, &|task, thread| {
            let (part, from) = (task % parts, task % parts * share);
            let columns = share.min(place.columns - from);
            let panels = task / parts * group..((task / parts + 1) * group).min(place.panels());
            let mut desk = ThreadScratch::of(thread_scratch, thread);
            let (x_room, dy_room) = desk.rounded.split_at_mut(ROUNDED - ROWS * PANEL);
            for row in (0..rows).step_by(ROWS) {
                let depth = ROWS.min(rows - row);
                let x = Strided {
                    data: &input.data[row * input.stride + from..],
                    stride: input.stride,
                };
                let x = Operand::of(kernels, x, [depth, columns], rounds, x_room);
                for panel in panels.clone() {
                    let start = place.start + (panel * place.columns + from) * PANEL;
                    let rows = Strided {
                        data: &dy.data[row * dy.stride + panel * PANEL..],
                        stride: dy.stride,
                    };
                    // SAFETY: tasks have panels and columns of their own.
                    let out = unsafe { out.part(start, columns * PANEL) };
                    x.product(kernels, rows, dy_room, out, adds || row > 0);
                }
            }
            let (Some(bias), 0) = (bias, part) else {
                return;
            };
            for panel in panels {
                let mut sums = [0.0; PANEL];
                kernels.row_sums(&dy.data[panel * PANEL..], rows, dy.stride, &mut sums);
                for (lane, sum) in sums.into_iter().enumerate() {
                    if let Some(row) = place.row_of(panel, lane) {
                        // SAFETY: each row is one lane of one panel.
                        let out = unsafe { out.part(bias.start + row, 1) };
                        out[0] = if adds { out[0] + sum } else { sum };
                    }
                }
            }
        });
        self.parameters.gradients = gradients;
    }
}
