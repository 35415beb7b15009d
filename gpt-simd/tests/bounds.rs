//! Sizes that wrap around `usize` are rejected, not mistaken for short ones. Formats without a
//! kernel are rejected, too.

use std::panic::{AssertUnwindSafe, catch_unwind};

use gpt_plan::Format;

use gpt_simd::testing::each;
use gpt_simd::{
    BLOCK, Bf16Pair, Integers, Isa, Kernels, PANEL, Strided, StridedMut, WIDE_BLOCK, const_sizes,
};

/// A stride with which the end of the second row wraps around `usize`.
const WRAPS: usize = usize::MAX;

#[track_caller]
fn rejects(name: &str, kernels: &Kernels, call: impl FnOnce(&Kernels)) {
    let panic = catch_unwind(AssertUnwindSafe(|| call(kernels))).expect_err(name);
    let message = panic.downcast_ref::<String>().map(String::as_str);
    let message = message.or(panic.downcast_ref::<&str>().copied());
    let message = message.unwrap_or_default();
    assert!(message.contains("exceeds usize"), "{name}: {message}");
}

fn strided<E>(data: &[E], stride: usize) -> Strided<'_, E> {
    Strided { data, stride }
}

/// With `stride = usize::MAX`, `(rows - 1) * stride + width` wraps to less than `width`.
#[test]
fn strides_that_wrap_are_rejected() {
    each(|kernels| {
        let data = [0.0f32; 2 * PANEL];
        for (what, input, panel, stride) in [
            ("input", WRAPS, PANEL, PANEL),
            ("panel", 2, WRAPS, PANEL),
            ("output", 2, PANEL, WRAPS),
        ] {
            rejects(what, kernels, |k| {
                let mut out = [0.0; 2 * PANEL];
                let output = StridedMut { data: &mut out, stride };
                let (input, panel) = (strided(&data, input), strided(&data, panel));
                k.product(2, 2, input, panel, output, false);
            });
        }
        rejects("columns", kernels, |k| {
            let mut out = [0.0; 2 * PANEL];
            let output = StridedMut { data: &mut out, stride: PANEL };
            let input = strided(&data, WRAPS);
            k.product_of_columns(2, 2, input, strided(&data, PANEL), output, false);
        });
        rejects("transposed block", kernels, |k| {
            k.transpose(&data, WRAPS, [2, 8], &mut [0.0; 8 * PANEL], PANEL);
        });
        rejects("transposed output", kernels, |k| {
            k.transpose(&data, 8, [2, 8], &mut [0.0; 8 * PANEL], WRAPS);
        });
        rejects("copied rows", kernels, |k| {
            k.copy_rows(strided(&data, WRAPS), [2, 8], false, &mut [0.0; 16]);
        });
        rejects("summed rows", kernels, |k| {
            k.row_sums(&data, 2, WRAPS, &mut [0.0; PANEL]);
        });
        rejects("sums of a norm", kernels, |k| {
            let (mut gamma, mut beta) = ([0.0; PANEL], [0.0; PANEL]);
            k.norm_sums(&data, &data, WRAPS, &[0.0; 4], &mut gamma, &mut beta);
        });
        if kernels.has_pairs() {
            let pairs = || vec![Bf16Pair::default(); 4 * PANEL];
            rejects("pairs of rows", kernels, |k| {
                k.pair_rows(strided(&data, WRAPS), [2, 8], &mut pairs());
            });
            rejects("pairs of columns", kernels, |k| {
                k.pair_columns(strided(&data, WRAPS), [2, 8], &mut pairs());
            });
        }
    });
}

/// With 64 bits, `2^59` rows of 32 elements wrap to zero elements, the length of an empty panel.
#[test]
fn depths_that_wrap_are_rejected() {
    each(|kernels| {
        for format in Format::ALL.into_iter().filter(|f| !f.is_quantised()) {
            if kernels.group(format) == 1 {
                rejects("unpacked panel", kernels, |k| {
                    k.unpack(format, 1 << (usize::BITS - 5), &[], &mut []);
                });
            }
        }
        if kernels.wide_bytes(1) > 1 {
            rejects("widened weights", kernels, |k| {
                k.wide_bytes(usize::MAX);
            });
        }
    });
}

#[test]
fn rows_of_integers_that_wrap_are_rejected() {
    each(|kernels| {
        for format in Format::ALL.into_iter().filter(|f| f.is_quantised()) {
            let panel = vec![0u8; format.packed_bytes() * PANEL];
            let block = BLOCK * kernels.quant_bytes();
            let input = Integers {
                quants: &vec![0; block],
                scales: &[0.0],
                sums: &[0.0],
                starts: &[0],
                halves: &[0; 2],
                blocks: WRAPS,
            };
            rejects("rows of integers", kernels, |k| {
                let mut scratch = vec![0u8; k.wide_bytes(WIDE_BLOCK)];
                let wide = k.widen(format, 1, &panel, &mut scratch);
                let mut out = [0.0; 2 * PANEL];
                k.integer_product(format, [2, 1], input, &panel, wide, &mut out, false, &[]);
            });
            rejects("rows of integers from a block", kernels, |_| {
                input.from(2, 2);
            });
        }
    });
}

/// Calls `check` with a row of integers of one block, and a panel of one block.
fn with_one_block(check: impl FnOnce(Integers<'_>, &[u8])) {
    let kernels = Isa::Portable.kernels().expect("every processor has this set");
    let quants = vec![0; BLOCK * kernels.quant_bytes()];
    let panel = vec![0; Format::Q5.block_bytes() * PANEL];
    let (scales, sums, starts, halves) = (&[0.0], &[0.0], &[0], &[0; 2]);
    check(Integers { quants: &quants, scales, sums, starts, halves, blocks: 1 }, &panel);
}

#[test]
#[should_panic(expected = "neither Q8 nor Q4")]
fn a_row_of_constant_size_rejects_other_formats() {
    with_one_block(|input, panel| {
        let out = &mut [0.0; PANEL];
        const_sizes::integer_row::<1>(Isa::Portable, Format::Q5, &input, panel, out);
    });
}

#[test]
#[should_panic(expected = "neither Q8 nor Q4")]
fn a_product_of_constant_size_rejects_other_formats() {
    with_one_block(|input, panel| {
        let kernels = Isa::Portable.kernels().expect("every processor has this set");
        let mut scratch = vec![0u8; kernels.wide_bytes(WIDE_BLOCK)];
        let wide = kernels.widen(Format::Q5, 1, panel, &mut scratch);
        let out = &mut [0.0; 2 * PANEL];
        let format = Format::Q5;
        const_sizes::integer_product::<1, 1, 1>(
            Isa::Portable,
            format,
            &input,
            panel,
            wide,
            out,
            false,
        );
    });
}
