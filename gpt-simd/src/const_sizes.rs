//! Inner loops with constant sizes, for benchmarks that measure what loops would gain from being
//! generated for one model.
//!
//! In the engine, each loop is compiled once and serves all models. Here the same loops are
//! instantiated in the caller's crate, for the sizes that it passes as const parameters and for
//! each instruction set but WebAssembly's. `benches/` compares the two; docs/src/performance.md has
//! the results.

use gpt_plan::Format;

use super::checked::{extent, size};
use super::integer::{self, BLOCK};
use super::learn::{self, AdamStep};
use super::product::{self, Bf16, Bf16Pair, F16};
use super::quants;
use super::rows;
use super::{Integers, Isa, PANEL, Wide};

/// Calls a function of the set's module. Sets that differ only in products of integers or pairs use
/// the module of the plain set.
macro_rules! each_set {
    ($isa:expr, $($call:tt)*) => {
        each_set!(@ $isa, [avx512, avx512, avx512, avx2, neon, portable] $($call)*)
    };
    (@integers $isa:expr, $($call:tt)*) => {
        each_set!(@ $isa, [vnni, vnni, integers_avx512, integers_avx2, integers_neon, integers_portable] $($call)*)
    };
    (@ $isa:expr, [$bf16:ident, $vnni:ident, $avx512:ident, $avx2:ident, $neon:ident, $portable:ident] $($call:tt)*) => {{
        assert!(Isa::available().contains(&$isa), "the processor has no such instructions");
        // SAFETY: the set was detected, and the caller has checked the operands.
        unsafe {
            match $isa {
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512Bf16 => $bf16::$($call)*,
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512Vnni => $vnni::$($call)*,
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512 => $avx512::$($call)*,
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 => $avx2::$($call)*,
                #[cfg(target_arch = "aarch64")]
                Isa::Neon => $neon::$($call)*,
                Isa::Portable => $portable::$($call)*,
                Isa::PortableBf16 => unreachable!("never the best"),
                #[allow(unreachable_patterns)]
                _ => unreachable!("no such set on this architecture"),
            }
        }
    }};
}

/// A product with constant sizes; see [`Kernels::product`](super::Kernels::product).
///
/// # Panics
/// Panics if a slice is too short, or the processor lacks `isa`.
pub fn product<
    const ROWS: usize,
    const DEPTH: usize,
    const INPUT_STRIDE: usize,
    const INPUT_STEP: usize,
    const PANEL_STRIDE: usize,
    const OUTPUT_STRIDE: usize,
>(
    isa: Isa,
    input: &[f32],
    panel: &[f32],
    output: &mut [f32],
    add: bool,
) {
    assert!(
        extent(ROWS, extent(DEPTH, 1, INPUT_STEP), INPUT_STRIDE) <= input.len()
            && extent(DEPTH, PANEL, PANEL_STRIDE) <= panel.len()
            && extent(ROWS, PANEL, OUTPUT_STRIDE) <= output.len(),
        "operands of a product"
    );
    let (input, panel, output) = (input.as_ptr(), panel.as_ptr(), output.as_mut_ptr());
    each_set!(
        isa,
        product::<ROWS, DEPTH, INPUT_STRIDE, INPUT_STEP, PANEL_STRIDE, OUTPUT_STRIDE>(
            input, panel, output, add
        )
    )
}

/// One row times a panel; see [`Kernels::gemv`](super::Kernels::gemv) and, for quantised formats,
/// [`integer_row`].
///
/// # Panics
/// See `product`; also panics for quantised formats.
pub fn gemv<const DEPTH: usize>(
    isa: Isa,
    format: Format,
    input: &[f32],
    panel: &[u8],
    output: &mut [f32; PANEL],
) {
    assert!(
        input.len() == DEPTH && panel.len() == size(DEPTH, format.row_bytes(PANEL)),
        "operands of a row's product"
    );
    let (input, panel, output) = (input.as_ptr(), panel.as_ptr(), output.as_mut_ptr());
    match format {
        Format::F32 => each_set!(isa, gemv_f32::<DEPTH>(input, panel.cast(), output)),
        Format::F16 => each_set!(isa, gemv_f16::<DEPTH>(input, panel.cast(), output)),
        Format::Bf16 => each_set!(isa, gemv_bf16::<DEPTH>(input, panel.cast(), output)),
        _ => panic!("quantised rows are multiplied as integers"),
    }
}

