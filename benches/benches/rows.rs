//! Norms and activations, two forms of each. The GPU engine fuses them into projections, except for
//! norms in training; the CPU engine runs them as separate loops.

use criterion::{Criterion, criterion_group, criterion_main};
use gpt_benches::cpu::rows;
use gpt_benches::gpu::{Gpu, training};
use gpt_benches::versus::{Work, versus};
use gpt_benches::{Gpt2, SmolLm2};
use gpt_runtime::Gpt;

/// Rows of each measurement.
const ROWS: usize = 64;

fn loops(criterion: &mut Criterion) {
    // Each element is read and written.
    let bytes = |width: usize| Work::Bytes((2 * 4 * ROWS * width) as u64);
    versus(criterion, "norm loop", "gpt2", bytes(768), || rows::layer_norm::<768>(ROWS));
    versus(criterion, "norm loop", "bard", bytes(192), || rows::layer_norm::<192>(ROWS));
    versus(criterion, "gelu_tanh loop", "gpt2", bytes(3072), || rows::gelu_tanh::<3072>(ROWS));
}

fn on_gpu(criterion: &mut Criterion) {
    let Some(gpu) = Gpu::if_any() else { return };
    let shape = gpu.batch();
    for (model, plan) in [("gpt2", Gpt2::plan()), ("smollm2", SmolLm2::plan())] {
        let job = training::step(plan, "attn_norm", 0, shape);
        versus(criterion, "norm gpu", model, job.work, || gpu.forms(job.kernel, &job.sizes));
    }
}

criterion_group!(benches, loops, on_gpu);
criterion_main!(benches);
