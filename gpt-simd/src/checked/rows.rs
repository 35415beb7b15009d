//! Operations on rows: norms, softmax, activations, training, and measurements.

use gpt_plan::{Activation, Dropout, Norm, NormKind};

use super::{Strided, extent, size};
use crate::learn::AdamStep;
use crate::peak::SUMS;
use crate::rows::Running;
use crate::vector::PANEL;
use crate::{Kernels, Rounding};

/// Kernels that replace each element of a row.
macro_rules! in_place {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        impl Kernels {$(
            $(#[$doc])*
            pub fn $name(&self, row: &mut [f32]) {
                // SAFETY: the kernel takes a slice and indexes it itself.
                unsafe { (self.$name)(row) }
            }
        )*}
    };
}

in_place! {
    /// Rounds each element to the nearest bf16, ties to even.
    round,
    /// The exact GELU of each element.
    gelu,
    /// GELU's tanh approximation of each element.
    gelu_tanh,
    /// `max(x, 0)` of each element.
    relu,
    /// `x / (1 + e^-x)` of each element.
    silu,
}

impl Kernels {
    /// The number that the norm subtracts from a row, and the one by which it multiplies: mean and
    /// 1 / deviation, or 0 and 1 / root mean square for RMSNorm.
    #[inline]
    pub fn statistics(&self, norm: Norm, x: &[f32]) -> [f32; 2] {
        // SAFETY: the kernels take slices and index them themselves.
        unsafe {
            match norm.kind {
                NormKind::Layer => (self.layer_statistics)(x, norm.eps as f32),
                NormKind::Rms => (self.rms_statistics)(x, norm.eps as f32),
            }
        }
    }

    /// Normalises a row with these [`statistics`](Self::statistics); `beta` may be empty.
    #[inline]
    pub fn normalise(
        &self,
        x: &[f32],
        statistics: [f32; 2],
        gamma: &[f32],
        beta: &[f32],
        out: &mut [f32],
    ) {
        assert!(gamma.len() == x.len() && out.len() == x.len(), "lengths of a norm");
        assert!(beta.is_empty() || beta.len() == x.len(), "length of beta");
        // SAFETY: the kernel takes slices and indexes them itself.
        unsafe { (self.normalise)(x, statistics, gamma, beta, out) }
    }

    /// Replaces the first `seen` of `scores` (`1 <= seen <= scores.len()`) by
    /// `e^(scale * score - maximum)` and the rest by zero. Returns the factor by which sums under
    /// the old maximum have to be multiplied.
    #[inline]
    pub fn softmax_block(
        &self,
        scores: &mut [f32],
        seen: usize,
        scale: f32,
        state: &mut Running,
    ) -> f32 {
        assert!(0 < seen && seen <= scores.len(), "scores of a softmax");
        // SAFETY: whole vectors are only taken below `seen`.
        unsafe { (self.softmax_block)(scores, seen, scale, state) }
    }

    /// `cap * tanh(scale * x / cap)` of each element.
    #[inline]
    pub fn softcap(&self, row: &mut [f32], scale: f32, cap: f32) {
        // SAFETY: the kernel takes a slice and indexes it itself.
        unsafe { (self.softcap)(row, scale, cap) }
    }

    /// `row *= factor`.
    #[inline]
    pub fn scale(&self, row: &mut [f32], factor: f32) {
        // SAFETY: the kernel takes a slice and indexes it itself.
        unsafe { (self.scale)(row, factor) }
    }

    /// Replaces `values` by their activations, and `slopes` by the derivatives at the same values.
    ///
    /// # Panics
    /// Panics for [`Activation::Custom`], which has no kernel.
    #[inline]
    pub fn with_slopes(&self, activation: &Activation, values: &mut [f32], slopes: &mut [f32]) {
        assert_eq!(values.len(), slopes.len(), "lengths of values and slopes");
        let kernel = match activation {
            Activation::Gelu => self.gelu_slopes,
            Activation::GeluTanh => self.gelu_tanh_slopes,
            Activation::Relu => self.relu_slopes,
            Activation::Silu => self.silu_slopes,
            Activation::Custom { .. } => panic!("a custom activation has no kernel"),
        };
        // SAFETY: the lengths are equal.
        unsafe { kernel(values, slopes) }
    }

    /// Computes the gradient of a norm's input for one row, or adds it to `out` if `add` is true.
    /// Mean and scale come from the forward pass.
    #[allow(clippy::too_many_arguments)]
    #[inline]
    pub fn norm_backward(
        &self,
        norm: Norm,
        x: &[f32],
        dy: &[f32],
        gamma: &[f32],
        [mean, scale]: [f32; 2],
        out: &mut [f32],
        add: bool,
    ) {
        let n = x.len();
        assert!(
            dy.len() == n && gamma.len() == n && out.len() == n,
            "lengths of a norm's gradient"
        );
        let centred = match norm.kind {
            NormKind::Layer => 1.0,
            NormKind::Rms => 0.0,
        };
        // SAFETY: the lengths are equal.
        unsafe { (self.norm_backward)(x, dy, gamma, [mean, scale, centred], out, add) }
    }

