//! A step of AdamW, which reads four numbers of a parameter and writes three. It does not depend on
//! the model's sizes, so both forms should take the same time on a GPU, and on the CPU except for
//! the length of a loop.

use criterion::{Criterion, criterion_group, criterion_main};
use gpt_benches::Gpt2;
use gpt_benches::cpu::rows;
use gpt_benches::gpu::{Gpu, training};
use gpt_benches::versus::{Work, versus};
use gpt_runtime::Gpt;

/// Parameters: 64 MiB of each kind.
const PARAMETERS: u32 = 1 << 24;
/// Tasks of the thread.
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
