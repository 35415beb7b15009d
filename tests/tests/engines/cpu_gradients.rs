//! Compares the CPU engine's training with the oracle.

use std::sync::Arc;

use gpt_plan::{Plan, Spec};
use gpt_runtime::__private::cpu::{CpuDevice, CpuTrainer};
use gpt_runtime::__private::engine::{EngineTrainer, TrainerOptions};
use gpt_runtime::Error;
use gpt_runtime::weights::Weights;
use gpt_simd::Isa;
use gpt_tests::{specs, training};

/// The bound of a gradient's relative error.
const BOUND: f64 = 1e-5;

/// Creates trainers whose buffers are full of NaN.
fn engine(
    isa: Isa,
    threads: usize,
) -> impl Fn(&'static Plan, &dyn Weights, TrainerOptions) -> Result<Box<dyn EngineTrainer>, Error> {
    let device = Arc::new(CpuDevice::with_isa(isa, Some(threads)).unwrap());
    move |plan, weights, options| {
        let mut trainer = CpuTrainer::new(device.clone(), plan, None, weights, options)?;
        trainer.poison();
        Ok(Box::new(trainer))
    }
}

fn check(name: &str, spec: &Spec, isa: Isa, threads: usize) {
    training::check(name, spec, &engine(isa, threads), BOUND);
}

#[test]
fn shapes_beyond_one_block() {
    shapes(&Isa::available()[..1]);
}

#[test]
#[ignore = "long; CI runs it"]
fn shapes_beyond_one_block_on_other_instruction_sets() {
    shapes(&Isa::available()[1..]);
}

fn shapes(isas: &[Isa]) {
    for &isa in isas {
        for shape in training::large_shapes() {
            training::check_shape(&shape, &engine(isa, 2), BOUND);
        }
    }
}

#[test]
fn every_odd_spec() {
    // Two threads or one, in turn, because tests already occupy the cores.
    for (i, (name, spec)) in specs::odd().into_iter().enumerate() {
        check(name, &spec, Isa::available()[0], 2 - i % 2);
    }
}

#[test]
fn ignored_targets() {
    for (name, spec) in training::ignoring() {
        for isa in Isa::available() {
            training::check_ignored(name, &spec, &engine(isa, 2), BOUND);
        }
    }
}

#[test]
fn every_instruction_set() {
    for isa in Isa::available() {
        for (name, spec) in [("gpt2", specs::gpt2()), ("smollm2", specs::smollm2())] {
            check(&format!("{name} on {}", isa.name()), &spec, isa, 3);
        }
    }
}

/// Operands rounded to bf16 change gradients by about 2^-9, and the same batch gives the same bits.
#[test]
fn products_in_bf16() {
    use gpt_plan::{Format, Recompute};
    use gpt_runtime::__private::engine::{Precision, TensorState};
    use gpt_tests::oracle::Gpt;
    use gpt_tests::training::{Batch, check_same, expected, learn, options, read};
    use gpt_tests::unit_gain::UnitGain;

    let device = Arc::new(CpuDevice::new(Some(2)).unwrap());
    for (name, spec) in
        [("gpt2", specs::gpt2()), ("smollm2", specs::smollm2()), ("gpt1", specs::gpt1())]
    {
        let plan = specs::plan(name, &spec);
        let weights = UnitGain::new(plan, 5, Format::F32);
        let mut options = options(3, 33, Recompute::Nothing);
        options.precision = Precision::Bf16;
        let mut trainer = CpuTrainer::new(device.clone(), plan, None, &weights, options).unwrap();
        let batch = Batch::new(&spec, 3, 33, 0);
        let mut gradients = || {
            let options = learn(true, batch.rows());
            trainer.learn(&batch.sequences(), &options).unwrap();
            read(plan, &mut trainer, TensorState::Gradient)
        };
        let found = gradients();
        check_same(name, plan, &found, &gradients());
        let (exact, _) = expected(plan, &Gpt::new(plan, &weights).unwrap(), &[&batch]);
        let sum = |f: &dyn Fn(f64, f64) -> f64| {
            let pairs = found.concat().into_iter().map(f64::from).zip(exact.concat());
            pairs.map(|(found, exact)| f(found, exact)).sum::<f64>()
        };
        let error = (sum(&|f, e| (f - e).powi(2)) / sum(&|_, e| e * e)).sqrt();
        assert!((5e-4..3e-2).contains(&error), "{name}: {error}");
    }
}
