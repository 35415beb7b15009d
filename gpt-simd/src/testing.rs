//! Helpers for the tests of this crate and of packed matrices.

use crate::{IntegerKernels, Isa, Kernels, PairKernels, QuantKernels};

/// Runs `check` with the kernels of each available set in turn.
pub fn each(check: impl Fn(&Kernels)) {
    for isa in Isa::available() {
        check(isa.kernels().expect("an available set has kernels"));
    }
}

/// `n` pseudo-random numbers between -1 and 1.
pub fn noise(n: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..n).map(|_| next()).collect()
}

/// Fails unless `found` is `expected` to within 3e-7 times `scale`.
#[track_caller]
pub fn close(found: f32, expected: f64, scale: f64) {
    assert!(
        (f64::from(found) - expected).abs() <= 3e-7 * scale,
        "{found} is not {expected} (scale {scale})"
    );
}

/// The names of the fields of a value that are functions, each after a prefix. The fields of the
/// first list are left out. A field that is in neither list does not compile.
macro_rules! functions_of {
    ($value:expr, $type:ident, $prefix:literal, [$($other:ident),*], [$($name:ident),* $(,)?]) => {{
        let $type { $($other: _,)* $($name: _),* } = $value;
        [$(concat!($prefix, stringify!($name))),*]
    }};
}

/// The names of all kernels of a set. Products of integers have one name for all formats.
pub fn names(kernels: &Kernels) -> Vec<&'static str> {
    let mut names = functions_of!(
        kernels,
        Kernels,
        "",
        [isa, integers, pairs, lanes],
        [
            product,
            gemv_f32,
            gemv_f16,
            gemv_bf16,
            unpack_f16,
            unpack_bf16,
            product_f16,
            product_bf16,
            narrow_f16,
            narrow_bf16,
            layer_statistics,
            rms_statistics,
            normalise,
            softmax_block,
            softcap,
            scale,
            gelu,
            gelu_tanh,
            relu,
            silu,
            gelu_slopes,
            gelu_tanh_slopes,
            relu_slopes,
            silu_slopes,
            norm_backward,
            norm_sums,
            row_sums,
            transpose,
            adamw,
            squares,
            probabilities,
            drop_row,
            round,
            read,
            calculate,
        ]
    )
    .to_vec();
    names.extend(functions_of!(
        kernels.integers,
        IntegerKernels,
        "integers.",
        [group, shift, quant_bytes, wide_bytes, formats],
        [quantise, calculate]
    ));
    if let Some(format) = kernels.integers.formats.into_iter().flatten().next() {
        names.extend(functions_of!(
            format,
            QuantKernels,
            "integers.",
            [shifted],
            [row, widen, product, arrange, restore]
        ));
    }
    if let Some(pairs) = kernels.pairs {
        names.extend(functions_of!(
            pairs,
            PairKernels,
            "pairs.",
            [],
            [product, gemv, pair_columns, pair_rows, calculate]
        ));
    }
    names
}
