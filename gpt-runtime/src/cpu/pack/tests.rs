//! Checks products of one row and of many rows with packed matrices of every format against f64,
//! with the kernels of every instruction set that this processor has.

use gpt_plan::Format;
use gpt_simd::testing::{close, each, noise};
use gpt_simd::{
    BLOCK, Bf16Pair, Integers, IntegersMut, Kernels, PANEL, Strided, StridedMut, WIDE_BLOCK,
};

use super::{Order, Packed};
use crate::cpu::device::CpuDevice;
use crate::cpu::memory::Arena;
use crate::weights::HostTensor;
use crate::weights::format::{decode, encode};

/// A panel of `format` with random content, in the layout of the instruction set, and its values
/// `[padded depth][32]`.
fn panel(kernels: &Kernels, format: Format, depth: usize) -> (Vec<u32>, Vec<f64>) {
    let padded = depth.next_multiple_of(format.block());
    let mut data = Vec::new();
    for lane in 0..PANEL {
        let start = data.len();
        encode(format, &noise(padded, 4 + lane as u64), &mut data);
        // Quants and fine scales are random. The scales of lanes differ.
        let small = if format.is_k_quant() { 0.05 } else { 1.0 };
        let d = half::f16::from_f32(small * (0.01 + lane as f32 / 999.0));
        let m = half::f16::from_f32(small * (-0.1 + lane as f32 / 500.0));
        let opening = [d.to_le_bytes(), m.to_le_bytes()].concat();
        let blocks = data[start..].chunks_mut(format.block_bytes());
        for (b, block) in blocks.enumerate().filter(|_| format.is_quantised()) {
            for (byte, x) in block.iter_mut().zip(noise(256, (start + b) as u64)) {
                *byte = (x * 128.0) as i8 as u8;
            }
            let at = if format == Format::Q6K { block.len() - 2 } else { 0 };
            block[at..][..2 * format.scales()].copy_from_slice(&opening[..2 * format.scales()]);
        }
    }
    let mut values = vec![0.0; padded * PANEL];
    for (lane, row) in data.chunks(format.row_bytes(padded)).enumerate() {
        let mut decoded = vec![0.0; padded];
        decode(format, row, &mut decoded);
        for (k, x) in decoded.into_iter().enumerate() {
            values[k * PANEL + lane] = f64::from(x);
        }
    }
    let tensor = HostTensor { format, rows: PANEL, columns: padded, data: data.into() };
    let device = CpuDevice::with_isa(kernels.isa, Some(1)).unwrap();
    let packed = Packed::new(&device, &Arena::default(), &tensor, Order::Straight).unwrap();
    (bytemuck::pod_collect_to_vec(packed.panel(0).1), values)
}

#[test]
fn one_row_and_unpacking_in_plain_formats() {
    each(|kernels| {
        let plain = |format: &Format| kernels.group(*format) == 1;
        let formats = Format::ALL.into_iter().filter(|f| !f.is_quantised());
        for format in formats.filter(plain) {
            for depth in [1usize, 31, 32, 33, 100, 256] {
                let (data, values) = panel(kernels, format, depth);
                let bytes: &[u8] = &bytemuck::cast_slice(&data)[..format.row_bytes(depth) * PANEL];
                let x = noise(depth, 5);
                let mut out = [f32::NAN; PANEL];
                kernels.gemv(format, &x, bytes, &mut out);
                let mut unpacked = vec![f32::NAN; depth * PANEL];
                kernels.unpack(format, depth, bytes, &mut unpacked);
                for lane in 0..PANEL {
                    let products = (0..depth).map(|k| f64::from(x[k]) * values[k * PANEL + lane]);
                    close(out[lane], products.sum(), 2.0 * depth as f64);
                    for k in 0..depth {
                        close(unpacked[k * PANEL + lane], values[k * PANEL + lane], 2.0);
                    }
                }
            }
        }
    });
}

