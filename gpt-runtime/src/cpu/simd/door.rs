//! The checked doors to the kernels: slices in, lengths verified, then the function of the instruction set.

use gpt_plan::Format;

use super::Kernels;
use super::product::{Product, Q4_BLOCK, Q8_BLOCK};
use super::rows::Running;
use super::vector::PANEL;

/// A strided matrix that is read: row `i` begins at `i * stride`.
#[derive(Clone, Copy)]
pub struct Strided<'a> {
    pub data: &'a [f32],
    pub stride: usize,
}

/// A strided matrix that is written.
pub struct StridedMut<'a> {
    pub data: &'a mut [f32],
    pub stride: usize,
}

impl Kernels {
    /// `output[i] (+)= input[i] · panel` for `rows` rows; `input[i]` has `depth` elements, `panel` is `[depth][32]` with its own stride,
    /// `output[i]` has 32.
    pub fn product(
        &self,
        rows: usize,
        depth: usize,
        input: Strided<'_>,
        panel: Strided<'_>,
        output: StridedMut<'_>,
        add: bool,
    ) {
        if rows == 0 {
            return;
        }
        assert!(
            (rows - 1) * input.stride + depth <= input.data.len(),
            "input of a product"
        );
        assert!(
            depth == 0 || (depth - 1) * panel.stride + PANEL <= panel.data.len(),
            "panel of a product"
        );
        assert!(
            (rows - 1) * output.stride + PANEL <= output.data.len(),
            "output of a product"
        );
        let product = Product {
            rows,
            depth,
            input: input.data.as_ptr(),
            input_stride: input.stride,
            panel: panel.data.as_ptr(),
            panel_stride: panel.stride,
            output: output.data.as_mut_ptr(),
            output_stride: output.stride,
            add,
        };
        // SAFETY: the last element of each operand was checked to lie in its slice.
        unsafe { (self.product)(&product) }
    }

    /// `output = input · panel`, one row, the panel in its storage format. `input` is padded with zeros to whole blocks, `sums` are
    /// those of its blocks ([`block_sums`](Self::block_sums); only q4 reads them).
    pub fn gemv(
        &self,
        format: Format,
        depth: usize,
        input: &[f32],
        sums: &[f32],
        panel: &[u8],
        output: &mut [f32; PANEL],
    ) {
        let blocks = depth.div_ceil(32);
        assert_eq!(
            panel.len(),
            format.row_bytes(depth) * PANEL,
            "panel of a row's product"
        );
        assert!(
            input.len() >= depth.next_multiple_of(format.block()),
            "input of a row's product"
        );
        assert!(
            panel.as_ptr().cast::<f32>().is_aligned(),
            "alignment of a panel"
        );
        let (x, w, out) = (input.as_ptr(), panel.as_ptr(), output.as_mut_ptr());
        // SAFETY: the panel's length is that of `depth` rows of 32, the input covers as many whole blocks.
        unsafe {
            match format {
                Format::F32 => (self.gemv_f32)(x, depth, w.cast(), out),
                Format::F16 => (self.gemv_f16)(x, depth, w.cast(), out),
                Format::Bf16 => (self.gemv_bf16)(x, depth, w.cast(), out),
                Format::Q8 => (self.gemv_q8)(x, blocks, w, out),
                Format::Q4 => {
                    assert!(sums.len() >= blocks, "sums of a row's blocks");
                    (self.gemv_q4)(x, sums.as_ptr(), blocks, w, out)
                }
            }
        }
    }

    /// A panel's part of `depth` (whole blocks, but for the last) as f32 `[depth][32]`, padded to whole blocks.
    pub fn unpack(&self, format: Format, depth: usize, panel: &[u8], output: &mut [f32]) {
        let padded = depth.next_multiple_of(format.block());
        assert_eq!(
            panel.len(),
            format.row_bytes(depth) * PANEL,
            "panel to unpack"
        );
        assert!(output.len() >= padded * PANEL, "room for an unpacked panel");
        assert!(
            panel.as_ptr().cast::<f32>().is_aligned(),
            "alignment of a panel"
        );
        let (w, out) = (panel.as_ptr(), output.as_mut_ptr());
        // SAFETY: both lengths were checked.
        unsafe {
            match format {
                Format::F32 => output[..depth * PANEL].copy_from_slice(bytemuck::cast_slice(panel)),
                Format::F16 => (self.unpack_f16)(w.cast(), depth, out),
                Format::Bf16 => (self.unpack_bf16)(w.cast(), depth, out),
                Format::Q8 => (self.unpack_q8)(w, panel.len() / Q8_BLOCK, out),
                Format::Q4 => (self.unpack_q4)(w, panel.len() / Q4_BLOCK, out),
            }
        }
    }

    /// LayerNorm of one row; `beta` may be empty.
    pub fn layer_norm(&self, x: &[f32], gamma: &[f32], beta: &[f32], eps: f32, out: &mut [f32]) {
        assert!(
            gamma.len() == x.len() && out.len() == x.len(),
            "lengths of a norm"
        );
        assert!(beta.is_empty() || beta.len() == x.len(), "length of beta");
        // SAFETY: the kernel takes slices and indexes them itself.
        unsafe { (self.layer_norm)(x, gamma, beta, eps, out) }
    }

    /// RmsNorm of one row.
    pub fn rms_norm(&self, x: &[f32], gamma: &[f32], eps: f32, out: &mut [f32]) {
        assert!(
            gamma.len() == x.len() && out.len() == x.len(),
            "lengths of a norm"
        );
        // SAFETY: the kernel takes slices and indexes them itself.
        unsafe { (self.rms_norm)(x, gamma, eps, out) }
    }

    /// Sums of each 32 elements.
    pub fn block_sums(&self, x: &[f32], sums: &mut [f32]) {
        // SAFETY: the kernel takes slices and indexes them itself.
        unsafe { (self.block_sums)(x, sums) }
    }

    /// Turns the first `seen` of `scores` (`1 <= seen <= scores.len()`) into `e^(scale * score - maximum)` and the rest into zero; returns the
    /// factor by which everything gathered under the old maximum has shrunk.
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

    /// `row *= factor`.
    pub fn scale(&self, row: &mut [f32], factor: f32) {
        // SAFETY: the kernel takes a slice and indexes it itself.
        unsafe { (self.scale)(row, factor) }
    }

    /// The exact GELU of each element.
    pub fn gelu(&self, row: &mut [f32]) {
        // SAFETY: the kernel takes a slice and indexes it itself.
        unsafe { (self.gelu)(row) }
    }

    /// GELU's tanh approximation of each element.
    pub fn gelu_tanh(&self, row: &mut [f32]) {
        // SAFETY: the kernel takes a slice and indexes it itself.
        unsafe { (self.gelu_tanh)(row) }
    }

    /// `max(x, 0)` of each element.
    pub fn relu(&self, row: &mut [f32]) {
        // SAFETY: the kernel takes a slice and indexes it itself.
        unsafe { (self.relu)(row) }
    }

    /// `x / (1 + e^-x)` of each element.
    pub fn silu(&self, row: &mut [f32]) {
        // SAFETY: the kernel takes a slice and indexes it itself.
        unsafe { (self.silu)(row) }
    }
}
