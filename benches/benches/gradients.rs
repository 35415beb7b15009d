//! The products of training: the forward pass with kept activations, the gradients of inputs and
//! weights, attention, and the loss with its gradient.
//!
//! `gradients gpu` and `gradients loop` compare two forms; see `linear`. On the CPU, forward
//! products and gradients of inputs run the loop that `linear` measures, and gradients of weights
//! run another one. The head is measured on 8192 rows of the vocabulary.

use criterion::{Criterion, criterion_group, criterion_main};
use gpt_benches::cpu::products;
use gpt_benches::gpu::{Gpu, training};
use gpt_benches::versus::{Work, versus};
use gpt_benches::{Gpt2, Nano, SmolLm2};
use gpt_runtime::Gpt;

const STEPS: [&str; 10] = [
    "qkv",
    "qkv_input",
    "qkv_weight",
    "attention",
    "mlp_up",
    "mlp_down_input",
    "head",
    "cross_entropy",
    "head_input",
    "head_weight",
];

fn on_gpu(criterion: &mut Criterion) {
    let Some(gpu) = Gpu::if_any() else { return };
    let models = [("gpt2", Gpt2::plan()), ("smollm2", SmolLm2::plan()), ("nano", Nano::plan())];
    for (model, plan) in models {
        for step in STEPS {
            let job = training::step(plan, step, 0, gpu.batch());
            let name = format!("{model} {step}");
            versus(criterion, "gradients gpu", &name, job.work, || {
                gpu.forms(job.kernel, &job.sizes)
            });
        }
    }
}

fn loops(criterion: &mut Criterion) {
    let flops = |outputs: u64, inputs: u64| Work::Flops(2 * 128 * outputs * inputs);
    versus(
        criterion,
        "gradients loop",
        "gpt2 qkv_weight",
        flops(2304, 768),
        products::gradient::<2304, 768>,
    );
    versus(
        criterion,
        "gradients loop",
        "nano mlp_up_weight",
        flops(512, 128),
        products::gradient::<512, 128>,
    );
}

criterion_group!(benches, loops, on_gpu);
criterion_main!(benches);
