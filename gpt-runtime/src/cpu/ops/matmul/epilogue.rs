//! Epilogues: the operations on the outputs of a GEMM before they are stored.
//!
//! An epilogue receives a tile: some rows of one panel, with 32 outputs each. It adds the bias and
//! stores the result. Inference and training use the same epilogues. Nearly all panels are whole.
//! For these, copies and additions compile to a few instructions, after one comparison of the
//! length.

use gpt_plan::Formula;

use crate::cpu::ops::RowsOut;
use crate::cpu::ops::dropout::DropoutMask;
use crate::cpu::ops::rotary::Rotary;
use gpt_simd::{Kernels, PANEL, Strided, prefetch};

/// Receives a tile: its first row, its panel, and the outputs of each of its rows.
pub type EpilogueFn<'a> = &'a (dyn Fn(usize, usize, &mut [[f32; PANEL]]) + Sync);

/// Rows of a tile that share one call of the activation, because each call loads its constants.
const ACTIVATED: usize = 16;
/// Rows of a tile whose gates share one call of the activation in inference, which keeps no slopes.
const GATES: usize = 48;
/// The number of gates in a gated panel, and of the values that they gate.
const HALF: usize = PANEL / 2;

/// `out[first_row + row] = outputs + bias`, or `map(outputs + bias)`.
pub fn store<'a>(
    bias: Option<&'a [f32]>,
    out: &'a RowsOut<'_>,
    first_row: usize,
    map: Option<&'a Formula>,
) -> impl Fn(usize, usize, &mut [[f32; PANEL]]) + Sync + 'a {
    move |from, panel, tile| {
        let (first, len) = columns_of(panel, out.width);
        let bias = bias.map(|_| bias_of(bias, first, len));
        for (i, outputs) in tile.iter_mut().enumerate() {
            let row = first_row + from + i;
            out.prefetch(row, first + PANEL);
            if let Some(bias) = &bias {
                add(outputs, bias);
            }
            // SAFETY: the parts of different panels and rows do not overlap.
            let to = unsafe { out.part(row, first, len) };
            put(to, outputs);
            if let Some(map) = map {
                map.apply(to);
            }
        }
    }
}

/// The fused q, k, v projection of `width` outputs: adds the bias, rotates queries and keys by
/// `position(row)`, and hands each row to `sink(row, first, outputs)`, which stores it.
pub fn heads<'a>(
    bias: Option<&'a [f32]>,
    width: usize,
    rotary: &'a Rotary,
    position: impl Fn(usize) -> usize + Sync + 'a,
    sink: impl Fn(usize, usize, &[f32]) + Sync + 'a,
) -> impl Fn(usize, usize, &mut [[f32; PANEL]]) + Sync + 'a {
    move |from, panel, tile| {
        let (first, len) = columns_of(panel, width);
        let bias = bias_of(bias, first, len);
        for (i, outputs) in tile.iter_mut().enumerate() {
            let row = from + i;
            add(outputs, &bias);
            let outputs = &mut outputs[..len];
            rotary.forward(position(row), first, outputs);
            sink(row, first, outputs);
        }
    }
}

/// `out = residual + scale * drop(outputs + bias)`. Without `residual`, the outputs are added to
/// `out`.
pub fn residual<'a>(
    kernels: &'a Kernels,
    bias: Option<&'a [f32]>,
    scale: f32,
    residual: Option<Strided<'a>>,
    mask: Option<DropoutMask>,
    out: &'a RowsOut<'_>,
) -> impl Fn(usize, usize, &mut [[f32; PANEL]]) + Sync + 'a {
    move |from, panel, tile| {
        let (first, len) = columns_of(panel, out.width);
        let bias = bias_of(bias, first, len);
        for (i, outputs) in tile.iter_mut().enumerate() {
            let row = from + i;
            out.prefetch(row, first + PANEL);
            add(outputs, &bias);
            if let Some(mask) = &mask {
                mask.apply(kernels, &mut outputs[..len], row * out.width + first);
            }
            if scale != 1.0 {
                outputs.iter_mut().for_each(|x| *x *= scale);
            }
            // SAFETY: the parts of different panels and rows do not overlap.
            let to = unsafe { out.part(row, first, len) };
            let Some(residual) = residual else {
                add(to, outputs);
                continue;
            };
            let at = row * residual.stride + first;
            prefetch(residual.data.as_ptr(), residual.data.len(), at + PANEL);
            add(&mut outputs[..len], &residual.data[at..]);
            put(to, outputs);
        }
    }
}