    /// Adds `Σ dy x'` to `gamma` and `Σ dy` to `beta`, where `x'` is the normalised `x`. Rows are
    /// `stride` apart and 32 wide.
    #[inline]
    pub fn norm_sums(
        &self,
        x: &[f32],
        dy: &[f32],
        stride: usize,
        stats: &[f32],
        gamma: &mut [f32; PANEL],
        beta: &mut [f32; PANEL],
    ) {
        let rows = stats.len() / 2;
        assert!(extent(rows, PANEL, stride) <= x.len().min(dy.len()), "rows of a norm's sums");
        // SAFETY: the kernel indexes its slices.
        unsafe { (self.norm_sums)(x, dy, stride, stats, gamma, beta) }
    }

    /// Adds `rows` rows, `stride` apart and 32 wide, to `sums`.
    #[inline]
    pub fn row_sums(&self, x: &[f32], rows: usize, stride: usize, sums: &mut [f32; PANEL]) {
        assert!(extent(rows, PANEL, stride) <= x.len(), "rows to sum");
        // SAFETY: the kernel indexes its slices.
        unsafe { (self.row_sums)(x, rows, stride, sums) }
    }

    /// `out[j * out_stride + i] = from[i * stride + j]` for `rows` (at most 32) rows and `columns`
    /// (a multiple of 8). Each row of the output is padded with zeros to 32 elements.
    #[inline]
    pub fn transpose(
        &self,
        from: &[f32],
        stride: usize,
        [rows, columns]: [usize; 2],
        out: &mut [f32],
        out_stride: usize,
    ) {
        assert!(rows <= PANEL && extent(rows, columns, stride) <= from.len(), "block to transpose");
        assert!(
            columns.is_multiple_of(8) && extent(columns, PANEL, out_stride) <= out.len(),
            "output of a transposed block"
        );
        // SAFETY: both ends are within the slices.
        unsafe { (self.transpose)(from, stride, [rows, columns], out, out_stride) }
    }

    /// Copies `rows` rows of `width`, without gaps, to `out`. With `rounds`, they are rounded to
    /// bf16.
    #[inline]
    pub fn copy_rows(
        &self,
        from: Strided<'_>,
        [rows, width]: [usize; 2],
        rounds: bool,
        out: &mut [f32],
    ) {
        let len = size(rows, width);
        assert!(
            extent(rows, width, from.stride) <= from.data.len() && len <= out.len(),
            "rows to copy"
        );
        if width == 0 {
            return;
        }
        for (row, out) in out.chunks_exact_mut(width).take(rows).enumerate() {
            let from = &from.data[row * from.stride..][..width];
            // For a panel's row a call would take longer than the copy.
            match (<&mut [f32; PANEL]>::try_from(&mut *out), from.first_chunk()) {
                (Ok(out), Some(from)) => *out = *from,
                _ => out.copy_from_slice(from),
            }
        }
        if rounds {
            self.round(&mut out[..len]);
        }
    }

    /// One step of AdamW.
    #[inline]
    pub fn adamw(&self, p: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32], step: &AdamStep) {
        let n = p.len();
        assert!(g.len() == n && m.len() == n && v.len() == n, "lengths of a step");
        // SAFETY: the kernel indexes its slices.
        unsafe { (self.adamw)(p, g, m, v, step) }
    }

    /// The sum of the squares of `x`.
    #[inline]
    pub fn squares(&self, x: &[f32]) -> f32 {
        // SAFETY: the kernel takes a slice and indexes it itself.
        unsafe { (self.squares)(x) }
    }

    /// Replaces the first `seen` scores by `e^(scale * score - lse)`, and the rest by zero.
    #[inline]
    pub fn probabilities(&self, scores: &mut [f32], seen: usize, scale: f32, lse: f32) {
        assert!(seen <= scores.len(), "scores that are seen");
        // SAFETY: whole vectors are only taken below `seen`.
        unsafe { (self.probabilities)(scores, seen, scale, lse) }
    }

    /// Multiplies a row by the mask of a dropout site. The row begins at element `first` of the
    /// site.
    #[inline]
    pub fn drop_row(&self, row: &mut [f32], first: u32, key: u32, dropout: &Dropout) {
        // SAFETY: the kernel indexes its slice.
        unsafe { (self.drop_row)(row, first, key, dropout.threshold, dropout.scale) }
    }

    /// Sums the elements of a row up to its last multiple of eight registers, to measure the speed
    /// of reading.
    #[inline]
    pub fn read(&self, row: &[f32]) -> f32 {
        // SAFETY: the kernel indexes its slice.
        unsafe { (self.read)(row) }
    }

    /// Runs [`flops`](Self::flops) operations on registers, as products with this rounding do, to
    /// measure the speed of arithmetic.
    #[inline]
    pub fn calculate(&self, rounding: Rounding, iterations: usize) -> f32 {
        let kernel = match (rounding, &self.pairs) {
            (Rounding::Integer8 | Rounding::Integer16, _) => self.integers.calculate,
            (Rounding::Bf16, Some(pairs)) => pairs.calculate,
            (Rounding::None | Rounding::Bf16, _) => self.calculate,
        };
        // SAFETY: the kernel touches no memory.
        unsafe { kernel(iterations) }
    }

    /// Operations of [`calculate`](Self::calculate), two for a multiplication with its addition.
    #[inline]
    pub fn flops(&self, rounding: Rounding, iterations: usize) -> usize {
        let products = match (rounding, &self.pairs) {
            (Rounding::Integer8 | Rounding::Integer16, _) => self.integers.group,
            (Rounding::Bf16, Some(_)) => 2,
            (Rounding::None | Rounding::Bf16, _) => 1,
        };
        2 * SUMS * self.lanes * products * iterations
    }
}
