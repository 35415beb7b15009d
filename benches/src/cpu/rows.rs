//! Operations on a row in two forms, with a length known at run time and with a constant length.

use std::hint::black_box;

use gpt_runtime::__private::plan::{Norm, NormKind};
use gpt_simd::{AdamStep, Isa, const_sizes};

use super::memory::Memory;
use crate::versus::{Forms, two};

/// LayerNorm of `rows` rows.
pub fn layer_norm<const WIDTH: usize>(rows: usize) -> Forms<'static> {
    const EPS: f32 = 1e-5;
    let isa = black_box(Isa::available()[0]);
    let kernels = isa.kernels().expect("an available set");
    two(move || {
        let (x, parameters) = (Memory::new(4 * rows * WIDTH), Memory::new(8 * WIDTH));
        let mut out = Memory::new(4 * rows * WIDTH);
        move |literal| {
            let (x, _) = x.floats().as_chunks::<WIDTH>();
            let (parameters, _) = parameters.floats().as_chunks::<WIDTH>();
            let [gamma, beta] = [&parameters[0], &parameters[1]];
            let (out, _) = out.floats_mut().as_chunks_mut::<WIDTH>();
            for (x, out) in x.iter().zip(&mut *out) {
                if literal {
                    const_sizes::layer_norm(isa, x, gamma, beta, out, EPS);
                } else {
                    let eps = f64::from(EPS);
                    let statistics = kernels
                        .statistics(Norm { kind: NormKind::Layer, eps, ..Norm::default() }, x);
                    let [x, gamma, beta] = [&x[..], gamma, beta].map(black_box);
                    kernels.normalise(x, statistics, gamma, beta, out);
                }
            }
            out[rows - 1]
        }
    })
}

/// The tanh approximation of GELU on `rows` rows, each copied and then changed in place.
pub fn gelu_tanh<const WIDTH: usize>(rows: usize) -> Forms<'static> {
    let isa = black_box(Isa::available()[0]);
    let kernels = isa.kernels().expect("an available set");
    two(move || {
        let x = Memory::new(4 * rows * WIDTH);
        let mut h = Memory::new(4 * rows * WIDTH);
        move |literal| {
            let (x, _) = x.floats().as_chunks::<WIDTH>();
            let (h, _) = h.floats_mut().as_chunks_mut::<WIDTH>();
            for (h, x) in h.iter_mut().zip(x) {
                *h = *x;
                if literal {
                    const_sizes::gelu_tanh(isa, h);
                } else {
                    kernels.gelu_tanh(black_box(&mut h[..]));
                }
            }
            h[rows - 1]
        }
    })
}

/// A step of AdamW on `tasks` times as many parameters as a thread takes at once.
pub fn adamw(tasks: usize) -> Forms<'static> {
    /// Parameters of one task.
    const TASK: usize = 1 << 16;
    let isa = black_box(Isa::available()[0]);
    let kernels = isa.kernels().expect("an available set");
    let step = AdamStep {
        rate: 1e-6,
        keep: 1.0 - 1e-7,
        beta1: 0.9,
        beta2: 0.99,
        eps: 1e-8,
        root: 1.0,
        shrink: 1.0,
    };
    two(move || {
        let [mut p, g, mut m, mut v] = [(); 4].map(|()| Memory::new(4 * tasks * TASK));
        v.floats_mut().iter_mut().for_each(|x| *x = x.abs());
        move |literal| {
            let (p, _) = p.floats_mut().as_chunks_mut::<TASK>();
            let (g, _) = g.floats().as_chunks::<TASK>();
            let (m, _) = m.floats_mut().as_chunks_mut::<TASK>();
            let (v, _) = v.floats_mut().as_chunks_mut::<TASK>();
            for (((p, g), m), v) in p.iter_mut().zip(g).zip(m).zip(v) {
                if literal {
                    const_sizes::adamw(isa, p, g, m, v, &step);
                } else {
                    let p = black_box(&mut p[..]);
                    kernels.adamw(p, g, m, v, &step);
                }
            }
            p[tasks - 1][TASK - 1]
        }
    })
}