/// Both operands are pairs of bf16. A pair holds neighbours in a row (for one row and for many), or
/// neighbours in a column.
#[test]
fn products_of_pairs() {
    let round = |x: f32| half::bf16::from_f32(x).to_f64();
    each(|kernels| {
        if !kernels.has_pairs() {
            return;
        }
        for (rows, depth) in [(1usize, 1usize), (2, 31), (3, 64), (4, 33), (7, 129), (25, 300)] {
            let stride = depth + 3;
            let x = noise(rows * stride, 5);
            let exact = |row: usize, values: &[f64], lane: usize| -> f64 {
                let products =
                    (0..depth).map(|k| round(x[row * stride + k]) * values[k * PANEL + lane]);
                products.sum()
            };
            let pairs = depth.div_ceil(2);
            let mut paired = vec![Bf16Pair(u32::MAX); rows * pairs + 1];
            let input = Strided { data: &x, stride };
            kernels.pair_columns(input, [rows, depth], &mut paired[..rows * pairs]);
            assert_eq!(paired[rows * pairs].0, u32::MAX, "wrote beyond the rows");
            let (data, values) = panel(kernels, Format::Bf16, depth);
            let data: &[Bf16Pair] = &bytemuck::cast_slice(&data)[..pairs * PANEL];
            let mut many = vec![f32::NAN; rows * PANEL];
            for add in [false, true] {
                let input = Strided { data: &paired, stride: pairs };
                let panel = Strided { data, stride: PANEL };
                let output = StridedMut { data: &mut many, stride: PANEL };
                kernels.product(rows, pairs, input, panel, output, add);
            }
            for row in 0..rows {
                let mut one = [f32::NAN; PANEL];
                kernels.gemv_pairs(&paired[row * pairs..][..pairs], data, &mut one);
                for lane in 0..PANEL {
                    let exact = exact(row, &values, lane);
                    close(one[lane], exact, 2.0 * depth as f64);
                    close(many[row * PANEL + lane], 2.0 * exact, 4.0 * depth as f64);
                }
            }
            // `rows` rows of `depth` columns: each column is a row of the product, and the rows are
            // its depth.
            let dy = noise(rows * PANEL, 8);
            let mut columns = vec![Bf16Pair(u32::MAX); rows.div_ceil(2) * depth];
            let mut panel = vec![Bf16Pair(u32::MAX); rows.div_ceil(2) * PANEL];
            kernels.pair_rows(input, [rows, depth], &mut columns);
            let of_dy = Strided { data: &dy, stride: PANEL };
            kernels.pair_rows(of_dy, [rows, PANEL], &mut panel);
            // The result would be the same if both operands were in the same wrong order.
            let bits = |row: usize, column: usize| match row < rows {
                true => half::bf16::from_f32(x[row * stride + column]).to_bits(),
                false => 0,
            };
            for (i, pair) in columns.iter().enumerate() {
                let (row, column) = (2 * (i / depth), i % depth);
                let expected =
                    u32::from(bits(row, column)) | u32::from(bits(row + 1, column)) << 16;
                assert_eq!(pair.0, expected, "pair {i} of {rows}x{depth}");
            }
            let mut out = vec![f32::NAN; depth * PANEL];
            let input = Strided { data: &columns, stride: depth };
            let panel = Strided { data: &panel, stride: PANEL };
            let output = StridedMut { data: &mut out, stride: PANEL };
            kernels.product_of_columns(depth, rows.div_ceil(2), input, panel, output, false);
            for column in 0..depth {
                for lane in 0..PANEL {
                    let products = (0..rows)
                        .map(|r| round(x[r * stride + column]) * round(dy[r * PANEL + lane]));
                    close(out[column * PANEL + lane], products.sum(), 2.0 * rows as f64);
                }
            }
        }
    });
}

