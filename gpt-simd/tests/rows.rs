//! Kernels of rows, of every instruction set of this processor, compared with f64, also at lengths
//! that no vector length divides.

use gpt_plan::{Norm, NormKind};

use gpt_simd::testing::{close, each, noise};
use gpt_simd::{PANEL, Running, Strided, StridedMut};

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
            let stats = kernels
                .statistics(Norm { kind: NormKind::Layer, eps: 1e-5, ..Norm::default() }, &x);
            kernels.normalise(&x, stats, &gamma, &beta, &mut out);
            for i in 0..n {
                let expected = (wide[i] - mean) / (variance + 1e-5).sqrt() * f64::from(gamma[i])
                    + f64::from(beta[i]);
                close(out[i], expected, 10.0);
            }
            let stats =
                kernels.statistics(Norm { kind: NormKind::Rms, eps: 1e-5, ..Norm::default() }, &x);
            kernels.normalise(&x, stats, &gamma, &[], &mut out);
            for i in 0..n {
                close(out[i], wide[i] / (square + 1e-5).sqrt() * f64::from(gamma[i]), 10.0);
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
                // The argument of an exponential is rounded to f32: for an argument of 6, this
                // changes the result by up to 6 x 2^-24 of itself.
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
            let mut state = Running { max: f32::NEG_INFINITY, sum: 0.0 };
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
                    "scores that are not seen have no weight"
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
    // The integral of the density from 0, by Simpson's rule.
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
        (Activation::Silu, &|x| sigmoid(x) * (1.0 + x * (1.0 - sigmoid(x)))),
        (Activation::GeluTanh, &tanh_slope),
        (Activation::Gelu, &|x| phi(x) + x * density(x)),
    ];
    let xs: Vec<f32> =
        (-2000..=2001).map(|i| i as f32 * 0.005).chain([50.0, -50.0, 1e4, -1e4]).collect();
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
        // Transposes of whole and partial blocks.
        for (rows, columns) in [(1, 32), (9, 16), (32, 16), (32, 32)] {
            let from = noise(rows * 40, 1);
            let mut out = vec![f32::NAN; PANEL * 35];
            let mut padded = from.clone();
            padded.resize(32 * 40, 0.0);
            kernels.transpose(&padded, 40, [rows, columns], &mut out, 35);
            for j in 0..columns {
                for i in 0..PANEL {
                    let expected = if i < rows { from[i * 40 + j] } else { 0.0 };
                    assert_eq!(out[j * 35 + i], expected, "{rows} rows, ({i}, {j})");
                }
            }
            let untouched = columns * 35;
            assert!(out.get(untouched).is_none_or(|x| x.is_nan()), "{columns} columns");
        }
        // The columns of an input as rows.
        let (input, panel) = (noise(50 * 20, 2), noise(50 * PANEL, 3));
        let mut out = vec![1.0; 17 * PANEL];
        let strided = |data, stride| Strided { data, stride };
        let output = StridedMut { data: &mut out, stride: PANEL };
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
        let expected: Vec<f32> = row.iter().map(|&x| half::bf16::from_f32(x).to_f32()).collect();
        kernels.round(&mut row);
        assert_eq!(row, expected);
    });
}
