//! The inner loops of the CPU engine, once for each instruction set.
//!
//! Kernels are generic over a vector type and compiled for AVX-512, AVX2, NEON, WebAssembly's
//! vectors and plain Rust. Products of integers (`int_dot`) and products of pairs of bf16 are
//! compiled separately, because some sets differ only in them. [`Kernels`] is the table of one
//! set's functions, which [`Isa::kernels`] returns. Its methods, in `checked`, verify lengths, so
//! that the engine can compute without `unsafe`.
//!
//! ```
//! use gpt_simd::Isa;
//!
//! let kernels = Isa::available()[0].kernels().expect("an available set has kernels");
//! let mut row = [-1.0, 0.0, 2.0];
//! kernels.relu(&mut row);
//! assert_eq!(row, [0.0, 0.0, 2.0]);
//! ```
//!
//! This is a separate crate because it takes longest to compile. It has few dependencies, so it
//! compiles in parallel with the dependencies of the engines. The operations of a model, the
//! threads and the packing of matrices are in `gpt-runtime`, `cpu`.

#![warn(missing_docs)]
// A library must not print; the program that uses it decides what to print.
#![cfg_attr(not(test), warn(clippy::print_stdout, clippy::print_stderr))]

/// Defines methods of `Vector`, `Pairs` or `IntDot`. Each is an `unsafe fn`; the trait states what
/// its caller has to guarantee.
macro_rules! methods {
    ($($name:ident($($args:tt)*) -> $ret:ty $body:block)*) => {$(
        #[inline(always)]
        #[allow(unused_unsafe)]
        // SAFETY: see the trait; the caller guarantees the features and the pointers.
        unsafe fn $name($($args)*) -> $ret { unsafe { $body } }
    )*};
}

/// Calls the register tile `$tile::<$T.., ROWS, $vectors>(p, row, lane)` for all rows of a product
/// `$p` and the lanes of a panel. A tile has at most `$most` rows. The rows are divided evenly,
/// because a tile of one or two rows has too few sums to occupy the multipliers.
macro_rules! each_tile {
    ($p:ident, $most:block, $V:ty, $vectors:ident, $tile:ident, [$($T:ident),*]) => {{
        let most = const $most;
        let each = match $p.rows % most {
            0 => most,
            _ => $p.rows.div_ceil($p.rows.div_ceil(most)),
        };
        let mut row = 0;
        while row < $p.rows {
            let rows = each.min($p.rows - row);
            for lane in (0..PANEL).step_by($vectors * <$V>::LANES) {
                match rows {
                    1 => $tile::<$($T,)* 1, $vectors>($p, row, lane),
                    2 if const { ($most) >= 2 } => $tile::<$($T,)* 2, $vectors>($p, row, lane),
                    3 if const { ($most) >= 3 } => $tile::<$($T,)* 3, $vectors>($p, row, lane),
                    4 if const { ($most) >= 4 } => $tile::<$($T,)* 4, $vectors>($p, row, lane),
                    5 if const { ($most) >= 5 } => $tile::<$($T,)* 5, $vectors>($p, row, lane),
                    6 if const { ($most) >= 6 } => $tile::<$($T,)* 6, $vectors>($p, row, lane),
                    7 if const { ($most) >= 7 } => $tile::<$($T,)* 7, $vectors>($p, row, lane),
                    8 if const { ($most) >= 8 } => $tile::<$($T,)* 8, $vectors>($p, row, lane),
                    9 if const { ($most) >= 9 } => $tile::<$($T,)* 9, $vectors>($p, row, lane),
                    10 if const { ($most) >= 10 } => $tile::<$($T,)* 10, $vectors>($p, row, lane),
                    11 if const { ($most) >= 11 } => $tile::<$($T,)* 11, $vectors>($p, row, lane),
                    12 if const { ($most) >= 12 } => $tile::<$($T,)* 12, $vectors>($p, row, lane),
                    _ => unreachable!(),
                }
            }
            row += rows;
        }
    }};
}

mod checked;
#[doc(hidden)]
pub mod const_sizes;
mod int_dot;
mod integer;
mod isa;
mod learn;
#[cfg(target_arch = "aarch64")]
mod neon;
mod peak;
mod portable;
mod product;
#[macro_use]
mod quants;
mod rows;
mod scales;
#[doc(hidden)]
pub mod testing;
mod vector;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod wasm;
#[cfg(target_arch = "x86_64")]
mod x86;

