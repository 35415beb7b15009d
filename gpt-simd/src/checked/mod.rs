//! Safe functions around the kernels: they take slices, verify lengths, and call the function of
//! the instruction set.
//!
//! Products of floats are in this file, products of integers in `integer`, and the functions of
//! rows in `rows`. They are `#[inline]`, because the engine is another crate and calls some of them
//! once for each panel of a matrix.

mod integer;
mod rows;

use bytemuck::Pod;
use gpt_plan::Format;

pub use integer::{Integers, IntegersMut, Wide};

use super::Kernels;
use super::product::{Bf16, Bf16Pair, F16, Product};
use super::vector::PANEL;

/// A strided matrix that is read: row `i` starts at `i * stride`.
#[derive(Clone, Copy)]
pub struct Strided<'a, E = f32> {
    /// The elements; those between rows are not read.
    pub data: &'a [E],
    /// Elements from the start of one row to the start of the next.
    pub stride: usize,
}

/// A strided matrix that is written.
pub struct StridedMut<'a> {
    /// The elements; those between rows stay as they are.
    pub data: &'a mut [f32],
    /// Elements from the start of one row to the start of the next.
    pub stride: usize,
}

/// Memory that a product prefetches.
#[derive(Clone, Copy, Default)]
pub struct Prefetch<'a> {
    /// How many elements ahead a product of few rows prefetches the panel; 0 for none.
    pub ahead: usize,
    /// Bytes that a later product reads.
    pub next: &'a [u8],
}

/// A kernel that multiplies with panels of `E`. SAFETY: callers have checked the operands.
type ProductOf<E> = unsafe fn(&Product<E, <E as PanelElement>::Input>);

/// The type of a panel's elements.
pub trait PanelElement: Pod + Send + Sync {
    /// The type of the inputs that a panel is multiplied with.
    type Input: Pod + Send + Sync;
    /// The kernel for such panels, if the instruction set has one.
    fn product(kernels: &Kernels) -> Option<ProductOf<Self>>;
}

/// The type of the elements of a session's cache, with the kernels that read and write them.
pub trait CacheElement: PanelElement<Input = f32> + Default {
    /// Rounds `row` to the nearest elements, ties to even.
    ///
    /// # Panics
    /// Panics if the lengths differ.
    fn narrow(kernels: &Kernels, row: &[f32], out: &mut [Self]);
    /// The element as f32, which is exact.
    fn to_f32(self) -> f32;
}

impl PanelElement for f32 {
    type Input = f32;

    fn product(kernels: &Kernels) -> Option<ProductOf<f32>> {
        Some(kernels.product)
    }
}

impl PanelElement for Bf16Pair {
    type Input = Bf16Pair;

    fn product(kernels: &Kernels) -> Option<ProductOf<Bf16Pair>> {
        kernels.pairs.map(|pairs| pairs.product)
    }
}

impl CacheElement for f32 {
    fn narrow(_: &Kernels, row: &[f32], out: &mut [f32]) {
        out.copy_from_slice(row);
    }

    fn to_f32(self) -> f32 {
        self
    }
}

/// Implements the traits for an element of 16 bits: its number type in `half`, and its kernels.
macro_rules! cache_element {
    ($element:ident, $number:ty, $product:ident, $narrow:ident) => {
        impl PanelElement for $element {
            type Input = f32;

            fn product(kernels: &Kernels) -> Option<ProductOf<$element>> {
                Some(kernels.$product)
            }
        }

        impl CacheElement for $element {
            fn narrow(kernels: &Kernels, row: &[f32], out: &mut [$element]) {
                assert_eq!(row.len(), out.len(), "lengths of a rounded row");
                // SAFETY: the lengths are equal.
                unsafe { (kernels.$narrow)(row, out) }
            }

            fn to_f32(self) -> f32 {
                <$number>::from_bits(self.0).to_f32()
            }
        }
    };
}

cache_element!(F16, half::f16, product_f16, narrow_f16);
cache_element!(Bf16, half::bf16, product_bf16, narrow_bf16);

/// The least length of a slice with `rows` rows of `width` elements whose starts are `stride`
/// apart.
///
/// # Panics
/// Panics if this length exceeds `usize`: no slice is that long, and a wrapped length would pass
/// the checks.
pub(crate) fn extent(rows: usize, width: usize, stride: usize) -> usize {
    let Some(last) = rows.checked_sub(1) else {
        return 0;
    };
    last.checked_mul(stride)
        .and_then(|start| start.checked_add(width))
        .expect("the size of a kernel's operand exceeds usize")
}

