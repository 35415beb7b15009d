//! Attention over the cache: one token at several positions, and a prompt. `attention gpu` and
//! `attention loop` compare two forms, `attention cpu` times the engine's step; see `linear`.

use criterion::{Criterion, criterion_group, criterion_main};
use gpt_benches::cpu::{Model, products};
use gpt_benches::gpu::{Gpu, inference};
use gpt_benches::versus::{Work, alone, timed, versus};
use gpt_benches::{Gpt2, SmolLm2, phase};
use gpt_runtime::Gpt;
use gpt_runtime::{Format, Plan};

/// Returns the rows and the position of each pass: single tokens at several positions, then a
/// prompt.
fn shapes(plan: &Plan, prompt: u32) -> Vec<(u32, u32)> {
    let decode = [10, 500, 8000].into_iter().map(|position| (1, position));
    decode
        .chain([(prompt, 0)])
        .filter(|(rows, position)| rows + position <= plan.spec.context)
        .collect()
}

fn models() -> [(&'static str, &'static Plan); 2] {
    [("gpt2", Gpt2::plan()), ("smollm2", SmolLm2::plan())]
}

fn name(model: &str, rows: u32, position: u32) -> String {
    match rows {
        1 => format!("{model} decode at {position}"),
        _ => format!("{model} {}", phase(rows)),
    }
}

fn on_gpu(criterion: &mut Criterion) {
    let Some(gpu) = Gpu::if_any() else { return };
    for (model, plan) in models() {
        for (rows, position) in shapes(plan, gpu.prompt_rows()) {
            let job = inference::step(plan, "attention", Format::F32, rows, position);
            let name = name(model, rows, position);
            versus(criterion, "attention gpu", &name, job.work, || {
                gpu.forms(job.kernel, &job.sizes)
            });
        }
    }
}

fn on_cpu(criterion: &mut Criterion) {
    for (model, plan) in models() {
        let mut running = None;
        for (rows, position) in shapes(plan, 512) {
            let work = inference::attention(plan, rows, position);
            let name = name(model, rows, position);
            alone(criterion, "attention cpu", &name, work, |n| {
                let capacity = plan.spec.context;
                // Matrices are not read here; a small format packs faster.
                let running =
                    running.get_or_insert_with(|| Model::new(plan, Format::Q4, capacity, 512));
                timed(n, running.step("attention", rows, position))
            });
        }
    }
}

/// The products of a head over 512 keys: a prompt's 48 queries, and one token's queries that share
/// a key head.
fn loops(criterion: &mut Criterion) {
    let flops = |rows: u64| Work::Flops(4 * rows * 64 * 512);
    versus(criterion, "attention loop", "gpt2 prefill", flops(48), || {
        products::attention::<48, 768>(4)
    });
    versus(criterion, "attention loop", "gpt2 decode", flops(1), || {
        products::attention::<1, 64>(4)
    });
    versus(criterion, "attention loop", "smollm2 decode", flops(3), || {
        products::attention::<3, 64>(4)
    });
}

criterion_group!(benches, loops, on_cpu, on_gpu);
criterion_main!(benches);