use product::Product;

pub use checked::{
    CacheElement, Integers, IntegersMut, PanelElement, Prefetch, Strided, StridedMut, Wide,
};
pub use integer::{BLOCK, WIDE_BLOCK};
pub use isa::{Isa, Rounding};
pub use learn::AdamStep;
pub use product::{Bf16, Bf16Pair, F16};
pub use rows::Running;
pub use vector::PANEL;

// SAFETY of the following types: a function of an instruction set may be called only where the
// processor has that set, with slices whose lengths match; `checked` compares them.

/// Arguments: a row, its statistics, gamma, beta, the output.
type Normalise = unsafe fn(&[f32], [f32; 2], &[f32], &[f32], &mut [f32]);
/// Arguments: a row, and five outputs: its integers and, for each block of them, the scale, the sum
/// of the rounded inputs, the initial value of integer sums with weights that are stored with
/// `IntDot::SHIFT` added, and the sums of the integers of both halves.
type Quantise = unsafe fn(&[f32], *mut u8, &mut [f32], &mut [f32], &mut [i32], &mut [i32]);
/// Arguments: the inputs, the number of blocks, a panel, 32 outputs.
type IntegerRow = unsafe fn(&integer::QuantisedInputs, usize, *const u8, *mut f32);
/// Arguments: a row, the gradient of the norm's output, gamma, three numbers (mean, scale, and
/// 1 for a norm that subtracts the mean, otherwise 0), the output, whether to add to the output.
type NormBackward = unsafe fn(&[f32], &[f32], &[f32], [f32; 3], &mut [f32], bool);
/// Arguments: rows, the gradients of the norm's outputs, the stride of both, the statistics of
/// the rows, the sums for gamma and for beta.
type NormSums = unsafe fn(&[f32], &[f32], usize, &[f32], &mut [f32; PANEL], &mut [f32; PANEL]);