/// The [`extent`] of rows without gaps: `rows * width` elements.
pub(crate) fn size(rows: usize, width: usize) -> usize {
    extent(rows, width, width)
}

impl Kernels {
    /// Computes `output[i] = input[i] · panel` for `rows` rows, or adds it to `output[i]` if `add`
    /// is true. `input[i]` has `depth` elements, `panel` is `[depth][32]` with its own stride,
    /// `output[i]` has 32 elements. Depth is counted in elements, and an element may be a pair.
    #[inline]
    pub fn product<E: PanelElement>(
        &self,
        rows: usize,
        depth: usize,
        input: Strided<'_, E::Input>,
        panel: Strided<'_, E>,
        output: StridedMut<'_>,
        add: bool,
    ) {
        self.product_prefetching(rows, depth, input, panel, output, add, Prefetch::default());
    }

    /// Like [`product`](Self::product), and prefetches the memory that `prefetch` names.
    #[allow(clippy::too_many_arguments)]
    #[inline]
    pub fn product_prefetching<E: PanelElement>(
        &self,
        rows: usize,
        depth: usize,
        input: Strided<'_, E::Input>,
        panel: Strided<'_, E>,
        output: StridedMut<'_>,
        add: bool,
        prefetch: Prefetch<'_>,
    ) {
        if rows == 0 {
            return;
        }
        assert!(extent(rows, depth, input.stride) <= input.data.len(), "input of a product");
        let strides = [input.stride, 1];
        self.checked_product(rows, depth, input.data, strides, panel, output, add, prefetch);
    }

    /// Like [`product`](Self::product) with the input's columns as rows: element `k` of row `i` is
    /// `input.data[k * input.stride + i]`.
    #[inline]
    pub fn product_of_columns<E: PanelElement>(
        &self,
        rows: usize,
        depth: usize,
        input: Strided<'_, E::Input>,
        panel: Strided<'_, E>,
        output: StridedMut<'_>,
        add: bool,
    ) {
        if rows == 0 {
            return;
        }
        assert!(
            extent(depth, rows, input.stride) <= input.data.len(),
            "input of a product of columns"
        );
        self.checked_product(
            rows,
            depth,
            input.data,
            [1, input.stride],
            panel,
            output,
            add,
            Prefetch::default(),
        );
    }

    /// Checks the panel and the output, and multiplies. The caller has checked the input, which is
    /// read at `i * input_stride + k * input_step` for row `i` and depth `k`.
    #[allow(clippy::too_many_arguments)]
    fn checked_product<E: PanelElement>(
        &self,
        rows: usize,
        depth: usize,
        input: &[E::Input],
        [input_stride, input_step]: [usize; 2],
        panel: Strided<'_, E>,
        output: StridedMut<'_>,
        add: bool,
        prefetch: Prefetch<'_>,
    ) {
        assert!(extent(depth, PANEL, panel.stride) <= panel.data.len(), "panel of a product");
        assert!(extent(rows, PANEL, output.stride) <= output.data.len(), "output of a product");
        let product = Product {
            rows,
            depth,
            input: input.as_ptr(),
            input_stride,
            input_step,
            panel: panel.data.as_ptr(),
            panel_stride: panel.stride,
            ahead: prefetch.ahead,
            next: (prefetch.next.as_ptr(), prefetch.next.len()),
            output: output.data.as_mut_ptr(),
            output_stride: output.stride,
            add,
        };
        let kernel = E::product(self).expect("the set multiplies such elements");
        // SAFETY: the last element of each operand was checked to lie in its slice.
        unsafe { kernel(&product) }
    }

    /// Neighbouring columns of the matrix that are interleaved in a panel of `format`: as many as
    /// one instruction multiplies and adds.
    #[inline]
    pub fn group(&self, format: Format) -> usize {
        match format {
            Format::F32 | Format::F16 => 1,
            Format::Bf16 if self.pairs.is_some() => 2,
            Format::Bf16 => 1,
            _ => self.integers.group,
        }
    }

    /// Whether products of operands that are rounded to bf16 take them in pairs.
    #[inline]
    pub fn has_pairs(&self) -> bool {
        self.pairs.is_some()
    }

    /// Computes `output = input · panel` for one row, in pairs of bf16.
    ///
    /// # Panics
    /// Panics if the set does not [multiply pairs](Self::has_pairs).
    #[inline]
    pub fn gemv_pairs(&self, input: &[Bf16Pair], panel: &[Bf16Pair], output: &mut [f32; PANEL]) {
        let pairs = self.pairs.as_ref().expect("a set that multiplies pairs");
        let depth = input.len();
        let len = size(depth, PANEL);
        assert_eq!(panel.len(), len, "panel of a row's product");
        // SAFETY: the panel has the length of `depth` rows of 32.
        unsafe { (pairs.gemv)(input.as_ptr(), depth, panel.as_ptr(), output.as_mut_ptr()) }
    }

