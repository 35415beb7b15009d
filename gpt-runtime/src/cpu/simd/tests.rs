//! Every kernel of every instruction set that this processor has, against f64, at lengths that divide nothing.

use gpt_plan::{Format, Norm};

use super::door::{Cell, Strided, StridedMut};
use super::product::{Brain, BrainPair, Half};
use super::*;

/// Each set by itself, so that a failure names it.
fn each(check: impl Fn(&Kernels)) {
    for isa in Isa::available() {
        println!("{}", isa.name());
        check(isa.kernels().expect("an available set has kernels"));
    }
}

fn noise(n: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..n).map(|_| next()).collect()
}

#[track_caller]
fn close(found: f32, expected: f64, scale: f64) {
    assert!(
        (f64::from(found) - expected).abs() <= 3e-7 * scale,
        "{found} is not {expected} (scale {scale})"
    );
}

#[test]
fn products_of_all_tile_heights() {
    each(|kernels| {
        for rows in [1, 2, 3, 5, 6, 7, 11, 12, 13, 25] {
            for depth in [1, 7, 64, 129] {
                let (stride, out_stride) = (depth + 3, 40);
                let (x, w) = (noise(rows * stride, 1), noise(depth * PANEL, 2));
                let mut out = vec![f32::NAN; rows * out_stride];
                for add in [false, true] {
                    let input = Strided { data: &x, stride };
                    let panel = Strided {
                        data: &w,
                        stride: PANEL,
                    };
                    let output = StridedMut {
                        data: &mut out,
                        stride: out_stride,
                    };
                    kernels.product(rows, depth, input, panel, output, add);
                }
                for row in 0..rows {
                    for lane in 0..PANEL {
                        let products = (0..depth).map(|k| {
                            f64::from(x[row * stride + k]) * f64::from(w[k * PANEL + lane])
                        });
                        close(
                            out[row * out_stride + lane],
                            2.0 * products.sum::<f64>(),
                            2.0 * depth as f64,
                        );
                    }
                    assert!(
                        out[row * out_stride + PANEL..][..8]
                            .iter()
                            .all(|x| x.is_nan()),
                        "wrote beside the panel"
                    );
                }
            }
        }
    });
}

/// A panel of `format` with random content, as the set wants it, and its values `[padded depth][32]`.
fn panel(kernels: &Kernels, format: Format, depth: usize) -> (Vec<u32>, Vec<f64>) {
    let group = kernels.group(format);
    let stands = |k: usize, lane: usize| (k / group * PANEL + lane) * group + k % group;
    let bytes = format.row_bytes(depth.next_multiple_of(group)) * PANEL;
    let padded = depth.next_multiple_of(format.block());
    let mut data: Vec<u8> = noise(bytes, 3)
        .iter()
        .map(|x| (x * 127.0) as i8 as u8)
        .collect();
    let mut values = vec![0.0; padded * PANEL];
    let half = |x: f32| half::f16::from_f32(x);
    match format {
        Format::F32 | Format::F16 | Format::Bf16 => {
            data.fill(0);
            for (i, x) in noise(depth * PANEL, 4).into_iter().enumerate() {
                let (stored, value): (Vec<u8>, f64) = match format {
                    Format::F32 => (x.to_le_bytes().into(), x.into()),
                    Format::F16 => (half(x).to_le_bytes().into(), half(x).to_f64()),
                    _ => (
                        half::bf16::from_f32(x).to_le_bytes().into(),
                        half::bf16::from_f32(x).to_f64(),
                    ),
                };
                let at = stands(i / PANEL, i % PANEL) * stored.len();
                data[at..][..stored.len()].copy_from_slice(&stored);
                values[i] = value;
            }
        }
        Format::Q8 | Format::Q4 => {
            let size = format.block_bytes() * PANEL;
            for (b, block) in data.chunks_mut(size).enumerate() {
                for lane in 0..PANEL {
                    let d = half(0.01 + lane as f32 / 999.0);
                    let m = half(-0.1 + lane as f32 / 500.0);
                    block[2 * lane..][..2].copy_from_slice(&d.to_le_bytes());
                    if format == Format::Q4 {
                        block[2 * PANEL + 2 * lane..][..2].copy_from_slice(&m.to_le_bytes());
                    }
                    for k in 0..32 {
                        let value = match format {
                            Format::Q8 => {
                                let byte = block[2 * PANEL + stands(k, lane)];
                                let quant = byte.wrapping_sub(kernels.shift() as u8) as i8;
                                d.to_f64() * f64::from(quant)
                            }
                            _ => {
                                let byte = block[4 * PANEL + stands(k % 16, lane)];
                                d.to_f64() * f64::from((byte >> (4 * (k / 16))) & 15) + m.to_f64()
                            }
                        };
                        values[(b * 32 + k) * PANEL + lane] = value;
                    }
                }
            }
        }
    }
    (bytemuck::pod_collect_to_vec(&data), values)
}