/// One row times a panel in pairs of bf16, `DEPTH` of them; see
/// [`Kernels::gemv_pairs`](super::Kernels::gemv_pairs).
///
/// # Panics
/// See `product`; also panics if the set does not multiply pairs.
pub fn gemv_pairs<const DEPTH: usize>(
    isa: Isa,
    input: &[Bf16Pair],
    panel: &[Bf16Pair],
    output: &mut [f32; PANEL],
) {
    assert!(
        input.len() == DEPTH && panel.len() == size(DEPTH, PANEL),
        "operands of a row's product"
    );
    assert!(
        isa == Isa::Avx512Bf16 && Isa::available().contains(&isa),
        "a set that multiplies pairs"
    );
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the set was detected, and the operands have the lengths of the product.
    unsafe {
        pairs::gemv::<DEPTH>(input.as_ptr(), panel.as_ptr(), output.as_mut_ptr())
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = output;
}

/// One row of integers times a panel in Q8 or Q4; see
/// [`Kernels::integer_row`](super::Kernels::integer_row).
///
/// # Panics
/// See `product`; also panics for formats other than Q8 and Q4.
pub fn integer_row<const BLOCKS: usize>(
    isa: Isa,
    format: Format,
    input: &Integers<'_>,
    panel: &[u8],
    output: &mut [f32; PANEL],
) {
    assert!(
        format.block() == BLOCK && panel.len() == size(BLOCKS, format.block_bytes() * PANEL),
        "operands of a row of integers"
    );
    let input = input.checked(BLOCKS, quant_bytes(isa));
    let (panel, output) = (panel.as_ptr(), output.as_mut_ptr());
    match format {
        Format::Q8 => each_set!(@integers isa, row_q8::<BLOCKS>(&input, panel, output)),
        Format::Q4 => each_set!(@integers isa, row_q4::<BLOCKS>(&input, panel, output)),
        _ => panic!("the format is neither Q8 nor Q4"),
    }
}

fn quant_bytes(isa: Isa) -> usize {
    isa.kernels().expect("a set of this processor").quant_bytes()
}

/// Many rows of integers, each of `STRIDE` blocks, times a part of a panel in Q8 or Q4; see
/// [`Kernels::integer_product`](super::Kernels::integer_product).
///
/// # Panics
/// See [`integer_row`].
pub fn integer_product<const ROWS: usize, const BLOCKS: usize, const STRIDE: usize>(
    isa: Isa,
    format: Format,
    input: &Integers<'_>,
    panel: &[u8],
    wide: Wide<'_>,
    output: &mut [f32],
    add: bool,
) {
    assert!(
        format.block() == BLOCK
            && input.blocks == STRIDE
            && panel.len() == size(BLOCKS, format.block_bytes() * PANEL)
            && output.len() >= size(ROWS, PANEL),
        "operands of a product of integers"
    );
    let product = integer::IntegerProduct {
        rows: ROWS,
        blocks: BLOCKS,
        input: input.checked(extent(ROWS, BLOCKS, STRIDE), quant_bytes(isa)),
        wide: wide.checked(BLOCKS),
        wide_stride: wide.stride(),
        next: (std::ptr::null(), 0),
        panel: panel.as_ptr(),
        block_bytes: format.block_bytes() * PANEL,
        sub_block_bytes: 0,
        output: output.as_mut_ptr(),
        add,
    };
    match format {
        Format::Q8 => each_set!(@integers isa, product_q8::<ROWS, BLOCKS, STRIDE>(product)),
        Format::Q4 => each_set!(@integers isa, product_q4::<ROWS, BLOCKS, STRIDE>(product)),
        _ => panic!("the format is neither Q8 nor Q4"),
    }
}

/// LayerNorm of a row: statistics, then [`Kernels::normalise`](super::Kernels::normalise).
///
/// # Panics
/// See `product`.
pub fn layer_norm<const WIDTH: usize>(
    isa: Isa,
    x: &[f32; WIDTH],
    gamma: &[f32; WIDTH],
    beta: &[f32; WIDTH],
    out: &mut [f32; WIDTH],
    eps: f32,
) {
    each_set!(isa, layer_norm::<WIDTH>(x, gamma, beta, out, eps))
}

/// GELU's tanh approximation of a row; see [`Kernels::gelu_tanh`](super::Kernels::gelu_tanh).
///
/// # Panics
/// See `product`.
pub fn gelu_tanh<const WIDTH: usize>(isa: Isa, row: &mut [f32; WIDTH]) {
    each_set!(isa, gelu_tanh::<WIDTH>(row))
}

/// A step of AdamW on `N` parameters with their gradients and moments; see
/// [`Kernels::adamw`](super::Kernels::adamw).
///
/// # Panics
/// See `product`.
pub fn adamw<const N: usize>(
    isa: Isa,
    p: &mut [f32; N],
    g: &[f32; N],
    m: &mut [f32; N],
    v: &mut [f32; N],
    step: &AdamStep,
) {
    each_set!(isa, adamw::<N>(p, g, m, v, step))
}

/// The functions above for one instruction set. SAFETY of each: see the generic kernel that it
/// calls, which is only reached through the checked functions above.
macro_rules! const_set {
    ($module:ident, $vector:path, $wide:literal, $tile:literal, $unroll:literal, $(#[$feature:meta])?) => {
        mod $module {
            use super::*;
            use $vector as V;

            $(#[$feature])?
            pub unsafe fn product<const R: usize, const D: usize, const IS: usize, const IT: usize, const PS: usize, const OS: usize>(
                input: *const f32,
                panel: *const f32,
                output: *mut f32,
                add: bool,
            ) {
                let product = product::Product {
                    rows: R,
                    depth: D,
                    input,
                    input_stride: IS,
                    input_step: IT,
                    panel,
                    panel_stride: PS,
                    ahead: 0,
                    next: (std::ptr::null(), 0),
                    output,
                    output_stride: OS,
                    add,
                };
                // SAFETY: see above.
                unsafe { product::product::<V, f32, $tile, $wide>(&product) }
            }

            $(#[$feature])?
            pub unsafe fn gemv_f32<const D: usize>(x: *const f32, panel: *const f32, out: *mut f32) {
                // SAFETY: see above.
                unsafe { product::gemv::<V, f32, $wide, $unroll>(x, D, panel, out) }
            }

            $(#[$feature])?
            pub unsafe fn gemv_f16<const D: usize>(x: *const f32, panel: *const F16, out: *mut f32) {
                // SAFETY: see above.
                unsafe { product::gemv::<V, F16, $wide, $unroll>(x, D, panel, out) }
            }

            $(#[$feature])?
            pub unsafe fn gemv_bf16<const D: usize>(x: *const f32, panel: *const Bf16, out: *mut f32) {
                // SAFETY: see above.
                unsafe { product::gemv::<V, Bf16, $wide, $unroll>(x, D, panel, out) }
            }

            $(#[$feature])?
            pub unsafe fn layer_norm<const N: usize>(x: &[f32; N], gamma: &[f32; N], beta: &[f32; N], out: &mut [f32; N], eps: f32) {
                // SAFETY: see above.
                unsafe {
                    let statistics = rows::layer_statistics::<V>(x, eps);
                    rows::normalise::<V>(x, statistics, gamma, beta, out);
                }
            }

            $(#[$feature])?
            pub unsafe fn gelu_tanh<const N: usize>(row: &mut [f32; N]) {
                // SAFETY: see above.
                unsafe { rows::gelu_tanh::<V>(row) }
            }

            $(#[$feature])?
            pub unsafe fn adamw<const N: usize>(p: &mut [f32; N], g: &[f32; N], m: &mut [f32; N], v: &mut [f32; N], step: &AdamStep) {
                // SAFETY: see above.
                unsafe { learn::adamw::<V>(p, g, m, v, step) }
            }
        }
    };
}

/// The kernels that multiply integers, as in `const_set`. SAFETY: as there.
macro_rules! const_integers {
    ($module:ident, $dots:path, $wide:literal, $tile:literal, $(#[$feature:meta])?) => {
        mod $module {
            use super::integer::{self, IntegerProduct, QuantisedInputs};
            use super::quants::{Q4, Q8, Quants};
            use $dots as D;

            $(#[$feature])?
            pub unsafe fn row_q8<const B: usize>(input: &QuantisedInputs, panel: *const u8, out: *mut f32) {
                // SAFETY: see above.
                unsafe { integer::row::<D, Q8, $wide>(input, B, panel, out) }
            }

            $(#[$feature])?
            pub unsafe fn row_q4<const B: usize>(input: &QuantisedInputs, panel: *const u8, out: *mut f32) {
                // SAFETY: see above.
                unsafe { integer::row::<D, Q4, $wide>(input, B, panel, out) }
            }

            $(#[$feature])?
            pub unsafe fn product_q8<const R: usize, const B: usize, const S: usize>(of: IntegerProduct) {
                let input = QuantisedInputs { stride: S, ..of.input };
                let product = IntegerProduct { rows: R, blocks: B, input, ..of };
                // SAFETY: see above.
                unsafe { integer::product::<D, <Q8 as Quants>::Scales, $tile>(&product) }
            }

            $(#[$feature])?
            pub unsafe fn product_q4<const R: usize, const B: usize, const S: usize>(of: IntegerProduct) {
                let input = QuantisedInputs { stride: S, ..of.input };
                let product = IntegerProduct { rows: R, blocks: B, input, ..of };
                // SAFETY: see above.
                unsafe { integer::product::<D, <Q4 as Quants>::Scales, $tile>(&product) }
            }
        }
    };
}

/// The product of one row in pairs of bf16. SAFETY: as in `const_set`.
#[cfg(target_arch = "x86_64")]
mod pairs {
    use super::product::{self, Bf16Pair};
    use crate::x86::Avx512 as V;

    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    pub unsafe fn gemv<const D: usize>(x: *const Bf16Pair, panel: *const Bf16Pair, out: *mut f32) {
        // SAFETY: see above.
        unsafe { product::gemv::<V, Bf16Pair, 2, 4>(x, D, panel, out) }
    }
}

#[cfg(target_arch = "x86_64")]
const_set!(avx512, super::super::x86::Avx512, 2, 2, 4, #[target_feature(enable = "avx512f,avx512bw")]);
#[cfg(target_arch = "x86_64")]
const_set!(avx2, super::super::x86::Avx2, 4, 2, 2, #[target_feature(enable = "avx2,fma,f16c")]);
#[cfg(target_arch = "aarch64")]
const_set!(neon, super::super::neon::Neon, 8, 2, 2,);
const_set!(portable, super::super::portable::Portable, 4, 1, 1,);

#[cfg(target_arch = "x86_64")]
const_integers!(vnni, super::super::x86::Vnni, 2, 2, #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]);
#[cfg(target_arch = "x86_64")]
const_integers!(integers_avx512, super::super::x86::Avx512, 2, 2, #[target_feature(enable = "avx512f,avx512bw")]);
#[cfg(target_arch = "x86_64")]
const_integers!(integers_avx2, super::super::x86::Avx2, 4, 2, #[target_feature(enable = "avx2,fma,f16c")]);
#[cfg(target_arch = "aarch64")]
const_integers!(integers_neon, super::super::neon::Neon, 8, 2,);
const_integers!(integers_portable, super::super::portable::Portable, 4, 1,);
