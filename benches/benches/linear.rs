//! Projections for one token and for a prompt.
//!
//! `linear gpu` and `linear loop` compare two forms, with sizes known at compile time and at run
//! time. `linear cpu` times the engine's step on all threads: norm, product and epilogue, with
//! sizes known at run time. `linear loop` is the product's inner loop on one thread, over all
//! panels of a matrix, for 1 or 96 rows of inputs.

use criterion::{Criterion, criterion_group, criterion_main};
use gpt_benches::cpu::{Model, products};
use gpt_benches::gpu::{Gpu, inference};
use gpt_benches::versus::{Forms, Work, alone, timed, versus};
use gpt_benches::{Bard, Gpt2, SmolLm2, phase};
use gpt_runtime::Gpt;
use gpt_runtime::{Format, Plan};

const STEPS: [&str; 5] = ["qkv", "attention_out", "mlp_up", "mlp_down", "head"];

/// Position of the decoded token.
const POSITION: u32 = 127;

fn models() -> [(&'static str, &'static Plan, &'static [Format]); 3] {
    use Format::{Bf16, F32, Q4, Q8};
    [
        ("gpt2", Gpt2::plan(), &[F32, Bf16, Q8, Q4]),
        ("smollm2", SmolLm2::plan(), &[F32, Q4]),
        ("bard", Bard::plan(), &[F32, Q8]),
    ]
}

fn on_gpu(criterion: &mut Criterion) {
    let Some(gpu) = Gpu::if_any() else { return };
    for (model, plan, formats) in models() {
        for step in STEPS {
            for &format in formats {
                for rows in [1, gpu.prompt_rows().min(plan.spec.context)] {
                    let position = if rows == 1 { POSITION } else { 0 };
                    let job = inference::step(plan, step, format, rows, position);
                    let name = format!("{model} {step} {} {}", format.name(), phase(rows));
                    versus(criterion, "linear gpu", &name, job.work, || {
                        gpu.forms(job.kernel, &job.sizes)
                    });
                }
            }
        }
    }
}

fn on_cpu(criterion: &mut Criterion) {
    for (name, plan, formats) in models() {
        let prompt = plan.spec.context.min(512);
        for &format in formats {
            let mut model = None;
            for step in STEPS {
                for rows in [1, prompt] {
                    let position = if rows == 1 { POSITION } else { 0 };
                    let work = inference::step(plan, step, format, rows, position).work;
                    let name = format!("{name} {step} {} {}", format.name(), phase(rows));
                    alone(criterion, "linear cpu", &name, work, |n| {
                        let model =
                            model.get_or_insert_with(|| Model::new(plan, format, prompt, prompt));
                        timed(n, model.step(step, rows, position))
                    });
                }
            }
        }
    }
}

/// The inner loops of a matrix of `$rows` by `$depth` in four formats.
macro_rules! loops {
    ($criterion:ident, $name:literal, $rows:literal, $depth:literal) => {{
        const BLOCKS: usize = $depth / 32;
        // Depth and blocks of the last slice of a panel.
        const REST: usize = ($depth - 1) % 128 + 1;
        const REST_BLOCKS: usize = (BLOCKS - 1) % 8 + 1;
        for format in [Format::F32, Format::Bf16, Format::Q8, Format::Q4] {
            let quantised = format.block() > 1;
            let bytes = Work::Bytes(($rows * format.row_bytes($depth)) as u64);
            let name = |phase: &str| format!("{} {} {phase}", $name, format.name());
            versus($criterion, "linear loop", &name("decode"), bytes, || -> Forms<'_> {
                if quantised {
                    products::integer_row::<BLOCKS>(format, $rows)
                } else {
                    products::row::<$depth, { $depth / 2 }>(format, $rows)
                }
            });
            let flops = Work::Flops((2 * products::ROWS * $rows * $depth) as u64);
            if !quantised && products::pairs(format) {
                eprintln!(
                    "linear loop/{} is left out: its loop over pairs of values has only one form",
                    name("prefill")
                );
                continue;
            }
            versus($criterion, "linear loop", &name("prefill"), flops, || {
                if quantised {
                    products::integer_many::<BLOCKS, REST_BLOCKS>(format, $rows)
                } else {
                    products::many::<$depth, REST>(format, $rows)
                }
            });
        }
    }};
}

fn loops(criterion: &mut Criterion) {
    loops!(criterion, "gpt2 qkv", 2304, 768);
    loops!(criterion, "gpt2 mlp_down", 768, 3072);
    loops!(criterion, "smollm2 qkv", 960, 576);
    loops!(criterion, "smollm2 mlp_down", 576, 1536);
    loops!(criterion, "bard qkv", 576, 192);
}

criterion_group!(benches, loops, on_cpu, on_gpu);
criterion_main!(benches);