/// An activation of values, in place.
pub trait Activate: Sync {
    /// Whether `activate` also writes the derivative.
    const SLOPES: bool;
    /// Applies the activation to `values`, in place. With [`SLOPES`](Self::SLOPES), also writes the
    /// derivative to `slopes`, which has the same length; otherwise `slopes` is empty.
    fn activate(&self, values: &mut [f32], slopes: &mut [f32]);
}

/// The first projection of an MLP: `h = act(u)`; with a gate, `h = act(gate) * up`.
pub struct ActivationEpilogue<'a, A> {
    pub activation: A,
    /// The biases of the outputs; with a gate, the biases of the gates, then those of the ups.
    pub bias: Option<&'a [f32]>,
    pub h: &'a RowsOut<'a>,
    /// The factors of the output gradient in the backward pass, in the order of the panels; present
    /// if the activation has slopes.
    pub slopes: Option<&'a RowsOut<'a>>,
}

impl<A: Activate> ActivationEpilogue<'_, A> {
    /// Applies the epilogue of an MLP without a gate.
    pub fn plain(&self, from: usize, panel: usize, tile: &mut [[f32; PANEL]]) {
        let (first, len) = columns_of(panel, self.h.width);
        let bias = bias_of(self.bias, first, len);
        let chunk = if A::SLOPES { ACTIVATED } else { tile.len() };
        for (block, tile) in tile.chunks_mut(chunk.max(1)).enumerate() {
            tile.iter_mut().for_each(|row| add(row, &bias));
            let from = from + block * chunk;
            let Some(slopes_out) = self.slopes.filter(|_| A::SLOPES) else {
                self.activation.activate(tile.as_flattened_mut(), &mut []);
                for (i, values) in tile.iter().enumerate() {
                    // SAFETY: the parts of different panels and rows do not overlap.
                    put(unsafe { self.h.part(from + i, first, len) }, values);
                }
                continue;
            };
            let mut slopes = [[0.0; PANEL]; ACTIVATED];
            let slopes = &mut slopes[..tile.len()];
            let (values, flat) = (tile.as_flattened_mut(), slopes.as_flattened_mut());
            self.activation.activate(values, flat);
            for (i, (values, slopes)) in tile.iter().zip(slopes).enumerate() {
                self.h.prefetch(from + i, first + PANEL);
                slopes_out.prefetch(from + i, first + PANEL);
                // SAFETY: the parts of different panels and rows do not overlap.
                unsafe {
                    put(self.h.part(from + i, first, len), values);
                    put(slopes_out.part(from + i, first, len), slopes);
                }
            }
        }
    }

    /// Applies the epilogue of a gated MLP.
    pub fn gated(&self, from: usize, panel: usize, tile: &mut [[f32; PANEL]]) {
        let hidden = self.h.width;
        let first = panel * HALF;
        let len = HALF.min(hidden - first);
        let gate_bias = bias_of(self.bias, first, len);
        let up_bias = bias_of(self.bias, hidden + first, len);
        let (gate_bias, up_bias) = (halves(&gate_bias).0, halves(&up_bias).0);
        // The gates of some rows side by side, for one call of the activation.
        let chunk = if A::SLOPES { ACTIVATED } else { GATES };
        let mut gates = [[0.0; HALF]; GATES];
        for (block, tile) in tile.chunks(chunk).enumerate() {
            let gates = &mut gates[..tile.len()];
            for (gates, outputs) in gates.iter_mut().zip(tile) {
                *gates = *halves(outputs).0;
                add(gates, gate_bias);
            }
            let mut slopes = [[0.0; HALF]; ACTIVATED];
            if A::SLOPES {
                let slopes = slopes[..tile.len()].as_flattened_mut();
                self.activation.activate(gates.as_flattened_mut(), slopes);
            } else {
                self.activation.activate(gates.as_flattened_mut(), &mut []);
            }
            for (i, (gates, outputs)) in gates.iter_mut().zip(tile).enumerate() {
                let row = from + block * chunk + i;
                let mut ups = *halves(outputs).1;
                add(&mut ups, up_bias);
                if A::SLOPES {
                    self.keep_slopes(row, panel, &slopes[i], gates, &ups, len);
                }
                multiply(gates, &ups);
                if A::SLOPES {
                    self.h.prefetch(row, first + HALF);
                }
                // SAFETY: the parts of different panels and rows do not overlap.
                put(unsafe { self.h.part(row, first, len) }, gates);
            }
        }
    }

    /// Stores the factors of the output gradient for gates and for ups: `act'(gate) * up` and
    /// `act(gate)`. Those of padding are 0.
    fn keep_slopes(
        &self,
        row: usize,
        panel: usize,
        slopes: &[f32; HALF],
        values: &[f32; HALF],
        ups: &[f32; HALF],
        len: usize,
    ) {
        let Some(out) = self.slopes else { return };
        out.prefetch(row, (panel + 1) * PANEL);
        // SAFETY: the parts of different panels and rows do not overlap.
        let out = unsafe { out.part(row, panel * PANEL, PANEL.min(out.stride)) };
        let (gate_slopes, up_slopes) = out.split_at_mut(HALF);
        for (i, gate) in gate_slopes.iter_mut().enumerate() {
            *gate = if i < len { slopes[i] * ups[i] } else { 0.0 };
        }
        for (i, up) in up_slopes.iter_mut().enumerate() {
            *up = if i < len { values[i] } else { 0.0 };
        }
    }
}

