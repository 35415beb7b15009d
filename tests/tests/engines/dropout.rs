//! Engines drop the same elements as the oracle: compares the gradients of a batch with dropout,
//! for every odd spec on the CPU and for some of them on a GPU.

use std::sync::Arc;

use gpt_plan::{Dropout, Format, Recompute, Spec};
use gpt_runtime::__private::cpu::{CpuDevice, CpuTrainer};
use gpt_runtime::__private::engine::{Learn, TensorState};
use gpt_runtime::__private::gpu::GpuTrainer;
use gpt_tests::gpu;
use gpt_tests::oracle::Gpt;
use gpt_tests::specs;
use gpt_tests::training::{Batch, Engine, check_tensors, options, read};
use gpt_tests::unit_gain::UnitGain;

fn check(specs: Vec<(&str, Spec)>, engine: Engine<'_>, bound: f64) {
    for (name, spec) in specs {
        // A plan has dropout only if its spec does.
        let spec = Spec { dropout: 0.2, ..spec };
        let plan = specs::plan(name, &spec);
        let weights = UnitGain::new(plan, 5, Format::F32);
        let gpt = Gpt::new(plan, &weights).unwrap();
        // A number of keys that no block size divides.
        let tokens = spec.context.min(35);
        let batch = Batch::new(&spec, 3, tokens, 0);
        let dropout = Dropout::new(spec.dropout, 77);
        let (loss, gradients) = gpt.batch_gradients(&batch.sequences(), dropout);
        let expected: Vec<Vec<f64>> = plan
            .trained()
            .map(|(id, layer)| gradients.tensor(&spec, &plan.tensor(id).name, layer).to_vec())
            .collect();
        // Recomputed activations drop the same elements.
        for recompute in [Recompute::Nothing, Recompute::Block] {
            let what = format!("{name}, recompute {recompute:?}");
            let mut trainer = engine(plan, &weights, options(3, tokens, recompute)).unwrap();
            let learn = Learn { first: true, scale: 1.0 / batch.rows() as f32, dropout };
            let found = trainer.learn(&batch.sequences(), &learn).unwrap();
            let found = found / f64::from(batch.rows());
            assert!(
                (found - loss).abs() <= 3e-6 * loss + 1e-9,
                "{what}: the loss is {found}, not {loss}"
            );
            let found = read(plan, &mut *trainer, TensorState::Gradient);
            check_tensors(&what, plan, &found, &expected, bound);
        }
    }
}

#[test]
fn the_cpu_engine_drops_the_same_elements() {
    let device = Arc::new(CpuDevice::new(Some(2)).unwrap());
    check(
        specs::odd(),
        &|plan, weights, options| {
            let trainer = CpuTrainer::new(device.clone(), plan, None, weights, options)?;
            Ok(Box::new(trainer))
        },
        1e-5,
    );
}

#[test]
#[ignore = "long on a software adapter; CI runs it"]
fn the_gpu_engine_drops_the_same_elements() {
    let Some(device) = gpu::device() else { return };
    check(
        specs::projections(),
        &|plan, weights, options| {
            let trainer = GpuTrainer::new(device.clone(), plan, weights, options)?;
            Ok(Box::new(trainer))
        },
        1e-5,
    );
}