/// Prefetches the 32 floats of `data` that start at `at`, if `data` has them. Rows of a tile are
/// further apart in memory than hardware prefetchers look ahead.
#[inline(always)]
pub fn prefetch(data: *const f32, len: usize, at: usize) {
    #[cfg(target_arch = "x86_64")]
    if at + PANEL <= len {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: every x86-64 has the instruction, which reads nothing; the address lies within
        // the data.
        unsafe {
            _mm_prefetch::<_MM_HINT_T0>(data.wrapping_add(at).cast());
            _mm_prefetch::<_MM_HINT_T0>(data.wrapping_add(at + 16).cast());
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (data, len, at);
}

/// Bytes of a page, at whose end hardware prefetchers stop: the smallest page of x86-64, also in
/// memory with large pages.
const PAGE: usize = 4096;

/// If a page starts in the `bytes` bytes from `from` on, prefetches the first lines of the page
/// after it. A loop over memory calls this for each of its steps, which are shorter than a page.
/// Hardware prefetchers follow the loop within a page, but need some misses at the start of each.
#[inline(always)]
fn prefetch_next_page(from: *const u8, bytes: usize) {
    let start = from.addr().next_multiple_of(PAGE);
    if start - from.addr() < bytes {
        prefetch_later(from.with_addr(start + PAGE), 4 * 64);
    }
}

/// Prefetches `bytes` bytes that start at `from` into the second-level cache.
#[inline(always)]
fn prefetch_later(from: *const u8, bytes: usize) {
    #[cfg(target_arch = "x86_64")]
    for line in (0..bytes).step_by(64) {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        // SAFETY: every x86-64 has the instruction, which reads nothing, wherever it points.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(from.wrapping_add(line).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (from, bytes);
}

/// Prefetches all of `data` into the second-level cache.
pub fn prefetch_all(data: &[f32]) {
    prefetch_later(data.as_ptr().cast(), size_of_val(data));
}

/// Arguments: a model's parameters, their gradients, both moments, the step.
type Adam = unsafe fn(&mut [f32], &[f32], &mut [f32], &mut [f32], &AdamStep);

/// The functions of one instruction set. SAFETY: they are called through the methods in `checked`,
/// which verify lengths, and a value of this type is only available where the processor has the
/// instructions.
pub struct Kernels {
    /// The instruction set.
    pub isa: Isa,
    product: unsafe fn(&Product),
    gemv_f32: unsafe fn(*const f32, usize, *const f32, *mut f32),
    gemv_f16: unsafe fn(*const f32, usize, *const F16, *mut f32),
    gemv_bf16: unsafe fn(*const f32, usize, *const Bf16, *mut f32),
    integers: IntegerKernels,
    /// Products of pairs of bf16; `None` unless the set has instructions for them or computes the
    /// same in plain Rust ([`Isa::PortableBf16`]).
    pairs: Option<PairKernels>,
    unpack_f16: unsafe fn(*const F16, usize, *mut f32),
    unpack_bf16: unsafe fn(*const Bf16, usize, *mut f32),
    product_f16: unsafe fn(&Product<F16>),
    product_bf16: unsafe fn(&Product<Bf16>),
    narrow_f16: unsafe fn(&[f32], &mut [F16]),
    narrow_bf16: unsafe fn(&[f32], &mut [Bf16]),
    layer_statistics: unsafe fn(&[f32], f32) -> [f32; 2],
    rms_statistics: unsafe fn(&[f32], f32) -> [f32; 2],
    normalise: Normalise,
    softmax_block: unsafe fn(&mut [f32], usize, f32, &mut Running) -> f32,
    softcap: unsafe fn(&mut [f32], f32, f32),
    scale: unsafe fn(&mut [f32], f32),
    gelu: unsafe fn(&mut [f32]),
    gelu_tanh: unsafe fn(&mut [f32]),
    relu: unsafe fn(&mut [f32]),
    silu: unsafe fn(&mut [f32]),
    gelu_slopes: unsafe fn(&mut [f32], &mut [f32]),
    gelu_tanh_slopes: unsafe fn(&mut [f32], &mut [f32]),
    relu_slopes: unsafe fn(&mut [f32], &mut [f32]),
    silu_slopes: unsafe fn(&mut [f32], &mut [f32]),
    norm_backward: NormBackward,
    norm_sums: NormSums,
    row_sums: unsafe fn(&[f32], usize, usize, &mut [f32; PANEL]),
    transpose: unsafe fn(&[f32], usize, [usize; 2], &mut [f32], usize),
    adamw: Adam,
    squares: unsafe fn(&[f32]) -> f32,
    probabilities: unsafe fn(&mut [f32], usize, f32, f32),
    drop_row: unsafe fn(&mut [f32], u32, u32, u32, f32),
    /// Rounds to bf16.
    round: unsafe fn(&mut [f32]),
    /// Only reads memory, to measure the bandwidth; see `peak`.
    read: unsafe fn(&[f32]) -> f32,
    /// Only does arithmetic, to measure the peak rate; see `peak`.
    calculate: unsafe fn(usize) -> f32,
    /// Floats in a register.
    lanes: usize,
}

/// Products of integers.
#[derive(Clone, Copy)]
struct IntegerKernels {
    /// See [`IntDot`](int_dot::IntDot) for these four.
    group: usize,
    shift: i32,
    quant_bytes: usize,
    wide_bytes: usize,
    /// Indexed by [`Format`](gpt_plan::Format); `None` for formats that are not quantised.
    formats: [Option<QuantKernels>; gpt_plan::Format::ALL.len()],
    quantise: Quantise,
    calculate: unsafe fn(usize) -> f32,
}

/// The kernels of one quantised format.
#[derive(Clone, Copy)]
struct QuantKernels {
    row: IntegerRow,
    widen: unsafe fn(*const u8, usize, *mut u8),
    product: unsafe fn(&integer::IntegerProduct),
    /// See [`Scales`](scales::Scales) and [`Quants`](quants::Quants) for these three.
    shifted: bool,
    arrange: fn(&mut [u8], usize),
    restore: fn(&mut [u8], usize),
}

/// Products of pairs of bf16.
#[derive(Clone, Copy)]
struct PairKernels {
    product: unsafe fn(&Product<Bf16Pair, Bf16Pair>),
    gemv: unsafe fn(*const Bf16Pair, usize, *const Bf16Pair, *mut f32),
    pair_columns: unsafe fn(&[f32], &mut [Bf16Pair]),
    pair_rows: unsafe fn(*const f32, usize, [usize; 2], *mut Bf16Pair),
    calculate: unsafe fn(usize) -> f32,
}

/// Functions of one instruction set, each a call of a generic kernel.
macro_rules! functions {
    ($feature:tt $($name:ident($($arg:ident: $type:ty),*) -> $ret:ty = $generic:expr;)*) => {
        $(functions!(@function $feature $name($($arg: $type),*) -> $ret = $generic);)*
    };
    (@function [$($feature:meta)?] $name:ident($($arg:ident: $type:ty),*) -> $ret:ty = $generic:expr) => {
        $(#[$feature])?
        unsafe fn $name($($arg: $type),*) -> $ret {
            // SAFETY: the table is only handed out where the set was detected; the rest is the
            // generic kernel's contract.
            unsafe { $generic($($arg),*) }
        }
    };
}

/// Compiles the products of integers.
macro_rules! integer_set {
    ($module:ident, $dots:path, $wide:literal, $tile:literal, $(#[$feature:meta])?) => {
        mod $module {
            use super::integer::{self, IntegerProduct, QuantisedInputs};
            use super::int_dot::IntDot;
            use super::quants::Quants;
            use super::scales::Scales;
            use super::{IntegerKernels, QuantKernels, peak};
            use $dots as D;

            functions!([$($feature)?]
                quantise(x: &[f32], quants: *mut u8, scales: &mut [f32], sums: &mut [f32], starts: &mut [i32], halves: &mut [i32]) -> () = integer::quantise::<D>;
                calculate(iterations: usize) -> f32 = peak::calculate_dots::<D>;
            );

            $(#[$feature])?
            unsafe fn row<Q: Quants>(input: &QuantisedInputs, blocks: usize, panel: *const u8, out: *mut f32) {
                // SAFETY: as in `functions!`.
                unsafe { integer::row::<D, Q, $wide>(input, blocks, panel, out) }
            }

            $(#[$feature])?
            unsafe fn widen<Q: Quants>(panel: *const u8, blocks: usize, out: *mut u8) {
                // SAFETY: as in `functions!`.
                unsafe { integer::widen::<D, Q>(panel, blocks, out) }
            }

            $(#[$feature])?
            unsafe fn product<S: Scales>(p: &IntegerProduct) {
                // SAFETY: as in `functions!`.
                unsafe { integer::product::<D, S, $tile>(p) }
            }

            const fn of<Q: Quants>() -> QuantKernels {
                QuantKernels {
                    row: row::<Q>,
                    widen: widen::<Q>,
                    product: product::<Q::Scales>,
                    shifted: Q::Scales::SHIFTED,
                    arrange: Q::arrange,
                    restore: Q::restore,
                }
            }

            pub const KERNELS: IntegerKernels = IntegerKernels {
                group: D::GROUP,
                shift: D::SHIFT,
                quant_bytes: size_of::<<D as IntDot>::Quant>(),
                wide_bytes: D::WIDE_BYTES,
                formats: by_format!(of),
                quantise,
                calculate,
            };
        }
    };
}

/// Compiles the products of pairs of bf16.
macro_rules! pair_set {
    ($module:ident, $vector:path, $wide:literal, $tile:literal, $unroll:literal, $(#[$feature:meta])?) => {
        mod $module {
            use super::product::{self, Bf16Pair, Product};
            use super::{PairKernels, peak};
            use $vector as V;

            functions!([$($feature)?]
                product(p: &Product<Bf16Pair, Bf16Pair>) -> () = product::product::<V, Bf16Pair, $tile, $wide>;
                gemv(x: *const Bf16Pair, depth: usize, panel: *const Bf16Pair, out: *mut f32) -> () = product::gemv::<V, Bf16Pair, $wide, $unroll>;
                pair_columns(row: &[f32], out: &mut [Bf16Pair]) -> () = product::pair_columns::<V>;
                pair_rows(from: *const f32, stride: usize, shape: [usize; 2], out: *mut Bf16Pair) -> () = product::pair_rows::<V>;
                calculate(iterations: usize) -> f32 = peak::calculate_pairs::<V>;
            );

            pub const KERNELS: PairKernels = PairKernels { product, gemv, pair_columns, pair_rows, calculate };
        }
    };
}

/// Compiles every other kernel for one instruction set. A panel is `$wide` registers wide, and a
/// tile `$tile`. The product of a single row takes `$unroll` columns at a time, in separate sums.
/// Products of integers come from the module `$integers`.
macro_rules! instruction_set {
    ($module:ident, $isa:ident, $vector:path, $integers:ident, $wide:literal, $tile:literal, $unroll:literal, $(#[$feature:meta])?) => {
        mod $module {
            use super::learn::{self, AdamStep};
            use super::peak;
            use super::product::{self, Bf16, F16, Product};
            use super::rows::{self, Running};
            use super::vector::Vector;
            use super::{Isa, Kernels, PANEL};
            use $vector as V;

            functions!([$($feature)?]
                product(p: &Product) -> () = product::product::<V, f32, $tile, $wide>;
                product_f16(p: &Product<F16>) -> () = product::product::<V, F16, $tile, $wide>;
                product_bf16(p: &Product<Bf16>) -> () = product::product::<V, Bf16, $tile, $wide>;
                narrow_f16(row: &[f32], out: &mut [F16]) -> () = product::narrow::<V, F16>;
                narrow_bf16(row: &[f32], out: &mut [Bf16]) -> () = product::narrow::<V, Bf16>;
                gemv_f32(x: *const f32, depth: usize, panel: *const f32, out: *mut f32) -> () = product::gemv::<V, f32, $wide, $unroll>;
                gemv_f16(x: *const f32, depth: usize, panel: *const F16, out: *mut f32) -> () = product::gemv::<V, F16, $wide, $unroll>;
                gemv_bf16(x: *const f32, depth: usize, panel: *const Bf16, out: *mut f32) -> () = product::gemv::<V, Bf16, $wide, $unroll>;
                unpack_f16(panel: *const F16, depth: usize, out: *mut f32) -> () = product::unpack::<V, F16>;
                unpack_bf16(panel: *const Bf16, depth: usize, out: *mut f32) -> () = product::unpack::<V, Bf16>;
                layer_statistics(x: &[f32], eps: f32) -> [f32; 2] = rows::layer_statistics::<V>;
                rms_statistics(x: &[f32], eps: f32) -> [f32; 2] = rows::rms_statistics::<V>;
                normalise(x: &[f32], statistics: [f32; 2], gamma: &[f32], beta: &[f32], out: &mut [f32]) -> () = rows::normalise::<V>;
                softmax_block(scores: &mut [f32], seen: usize, scale: f32, state: &mut Running) -> f32 = rows::softmax_block::<V>;
                softcap(row: &mut [f32], scale: f32, cap: f32) -> () = rows::softcap::<V>;
                scale(row: &mut [f32], factor: f32) -> () = rows::scale::<V>;
                gelu(row: &mut [f32]) -> () = rows::gelu::<V>;
                gelu_tanh(row: &mut [f32]) -> () = rows::gelu_tanh::<V>;
                relu(row: &mut [f32]) -> () = rows::relu::<V>;
                silu(row: &mut [f32]) -> () = rows::silu::<V>;
                gelu_slopes(values: &mut [f32], slopes: &mut [f32]) -> () = learn::gelu_slopes::<V>;
                gelu_tanh_slopes(values: &mut [f32], slopes: &mut [f32]) -> () = learn::gelu_tanh_slopes::<V>;
                relu_slopes(values: &mut [f32], slopes: &mut [f32]) -> () = learn::relu_slopes::<V>;
                silu_slopes(values: &mut [f32], slopes: &mut [f32]) -> () = learn::silu_slopes::<V>;
                norm_backward(x: &[f32], dy: &[f32], gamma: &[f32], by: [f32; 3], out: &mut [f32], add: bool) -> () = learn::norm_backward::<V>;
                norm_sums(x: &[f32], dy: &[f32], stride: usize, stats: &[f32], gamma: &mut [f32; PANEL], beta: &mut [f32; PANEL]) -> () = learn::norm_sums::<V>;
                row_sums(x: &[f32], rows: usize, stride: usize, sums: &mut [f32; PANEL]) -> () = learn::row_sums::<V>;
                transpose(from: &[f32], stride: usize, shape: [usize; 2], out: &mut [f32], out_stride: usize) -> () = learn::transpose::<V>;
                adamw(p: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32], step: &AdamStep) -> () = learn::adamw::<V>;
                squares(x: &[f32]) -> f32 = learn::squares::<V>;
                probabilities(scores: &mut [f32], seen: usize, scale: f32, lse: f32) -> () = learn::probabilities::<V>;
                drop_row(row: &mut [f32], first: u32, key: u32, threshold: u32, scale: f32) -> () = learn::drop_row::<V>;
                round(row: &mut [f32]) -> () = learn::round::<V>;
                read(row: &[f32]) -> f32 = peak::read::<V>;
                calculate(iterations: usize) -> f32 = peak::calculate::<V>;
            );

            pub const KERNELS: Kernels = Kernels {
                isa: Isa::$isa,
                integers: super::$integers::KERNELS,
                pairs: None,
                product, gemv_f32, gemv_f16, gemv_bf16, unpack_f16, unpack_bf16, product_f16, product_bf16, narrow_f16, narrow_bf16,
                layer_statistics, rms_statistics, normalise, softmax_block, softcap, scale, gelu, gelu_tanh, relu, silu,
                gelu_slopes, gelu_tanh_slopes, relu_slopes, silu_slopes, norm_backward, norm_sums, row_sums, transpose, adamw, squares,
                probabilities, drop_row, round, read, calculate,
                lanes: <V as Vector>::LANES,
            };
        }
    };
}

#[cfg(target_arch = "x86_64")]
instruction_set!(avx512, Avx512, super::x86::Avx512, integers_avx512, 2, 2, 4, #[target_feature(enable = "avx512f,avx512bw")]);
#[cfg(target_arch = "x86_64")]
integer_set!(integers_avx512, super::x86::Avx512, 2, 2, #[target_feature(enable = "avx512f,avx512bw")]);
#[cfg(target_arch = "x86_64")]
integer_set!(integers_vnni, super::x86::Vnni, 2, 2, #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]);
#[cfg(target_arch = "x86_64")]
pair_set!(pairs_avx512, super::x86::Avx512, 2, 2, 4, #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]);
#[cfg(target_arch = "x86_64")]
instruction_set!(avx2, Avx2, super::x86::Avx2, integers_avx2, 4, 4, 2, #[target_feature(enable = "avx2,fma,f16c")]);
#[cfg(target_arch = "x86_64")]
integer_set!(integers_avx2, super::x86::Avx2, 4, 2, #[target_feature(enable = "avx2,fma,f16c")]);
#[cfg(target_arch = "aarch64")]
instruction_set!(neon_set, Neon, super::neon::Neon, integers_neon, 8, 2, 2,);
#[cfg(target_arch = "aarch64")]
integer_set!(integers_neon, super::neon::Neon, 8, 2,);
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
instruction_set!(wasm_set, Simd128, super::wasm::Simd128, integers_wasm, 8, 2, 1,);
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
integer_set!(integers_wasm, super::wasm::Simd128, 8, 2,);
instruction_set!(portable_set, Portable, super::portable::Portable, integers_portable, 4, 1, 1,);
integer_set!(integers_portable, super::portable::Portable, 4, 1,);
integer_set!(integers_portable_bytes, super::portable::Bytes, 4, 1,);
pair_set!(pairs_portable, super::portable::Portable, 4, 1, 1,);

#[cfg(target_arch = "x86_64")]
static AVX512: Kernels = avx512::KERNELS;
#[cfg(target_arch = "x86_64")]
static AVX512_VNNI: Kernels =
    Kernels { isa: Isa::Avx512Vnni, integers: integers_vnni::KERNELS, ..avx512::KERNELS };
#[cfg(target_arch = "x86_64")]
static AVX512_BF16: Kernels =
    Kernels { isa: Isa::Avx512Bf16, pairs: Some(pairs_avx512::KERNELS), ..AVX512_VNNI };
#[cfg(target_arch = "x86_64")]
static AVX2: Kernels = avx2::KERNELS;
#[cfg(target_arch = "aarch64")]
static NEON: Kernels = neon_set::KERNELS;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
static SIMD128: Kernels = wasm_set::KERNELS;
static PORTABLE: Kernels = portable_set::KERNELS;
static PORTABLE_BF16: Kernels = Kernels {
    isa: Isa::PortableBf16,
    integers: integers_portable_bytes::KERNELS,
    pairs: Some(pairs_portable::KERNELS),
    ..portable_set::KERNELS
};
