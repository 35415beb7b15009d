//! The odd specs, compiled by the macro: their plans equal those of the library, and their compiled
//! activations compute what the plan's formulas do.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use gpt_plan::{Format, Spec};
use gpt_runtime::__private::cpu::{CpuDevice, CpuModel};
use gpt_runtime::__private::engine::{CacheFormat, EngineModel, SessionOptions};
use gpt_runtime::Gpt;
use gpt_tests::unit_gain::UnitGain;
use gpt_tests::{for_each_model, specs, tokens};

fn spec_of(name: &str) -> Spec {
    let found = specs::odd().into_iter().find(|(n, _)| *n == name);
    found.unwrap_or_else(|| panic!("no spec is called {name}")).1
}

#[test]
fn a_compiled_plan_equals_the_runtime_plan() {
    static CHECKED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    fn check<M: Gpt>(name: &str) {
        let plan = M::plan();
        let expected = gpt_codegen::plan::plan(&plan.name, &spec_of(name));
        assert_eq!(plan.spec, expected.spec, "{name}");
        assert!(*plan == expected, "the plan of {name} differs");
        CHECKED.lock().unwrap().insert(name.to_owned());
    }
    for_each_model!(check);
    let odd: BTreeSet<String> = specs::odd().into_iter().map(|(name, _)| name.to_owned()).collect();
    assert_eq!(*CHECKED.lock().unwrap(), odd);
}

#[test]
fn a_compiled_activation_computes_what_its_formula_does() {
    fn check<M: Gpt>(name: &str) {
        let plan = M::plan();
        let device = Arc::new(CpuDevice::new(Some(2)).unwrap());
        for format in [Format::F32, Format::Q8] {
            let weights = UnitGain::new(plan, 9, format);
            let compiled =
                CpuModel::new(device.clone(), plan, Some(M::activation), &weights).unwrap();
            let evaluated = CpuModel::new(device.clone(), plan, None, &weights).unwrap();
            let tokens = tokens(plan.spec.vocab, plan.spec.context.min(9) as usize);
            let options = SessionOptions {
                capacity: plan.spec.context,
                chunk: plan.spec.context,
                all_logits: true,
                cache: CacheFormat::F32,
            };
            let trace = |model: &dyn EngineModel| {
                model.session(options).unwrap().trace(&tokens, 0).now().unwrap()
            };
            let (compiled, evaluated) = (trace(&compiled), trace(&evaluated));
            assert_eq!(compiled.len(), evaluated.len());
            for (a, b) in compiled.iter().zip(&evaluated) {
                let close = a
                    .values
                    .iter()
                    .zip(&b.values)
                    .all(|(a, b)| a == b || (a - b).abs() <= 1e-5 * b.abs().max(1.0));
                assert!(
                    (a.step, a.layer) == (b.step, b.layer) && close,
                    "{name}: {} of layer {}",
                    a.step,
                    a.layer
                );
            }
        }
    }
    for_each_model!(check);
}

#[test]
fn constants_match_the_papers() {
    use gpt_runtime::gpt_model;
    gpt_model! {
        pub struct Gpt2 { ..GPT2_SMALL }
        pub struct Gpt2Xl { ..GPT2_XL }
        pub struct SmolLm2 { ..SMOLLM2_135M }
        pub struct SmolLm2Larger { ..SMOLLM2_360M }
        pub struct Gpt1 { ..GPT1 }
    }
    assert_eq!(Gpt2::PARAMS, 124_439_808);
    assert_eq!(Gpt2Xl::PARAMS, 1_557_611_200);
    assert_eq!(SmolLm2::PARAMS, 134_515_008);
    assert_eq!(SmolLm2Larger::PARAMS, 361_821_120);
    assert_eq!(Gpt1::PARAMS, 116_534_784);
    assert_eq!(Gpt2::KV_BYTES_PER_TOKEN, 12 * 2 * 768 * 4);
    assert_eq!(Gpt2::FLOPS_PER_TOKEN, 2 * (12 * 12 * 768 * 768 + 50_257 * 768));
    assert_eq!((Gpt2::DECODE_DISPATCHES, Gpt2::PREFILL_DISPATCHES), (62, 62));
    assert_eq!(Gpt2::PLAN.kernels, Gpt2::KERNELS);
}

/// The generated code of an activation and its slope matches the plan's formula, for closures and
/// built-ins, forward and backward.
#[test]
fn a_compiled_activation_matches_the_plan() {
    use gpt_plan::Recompute;
    use gpt_runtime::__private::cpu::CpuTrainer;
    use gpt_runtime::__private::engine::{EngineTrainer, TensorState};
    use gpt_tests::training::{Batch, learn, options, read};

    fn check<M: Gpt>(name: &str) {
        let plan = M::plan();
        let device = Arc::new(CpuDevice::new(Some(2)).unwrap());
        let weights = UnitGain::new(plan, 9, Format::F32);
        let tokens = plan.spec.context.min(9);
        let batch = Batch::new(&plan.spec, 2, tokens, 0);
        let gradients = |activate| {
            let options = options(2, tokens, Recompute::Nothing);
            let mut trainer =
                CpuTrainer::new(device.clone(), plan, activate, &weights, options).unwrap();
            let options = learn(true, batch.rows());
            trainer.learn(&batch.sequences(), &options).unwrap();
            read(plan, &mut trainer, TensorState::Gradient).concat()
        };
        let compiled = gradients(Some(M::activate as fn(&mut [f32], &mut [f32])));
        let evaluated = gradients(None);
        let size = evaluated.iter().fold(0.0f32, |most, g| most.max(g.abs()));
        for (a, b) in compiled.iter().zip(&evaluated) {
            assert!((a - b).abs() <= 1e-6 * size, "{name}: {a} is not {b}");
        }
    }
    for_each_model!(check);
}

/// The memory of training is a constant of the model and equals the plan's sum.
#[test]
fn bytes_of_training_are_constants() {
    use gpt_plan::{Recompute, TrainBytes, TrainShape};
    use gpt_tests::models::{Gpt2, SmolLm2};

    const GPT2: TrainBytes = Gpt2::train_bytes(3, 64);
    const RECOMPUTING: TrainBytes = SmolLm2::train_bytes_with(2, 80, Recompute::Block);
    let shape = |batch, tokens, recompute| TrainShape { batch, tokens, recompute };
    assert_eq!(GPT2, Gpt2::PLAN.train_bytes(&shape(3, 64, Recompute::Nothing)));
    assert_eq!(RECOMPUTING, SmolLm2::PLAN.train_bytes(&shape(2, 80, Recompute::Block)));
    assert!(RECOMPUTING.activations < SmolLm2::train_bytes(2, 80).activations);
}
