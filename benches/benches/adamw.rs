//! A step of AdamW: four numbers of a parameter are read and three written, and nothing in it depends on a model's sizes. So its two forms should take the same
//! time, on a GPU and, but for the length of a loop, on the CPU.

use criterion::{Criterion, criterion_group, criterion_main};
use gpt_benches::Gpt2;
use gpt_benches::cpu::rows;
use gpt_benches::gpu::{Gpu, training};
use gpt_benches::versus::{Work, versus};
use gpt_runtime::Gpt;

/// Parameters: 64 MiB of each kind.
const PARAMETERS: u32 = 1 << 24;
/// Tasks of a thread that they are.
const TASKS: usize = (PARAMETERS >> 16) as usize;

fn adamw(criterion: &mut Criterion) {
    let work = Work::Bytes(7 * 4 * u64::from(PARAMETERS));
    versus(criterion, "adamw loop", "16 M parameters", work, || {
        rows::adamw(TASKS)
    });
    let Some(gpu) = Gpu::if_any() else { return };
    let job = training::adamw(Gpt2::plan(), PARAMETERS);
    versus(criterion, "adamw gpu", "16 M parameters", job.work, || {
        gpu.forms(job.kernel, &job.sizes)
    });
}

criterion_group!(benches, adamw);
criterion_main!(benches);
