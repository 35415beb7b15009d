//! Products of one row and of many rows with f32 panels, and with panels of a cache in f16 or bf16,
//! compared with f64; conversions of f16. Products with packed matrices are tested where these are
//! packed: `gpt-runtime`, `cpu/pack`.

use gpt_plan::Format;
use gpt_simd::testing::{close, each, noise};
use gpt_simd::{Bf16, CacheElement, F16, Kernels, PANEL, Strided, StridedMut};

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
                    let panel = Strided { data: &w, stride: PANEL };
                    let output = StridedMut { data: &mut out, stride: out_stride };
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
                        out[row * out_stride + PANEL..][..8].iter().all(|x| x.is_nan()),
                        "wrote beside the panel"
                    );
                }
            }
        }
    });
}

/// Few rows, like the heads of one token, and many; panels in the layout of a KV cache.
#[test]
fn products_with_panels_of_a_rounded_cache() {
    fn check<E: CacheElement>(kernels: &Kernels, round: fn(f32) -> f32) {
        let depth = 70;
        let w = noise(depth * PANEL, 2);
        let mut narrowed = vec![E::default(); w.len()];
        // Rows of a length that no vector length divides.
        for (row, out) in w.chunks(37).zip(narrowed.chunks_mut(37)) {
            E::narrow(kernels, row, out);
        }
        for (&w, n) in w.iter().zip(&narrowed) {
            assert_eq!(n.to_f32(), round(w));
        }
        for rows in [1, 3, 4, 5, 13] {
            let x = noise(rows * depth, 1);
            let mut out = vec![f32::NAN; rows * PANEL];
            let input = Strided { data: &x, stride: depth };
            let panel = Strided { data: &narrowed, stride: PANEL };
            let output = StridedMut { data: &mut out, stride: PANEL };
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
        check::<F16>(kernels, |x| half::f16::from_f32(x).to_f32());
        check::<Bf16>(kernels, |x| half::bf16::from_f32(x).to_f32());
        // Overflow, NaN, and ties.
        let odd = [f32::NAN, f32::INFINITY, 1e30, -0.0, 1.003_906_3, 1.000_488_3, 65_519.0];
        let mut out = [F16::default(); 7];
        F16::narrow(kernels, &odd, &mut out);
        let mut bf16s = [Bf16::default(); 7];
        Bf16::narrow(kernels, &odd, &mut bf16s);
        for (i, x) in odd.into_iter().enumerate().skip(1) {
            assert_eq!(out[i].0, half::f16::from_f32(x).to_bits(), "{x}");
            assert_eq!(bf16s[i].0, half::bf16::from_f32(x).to_bits(), "{x}");
        }
        assert!(out[0].to_f32().is_nan() && bf16s[0].to_f32().is_nan());
    });
}

/// Every f16 there is: zeros, subnormal numbers, infinities and NaN, too.
#[test]
fn all_f16_are_converted() {
    let all: Vec<u16> = (0..=u16::MAX).collect();
    // A buffer of `u32`s has the alignment of panels.
    let mut panel = vec![0u32; all.len() / 2];
    bytemuck::cast_slice_mut(&mut panel).copy_from_slice(&all);
    each(|kernels| {
        let mut wide = vec![0.0; all.len()];
        let depth = all.len() / PANEL;
        kernels.unpack(Format::F16, depth, bytemuck::cast_slice(&panel), &mut wide);
        let mut narrow = vec![F16::default(); all.len()];
        F16::narrow(kernels, &wide, &mut narrow);
        for ((bits, wide), narrow) in all.iter().zip(&wide).zip(&narrow) {
            let expected = half::f16::from_bits(*bits).to_f32();
            if expected.is_nan() {
                assert!(wide.is_nan() && narrow.to_f32().is_nan(), "{bits:#06x}");
            } else {
                assert_eq!(wide.to_bits(), expected.to_bits(), "{bits:#06x}");
                assert_eq!(narrow.0, *bits, "{bits:#06x}");
            }
        }
    });
}