/// Inputs whose magnitude differs from block to block are rounded to integers. The error of a
/// product is at most that of half a rounding step of each input.
#[test]
fn products_of_integers() {
    each(|kernels| {
        for format in Format::ALL.into_iter().filter(|f| f.is_quantised()) {
            for (rows, depth) in
                [(1usize, 1usize), (1, 100), (2, 31), (5, 64), (7, 33), (25, 300), (3, 512)]
            {
                let blocks = depth.div_ceil(BLOCK);
                let (data, values) = panel(kernels, format, depth);
                let panel_bytes = depth.div_ceil(format.block()) * format.packed_bytes() * PANEL;
                let bytes: &[u8] = &bytemuck::cast_slice(&data)[..panel_bytes];
                let mut x = noise(rows * depth, 5);
                for (i, x) in x.iter_mut().enumerate() {
                    *x *= 10f32.powi((i / BLOCK % 7) as i32 - 3);
                }
                let row_bytes = blocks * BLOCK * kernels.quant_bytes();
                let mut quants = vec![0x80; rows * row_bytes];
                let (mut scales, mut sums) =
                    (vec![f32::NAN; rows * blocks], vec![f32::NAN; rows * blocks]);
                let mut starts = vec![i32::MIN; rows * blocks];
                let mut halves = vec![i32::MIN; 2 * rows * blocks];
                for row in 0..rows {
                    let out = IntegersMut {
                        quants: &mut quants[row * row_bytes..][..row_bytes],
                        scales: &mut scales[row * blocks..][..blocks],
                        sums: &mut sums[row * blocks..][..blocks],
                        starts: &mut starts[row * blocks..][..blocks],
                        halves: &mut halves[2 * row * blocks..][..2 * blocks],
                    };
                    kernels.quantise(&x[row * depth..][..depth], out);
                }
                let input = Integers {
                    quants: &quants,
                    scales: &scales,
                    sums: &sums,
                    starts: &starts,
                    halves: &halves,
                    blocks,
                };
                let mut wide = vec![0x80; kernels.wide_bytes(blocks * WIDE_BLOCK)];
                let wide = kernels.widen(format, blocks, bytes, &mut wide);
                let mut many = vec![f32::NAN; rows * PANEL + 8];
                for add in [false, true] {
                    let shape = [rows, blocks];
                    kernels
                        .integer_product(format, shape, input, bytes, wide, &mut many, add, bytes);
                }
                assert!(many[rows * PANEL..].iter().all(|x| x.is_nan()));
                for row in 0..rows {
                    let mut one = [f32::NAN; PANEL];
                    kernels.integer_row(format, &input.from(row, 0), bytes, &mut one);
                    for lane in 0..PANEL {
                        let (mut exact, mut tolerance) = (0.0, 1e-6);
                        for k in 0..depth {
                            let (x, w) = (f64::from(x[row * depth + k]), values[k * PANEL + lane]);
                            let step = f64::from(scales[row * blocks + k / BLOCK]);
                            exact += x * w;
                            tolerance += 0.51 * step * (w.abs() + 0.5) + 3e-7 * (x * w).abs();
                        }
                        let found = [one[lane], many[row * PANEL + lane] / 2.0];
                        for found in found.map(f64::from) {
                            assert!(
                                (found - exact).abs() <= tolerance,
                                "{format:?} {rows}x{depth}: {found} is not {exact} (within {tolerance})"
                            );
                        }
                    }
                }
            }
        }
        // An infinity or a NaN shows in the scale of its block.
        for bad in [f32::NAN, f32::INFINITY] {
            let mut x = noise(BLOCK, 6);
            x[7] = bad;
            let (mut scales, mut sums) = ([0.0], [0.0]);
            let out = IntegersMut {
                quants: &mut vec![0; BLOCK * kernels.quant_bytes()],
                scales: &mut scales,
                sums: &mut sums,
                starts: &mut [0],
                halves: &mut [0; 2],
            };
            kernels.quantise(&x, out);
            assert!(!scales[0].is_finite());
        }
    });
}