/// The gradient of an MLP's first projection: the gradients of the activation's outputs times the
/// slopes that the projection's epilogue stored. In a gated MLP every 16 elements yield the
/// gradients of 16 gates and, beside them, of 16 ups.
pub fn slopes<'a>(
    hidden: usize,
    gated: bool,
    slopes: &'a [f32],
    out: &'a RowsOut<'_>,
) -> impl Fn(usize, usize, &mut [[f32; PANEL]]) + Sync + 'a {
    let (width, sides, filled) = match gated {
        true => (HALF, 2, hidden.next_multiple_of(HALF)),
        false => (PANEL, 1, hidden),
    };
    move |from, panel, tile| {
        for (i, outputs) in tile.iter().enumerate() {
            let row = from + i;
            for side in 0..sides {
                let next = ((panel + 1) * sides + side) * PANEL;
                out.prefetch(row, next);
                prefetch(slopes.as_ptr(), slopes.len(), row * out.stride + next);
            }
            for (j, dh) in outputs.chunks(width).enumerate() {
                let first = panel * PANEL + j * width;
                let len = width.min(filled.saturating_sub(first));
                for side in 0..sides {
                    let at = first * sides + side * width;
                    // SAFETY: the parts of different panels, rows and sides do not overlap.
                    let to = unsafe { out.part(row, at, len) };
                    put_product(to, dh, &slopes[row * out.stride + at..]);
                }
            }
        }
    }
}

/// The index of a panel's first output and the number of the panel's outputs, if there are `width`
/// outputs in all.
fn columns_of(panel: usize, width: usize) -> (usize, usize) {
    let first = panel * PANEL;
    (first, PANEL.min(width - first))
}

/// Both halves of a gated panel's outputs: gates and ups.
#[inline(always)]
fn halves(outputs: &[f32; PANEL]) -> (&[f32; HALF], &[f32; HALF]) {
    let (halves, _) = outputs.as_chunks();
    (&halves[0], &halves[1])
}

/// A bias for the outputs of a panel; zeros where there is none.
fn bias_of(bias: Option<&[f32]>, first: usize, len: usize) -> [f32; PANEL] {
    let mut padded = [0.0; PANEL];
    if let Some(bias) = bias {
        padded[..len].copy_from_slice(&bias[first..][..len]);
    }
    padded
}

/// `to = from`. `from` has at least as many elements as `to`.
#[inline(always)]
pub fn put(to: &mut [f32], from: &[f32]) {
    map(to, from, |_, x| x);
}

/// `to += from`. `from` has at least as many elements as `to`.
#[inline(always)]
fn add(to: &mut [f32], from: &[f32]) {
    map(to, from, |to, x| to + x);
}

/// `to *= from`. `from` has at least as many elements as `to`.
#[inline(always)]
fn multiply(to: &mut [f32], from: &[f32]) {
    map(to, from, |to, x| to * x);
}

/// `to = from * by`. Both have at least as many elements as `to`.
#[inline(always)]
fn put_product(to: &mut [f32], from: &[f32], by: &[f32]) {
    if let (Ok(to), Some(from), Some(by)) = (
        <&mut [f32; PANEL]>::try_from(&mut *to),
        from.first_chunk::<PANEL>(),
        by.first_chunk::<PANEL>(),
    ) {
        *to = std::array::from_fn(|i| from[i] * by[i]);
    } else {
        for ((to, from), by) in to.iter_mut().zip(from).zip(by) {
            *to = from * by;
        }
    }
}

#[inline(always)]
fn map(to: &mut [f32], from: &[f32], f: impl Fn(f32, f32) -> f32) {
    if let (Ok(to), Some(from)) =
        (<&mut [f32; PANEL]>::try_from(&mut *to), from.first_chunk::<PANEL>())
    {
        *to = std::array::from_fn(|i| f(to[i], from[i]));
    } else {
        for (to, from) in to.iter_mut().zip(from) {
            *to = f(*to, *from);
        }
    }
}
