//! A step of AdamW, which reads four numbers per parameter and writes three. It does not depend on
//! the model's sizes, so both forms should take the same time. On the CPU, the specialised form
//! knows the length of its loop.

use criterion::{Criterion, criterion_group, criterion_main};
use gpt_benches::Gpt2;
use gpt_benches::cpu::rows;
use gpt_benches::gpu::{Gpu, training};
use gpt_benches::versus::{Work, versus};
use gpt_runtime::Gpt;

/// Number of parameters. Parameters, gradients and both moments take 64 MiB each.
const PARAMETERS: u32 = 1 << 24;
/// Number of tasks of 65,536 parameters each. On the CPU, one thread runs all of them.
const TASKS: usize = (PARAMETERS >> 16) as usize;

fn adamw(criterion: &mut Criterion) {
    let work = Work::Bytes(7 * 4 * u64::from(PARAMETERS));
    versus(criterion, "adamw loop", "16 M parameters", work, || rows::adamw(TASKS));
    let Some(gpu) = Gpu::if_any() else { return };
    let job = training::adamw(Gpt2::plan(), PARAMETERS);
    versus(criterion, "adamw gpu", "16 M parameters", job.work, || {
        gpu.forms(job.kernel, &job.sizes)
    });
}

criterion_group!(benches, adamw);
criterion_main!(benches);