#[test]
fn one_row_and_unpacking_in_plain_formats() {
    each(|kernels| {
        let plain = |format: &Format| kernels.group(*format) == 1;
        for format in [Format::F32, Format::F16, Format::Bf16]
            .into_iter()
            .filter(plain)
        {
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

/// Both operands in pairs: rows of neighbours, one row and many; and columns, whose rows are paired.
#[test]
fn products_of_pairs() {
    let round = |x: f32| half::bf16::from_f32(x).to_f64();
    each(|kernels| {
        if !kernels.has_pairs() {
            return;
        }
        for (rows, depth) in [
            (1usize, 1usize),
            (2, 31),
            (3, 64),
            (4, 33),
            (7, 129),
            (25, 300),
        ] {
            let stride = depth + 3;
            let x = noise(rows * stride, 5);
            let exact = |row: usize, values: &[f64], lane: usize| -> f64 {
                let products =
                    (0..depth).map(|k| round(x[row * stride + k]) * values[k * PANEL + lane]);
                products.sum()
            };
            let pairs = depth.div_ceil(2);
            let mut paired = vec![BrainPair(u32::MAX); rows * pairs + 1];
            let input = Strided { data: &x, stride };
            kernels.pair_columns(input, [rows, depth], &mut paired[..rows * pairs]);
            assert_eq!(paired[rows * pairs].0, u32::MAX, "wrote beyond the rows");
            let (data, values) = panel(kernels, Format::Bf16, depth);
            let data: &[BrainPair] = &bytemuck::cast_slice(&data)[..pairs * PANEL];
            let mut many = vec![f32::NAN; rows * PANEL];
            for add in [false, true] {
                let input = Strided {
                    data: &paired,
                    stride: pairs,
                };
                let panel = Strided {
                    data,
                    stride: PANEL,
                };
                let output = StridedMut {
                    data: &mut many,
                    stride: PANEL,
                };
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
            // `rows` rows of `depth` columns: each column is a row of the product, rows are its depth.
            let dy = noise(rows * PANEL, 8);
            let mut columns = vec![BrainPair(u32::MAX); rows.div_ceil(2) * depth];
            let mut panel = vec![BrainPair(u32::MAX); rows.div_ceil(2) * PANEL];
            kernels.pair_rows(input, [rows, depth], &mut columns);
            let of_dy = Strided {
                data: &dy,
                stride: PANEL,
            };
            kernels.pair_rows(of_dy, [rows, PANEL], &mut panel);
            let mut out = vec![f32::NAN; depth * PANEL];
            let input = Strided {
                data: &columns,
                stride: depth,
            };
            let panel = Strided {
                data: &panel,
                stride: PANEL,
            };
            let output = StridedMut {
                data: &mut out,
                stride: PANEL,
            };
            kernels.product_of_columns(depth, rows.div_ceil(2), input, panel, output, false);
            for column in 0..depth {
                for lane in 0..PANEL {
                    let products = (0..rows)
                        .map(|r| round(x[r * stride + column]) * round(dy[r * PANEL + lane]));
                    close(
                        out[column * PANEL + lane],
                        products.sum(),
                        2.0 * rows as f64,
                    );
                }
            }
        }
    });
}

/// Few rows, as the heads of one token are, and many; panels as they stand in a cache.
#[test]
fn products_with_panels_of_a_rounded_cache() {
    fn check<E: Cell>(kernels: &Kernels, round: fn(f32) -> f32) {
        let depth = 70;
        let w = noise(depth * PANEL, 2);
        let mut narrowed = vec![E::default(); w.len()];
        // In rows of a length that no vector divides.
        for (row, out) in w.chunks(37).zip(narrowed.chunks_mut(37)) {
            E::narrow(kernels, row, out);
        }
        for (&w, n) in w.iter().zip(&narrowed) {
            assert_eq!(n.widened(), round(w));
        }
        for rows in [1, 3, 4, 5, 13] {
            let x = noise(rows * depth, 1);
            let mut out = vec![f32::NAN; rows * PANEL];
            let input = Strided {
                data: &x,
                stride: depth,
            };
            let panel = Strided {
                data: &narrowed,
                stride: PANEL,
            };
            let output = StridedMut {
                data: &mut out,
                stride: PANEL,
            };
            kernels.product(rows, depth, input, panel, output, false);
            for (i, out) in out.iter().enumerate() {
                let (row, lane) = (i / PANEL, i % PANEL);
                let products = (0..depth)
                    .map(|k| f64::from(x[row * depth + k]) * f64::from(round(w[k * PANEL + lane])));
                close(*out, products.sum(), depth as f64);
            }
        }
    }
    each(|kernels| {
        check::<f32>(kernels, |x| x);
        check::<Half>(kernels, |x| half::f16::from_f32(x).to_f32());
        check::<Brain>(kernels, |x| half::bf16::from_f32(x).to_f32());
        // What overflows, what is not a number, and ties.
        let odd = [
            f32::NAN,
            f32::INFINITY,
            1e30,
            -0.0,
            1.003_906_3,
            1.000_488_3,
            65_519.0,
        ];
        let mut out = [Half::default(); 7];
        Half::narrow(kernels, &odd, &mut out);
        let mut brains = [Brain::default(); 7];
        Brain::narrow(kernels, &odd, &mut brains);
        for (i, x) in odd.into_iter().enumerate().skip(1) {
            assert_eq!(out[i].0, half::f16::from_f32(x).to_bits(), "{x}");
            assert_eq!(brains[i].0, half::bf16::from_f32(x).to_bits(), "{x}");
        }
        assert!(out[0].widened().is_nan() && brains[0].widened().is_nan());
    });
}

/// Inputs of very different sizes, block by block, rounded; what a row comes to is off by no more than half a step of each input.
#[test]
fn products_of_integers() {
    each(|kernels| {
        for format in [Format::Q8, Format::Q4] {
            for (rows, depth) in [
                (1usize, 1usize),
                (1, 100),
                (2, 31),
                (5, 64),
                (7, 33),
                (25, 300),
            ] {
                let blocks = depth.div_ceil(BLOCK);
                let (data, values) = panel(kernels, format, depth);
                let bytes: &[u8] = &bytemuck::cast_slice(&data)[..format.row_bytes(depth) * PANEL];
                let mut x = noise(rows * depth, 5);
                for (i, x) in x.iter_mut().enumerate() {
                    *x *= 10f32.powi((i / BLOCK % 7) as i32 - 3);
                }
                let row_bytes = blocks * BLOCK * kernels.quant_bytes();
                let mut quants = vec![0x80; rows * row_bytes];
                let (mut scales, mut sums) =
                    (vec![f32::NAN; rows * blocks], vec![f32::NAN; rows * blocks]);
                let mut starts = vec![i32::MIN; rows * blocks];
                for row in 0..rows {
                    let out = IntegersMut {
                        quants: &mut quants[row * row_bytes..][..row_bytes],
                        scales: &mut scales[row * blocks..][..blocks],
                        sums: &mut sums[row * blocks..][..blocks],
                        starts: &mut starts[row * blocks..][..blocks],
                    };
                    kernels.quantise(&x[row * depth..][..depth], out);
                }
                let input = Integers {
                    quants: &quants,
                    scales: &scales,
                    sums: &sums,
                    starts: &starts,
                    blocks,
                };
                let mut wide = vec![0x80; kernels.wide_bytes(blocks * WIDE_BLOCK)];
                let wide = kernels.widen(format, bytes, &mut wide);
                let mut many = vec![f32::NAN; rows * PANEL + 8];
                for add in [false, true] {
                    kernels
                        .integer_product(format, rows, input, bytes, wide, &mut many, add, bytes);
                }
                assert!(many[rows * PANEL..].iter().all(|x| x.is_nan()));
                for row in 0..rows {
                    let mut one = [f32::NAN; PANEL];
                    kernels.integer_row(format, &input.part(row, 0), bytes, &mut one);
                    for lane in 0..PANEL {
                        let (mut exact, mut room) = (0.0, 1e-6);
                        for k in 0..depth {
                            let (x, w) = (f64::from(x[row * depth + k]), values[k * PANEL + lane]);
                            let step = f64::from(scales[row * blocks + k / BLOCK]);
                            exact += x * w;
                            room += 0.51 * step * (w.abs() + 0.5) + 3e-7 * (x * w).abs();
                        }
                        let found = [one[lane], many[row * PANEL + lane] / 2.0];
                        for found in found.map(f64::from) {
                            assert!(
                                (found - exact).abs() <= room,
                                "{format:?} {rows}x{depth}: {found} is not {exact} (within {room})"
                            );
                        }
                    }
                }
            }
        }
        // What is not finite stays so.
        for bad in [f32::NAN, f32::INFINITY] {
            let mut x = noise(BLOCK, 6);
            x[7] = bad;
            let (mut scales, mut sums) = ([0.0], [0.0]);
            let out = IntegersMut {
                quants: &mut vec![0; BLOCK * kernels.quant_bytes()],
                scales: &mut scales,
                sums: &mut sums,
                starts: &mut [0],
            };
            kernels.quantise(&x, out);
            assert!(!scales[0].is_finite());
        }
    });
}

#[test]
fn norms() {
    each(|kernels| {
        for n in [1, 2, 15, 16, 17, 100] {
            let (x, gamma, beta) = (noise(n, 6), noise(n, 7), noise(n, 8));
            let wide: Vec<f64> = x.iter().map(|&x| x.into()).collect();
            let mean = wide.iter().sum::<f64>() / n as f64;
            let variance = wide.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n as f64;
            let square = wide.iter().map(|x| x * x).sum::<f64>() / n as f64;
            let mut out = vec![f32::NAN; n];
            let stats = kernels.statistics(Norm::LayerNorm { eps: 1e-5 }, &x);
            kernels.normalise(&x, stats, &gamma, &beta, &mut out);
            for i in 0..n {
                let expected = (wide[i] - mean) / (variance + 1e-5).sqrt() * f64::from(gamma[i])
                    + f64::from(beta[i]);
                close(out[i], expected, 10.0);
            }
            let stats = kernels.statistics(Norm::RmsNorm { eps: 1e-5 }, &x);
            kernels.normalise(&x, stats, &gamma, &[], &mut out);
            for i in 0..n {
                close(
                    out[i],
                    wide[i] / (square + 1e-5).sqrt() * f64::from(gamma[i]),
                    10.0,
                );
            }
        }
    });
}

#[test]
fn activations_at_every_magnitude() {
    each(|kernels| {
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let xs: Vec<f32> = (-4000..=4001)
            .map(|i| i as f32 * 0.004)
            .chain([50.0, -50.0, 1e4, -1e4, 1e30])
            .collect();
        let check = |name: &str, f: &dyn Fn(&mut [f32]), exact: &dyn Fn(f64) -> f64| {
            let mut found = xs.clone();
            f(&mut found);
            for (&x, found) in xs.iter().zip(found) {
                let expected = exact(x.into());
                let error = (f64::from(found) - expected).abs();
                // The argument of an exponential is rounded to f32: an argument of 6 moves the result by 6 x 2^-24 of itself.
                assert!(
                    error <= 8e-7 * expected.abs().max(1e-2),
                    "{name}({x}) = {found}, not {expected}"
                );
            }
            let mut nan = [f32::NAN; 3];
            f(&mut nan);
            assert!(nan.iter().all(|x| x.is_nan()), "{name} hides NaN");
        };
        check("silu", &|row| kernels.silu(row), &|x| x * sigmoid(x));
        check("relu", &|row| kernels.relu(row), &|x| x.max(0.0));
        check("gelu_tanh", &|row| kernels.gelu_tanh(row), &|x| {
            x * sigmoid(2.0 * (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3)))
        });
        check("gelu", &|row| kernels.gelu(row), &|x| {
            // The integral of the normal density by Simpson's rule, from -10.
            let density = |t: f64| (-t * t / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
            if x < -10.0 {
                return 0.0;
            }
            let (from, to) = (-10.0, x.min(10.0));
            let step = (to - from) / 2000.0;
            let inner =
                |i: usize| density(from + i as f64 * step) * if i % 2 == 1 { 4.0 } else { 2.0 };
            x * step / 3.0 * (density(from) + (1..2000).map(inner).sum::<f64>() + density(to))
        });
    });
}

#[test]
fn a_softmax_in_blocks_is_the_softmax() {
    each(|kernels| {
        for n in [1, 5, 16, 17, 64, 150] {
            let scores: Vec<f32> = noise(n, 9).iter().map(|x| x * 30.0).collect();
            let scale = 0.7;
            let mut state = Running {
                max: f32::NEG_INFINITY,
                sum: 0.0,
            };
            let mut parts: Vec<(Vec<f32>, f32)> = Vec::new();
            for block in scores.chunks(32) {
                let mut padded = vec![f32::NAN; 32];
                padded[..block.len()].copy_from_slice(block);
                let shrink = kernels.softmax_block(&mut padded, block.len(), scale, &mut state);
                for (_, factor) in &mut parts {
                    *factor *= shrink;
                }
                assert!(
                    padded[block.len()..].iter().all(|&p| p == 0.0),
                    "what is not seen has no weight"
                );
                parts.push((padded, 1.0));
            }
            let max = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let exp = |s: f32| (f64::from(scale) * (f64::from(s) - f64::from(max))).exp();
            let total: f64 = scores.iter().map(|&s| exp(s)).sum();
            for (i, &s) in scores.iter().enumerate() {
                let (block, factor) = &parts[i / 32];
                close(block[i % 32] * factor / state.sum, exp(s) / total, 8.0);
            }
        }
    });
}

#[test]
fn activations_and_their_slopes_at_every_magnitude() {
    use gpt_plan::Activation;
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let density = |x: f64| (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
    // Integrated from the middle, by Simpson's rule.
    let phi = |x: f64| {
        let x = x.clamp(-12.0, 12.0);
        let step = x / 2000.0;
        let inner = (1..2000).map(|i| density(f64::from(i) * step) * [2.0, 4.0][i as usize % 2]);
        0.5 + step / 3.0 * (density(0.0) + inner.sum::<f64>() + density(x))
    };
    let root = 2.0 * (2.0 / std::f64::consts::PI).sqrt();
    let tanh_slope = |x: f64| {
        let s = sigmoid(root * (x + 0.044715 * x.powi(3)));
        s + x * s * (1.0 - s) * root * (1.0 + 3.0 * 0.044715 * x * x)
    };
    let slopes: [(Activation, &dyn Fn(f64) -> f64); 4] = [
        (Activation::Relu, &|x| f64::from(u8::from(x > 0.0))),
        (Activation::Silu, &|x| {
            sigmoid(x) * (1.0 + x * (1.0 - sigmoid(x)))
        }),
        (Activation::GeluTanh, &tanh_slope),
        (Activation::Gelu, &|x| phi(x) + x * density(x)),
    ];
    let xs: Vec<f32> = (-2000..=2001)
        .map(|i| i as f32 * 0.005)
        .chain([50.0, -50.0, 1e4, -1e4])
        .collect();
    each(|kernels| {
        for (activation, exact) in &slopes {
            let (mut values, mut found) = (xs.clone(), vec![f32::NAN; xs.len()]);
            kernels.with_slopes(activation, &mut values, &mut found);
            let mut plain = xs.clone();
            match activation {
                Activation::Relu => kernels.relu(&mut plain),
                Activation::Silu => kernels.silu(&mut plain),
                Activation::GeluTanh => kernels.gelu_tanh(&mut plain),
                _ => kernels.gelu(&mut plain),
            }
            for (i, &x) in xs.iter().enumerate() {
                let expected = exact(x.into());
                let error = (f64::from(found[i]) - expected).abs();
                assert!(
                    error <= 2e-6 * expected.abs().max(0.1),
                    "{activation:?}: the slope at {x} is {}, not {expected}",
                    found[i]
                );
                let apart = (values[i] - plain[i]).abs();
                assert!(apart <= 1e-6 * plain[i].abs(), "{activation:?}({x})");
            }
        }
    });
}

#[test]
fn rows_that_training_needs() {
    each(|kernels| {
        // Turned over, whole and in part.
        for rows in [1, 9, 32] {
            let from = noise(rows * 40, 1);
            let mut out = vec![f32::NAN; PANEL * 35];
            let mut padded = from.clone();
            padded.resize(32 * 40, 0.0);
            kernels.transpose(&padded, 40, rows, &mut out, 35);
            for j in 0..PANEL {
                for i in 0..PANEL {
                    let expected = if i < rows { from[i * 40 + j] } else { 0.0 };
                    assert_eq!(out[j * 35 + i], expected, "{rows} rows, ({i}, {j})");
                }
            }
        }
        // The columns of an input as rows.
        let (input, panel) = (noise(50 * 20, 2), noise(50 * PANEL, 3));
        let mut out = vec![1.0; 17 * PANEL];
        let strided = |data, stride| super::Strided { data, stride };
        let output = super::StridedMut {
            data: &mut out,
            stride: PANEL,
        };
        kernels.product_of_columns(
            17,
            50,
            strided(&input, 20),
            strided(&panel, PANEL),
            output,
            true,
        );
        for i in 0..17 {
            for lane in 0..PANEL {
                let products = (0..50)
                    .map(|k| f64::from(input[k * 20 + i]) * f64::from(panel[k * PANEL + lane]));
                close(out[i * PANEL + lane], 1.0 + products.sum::<f64>(), 100.0);
            }
        }
        // Rounded to the nearest bf16.
        let mut row = noise(37, 4);
        // The last two lie in the middle between two bf16.
        let ties = [0x3F80_8000, 0x3F81_8000].map(f32::from_bits);
        row.extend([f32::INFINITY, -0.0, 3.4e38].into_iter().chain(ties));
        let expected: Vec<f32> = row
            .iter()
            .map(|&x| half::bf16::from_f32(x).to_f32())
            .collect();
        kernels.round(&mut row);
        assert_eq!(row, expected);
    });
}