    /// Rounds `rows` rows of `width` elements to bf16 and pairs neighbours in a row: `out` is
    /// `[rows][width / 2]`, rounded up.
    ///
    /// # Panics
    /// See [`gemv_pairs`](Self::gemv_pairs).
    #[inline]
    pub fn pair_columns(&self, from: Strided<'_>, [rows, width]: [usize; 2], out: &mut [Bf16Pair]) {
        let pairs = self.pairs.as_ref().expect("a set that multiplies pairs");
        let stride = width.div_ceil(2);
        assert!(
            extent(rows, width, from.stride) <= from.data.len() && size(rows, stride) <= out.len(),
            "rows to pair"
        );
        if width == 0 {
            return;
        }
        for (row, out) in out.chunks_exact_mut(stride).take(rows).enumerate() {
            // SAFETY: `out` has a pair for each two elements.
            unsafe { (pairs.pair_columns)(&from.data[row * from.stride..][..width], out) }
        }
    }

    /// Rounds `rows` rows of `width` elements to bf16 and pairs each element with the one below it,
    /// so that two rows become one row of pairs: `out` is `[rows / 2][width]`, rounded up. An odd
    /// last row is paired with zeros.
    ///
    /// # Panics
    /// See [`gemv_pairs`](Self::gemv_pairs).
    #[inline]
    pub fn pair_rows(&self, from: Strided<'_>, [rows, width]: [usize; 2], out: &mut [Bf16Pair]) {
        let pairs = self.pairs.as_ref().expect("a set that multiplies pairs");
        assert!(
            extent(rows, width, from.stride) <= from.data.len()
                && size(rows.div_ceil(2), width) <= out.len(),
            "rows to pair"
        );
        let (data, stride) = (from.data.as_ptr(), from.stride);
        // SAFETY: the last row of both lies in its slice.
        unsafe { (pairs.pair_rows)(data, stride, [rows, width], out.as_mut_ptr()) }
    }

    /// Computes `output = input · panel` for one row. The panel is in its storage format, which is
    /// not quantised and whose [`group`](Self::group) is 1.
    #[inline]
    pub fn gemv(&self, format: Format, input: &[f32], panel: &[u8], output: &mut [f32; PANEL]) {
        let depth = input.len();
        assert_eq!(self.group(format), 1, "group of a plain panel");
        let row_bytes = format.row_bytes(PANEL);
        assert_eq!(panel.len(), size(depth, row_bytes), "panel of a row's product");
        assert!(panel.as_ptr().cast::<f32>().is_aligned(), "alignment of a panel");
        let (x, w, out) = (input.as_ptr(), panel.as_ptr(), output.as_mut_ptr());
        // SAFETY: the panel has the length of `depth` rows of 32.
        unsafe {
            match format {
                Format::F32 => (self.gemv_f32)(x, depth, w.cast(), out),
                Format::F16 => (self.gemv_f16)(x, depth, w.cast(), out),
                Format::Bf16 => (self.gemv_bf16)(x, depth, w.cast(), out),
                _ => unreachable!("quantised rows are multiplied as integers"),
            }
        }
    }

    /// Converts a part of a panel to f32 `[depth][32]`. It is stored in a `format` that is not
    /// quantised and whose [`group`](Self::group) is 1.
    #[inline]
    pub fn unpack(&self, format: Format, depth: usize, panel: &[u8], output: &mut [f32]) {
        assert_eq!(self.group(format), 1, "group of a plain panel");
        let row_bytes = format.row_bytes(PANEL);
        assert_eq!(panel.len(), size(depth, row_bytes), "panel to unpack");
        assert!(output.len() >= size(depth, PANEL), "scratch for an unpacked panel");
        assert!(panel.as_ptr().cast::<f32>().is_aligned(), "alignment of a panel");
        let (w, out) = (panel.as_ptr(), output.as_mut_ptr());
        // SAFETY: both lengths were checked.
        unsafe {
            match format {
                Format::F32 => output[..depth * PANEL].copy_from_slice(bytemuck::cast_slice(panel)),
                Format::F16 => (self.unpack_f16)(w.cast(), depth, out),
                Format::Bf16 => (self.unpack_bf16)(w.cast(), depth, out),
                _ => unreachable!("quantised panels are widened"),
            }
        }
    }
}
