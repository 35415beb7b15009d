//! Compares the GPU engine's gradients with the oracle's, under conditions that must not change
//! them.

use std::sync::Arc;

use gpt_plan::{BufferId, Feature, Features, Format, Plan, Recompute, Spec};
use gpt_runtime::__private::engine::{
    EngineTrainer, Learn, Precision, TensorState, TrainerOptions,
};
use gpt_runtime::__private::gpu::{GpuDevice, GpuTrainer};
use gpt_runtime::Error;
use gpt_runtime::weights::Weights;
use gpt_tests::oracle::Gpt;
use gpt_tests::specs::Cover;
use gpt_tests::training::{self, Batch, check_same, check_tensors, learn, options, read};
use gpt_tests::unit_gain::UnitGain;
use gpt_tests::{gpu, specs};

/// The bound of a gradient's relative error.
const BOUND: f64 = 1e-5;

fn engine(
    device: Arc<GpuDevice>,
) -> impl Fn(&'static Plan, &dyn Weights, TrainerOptions) -> Result<Box<dyn EngineTrainer>, Error> {
    move |plan, weights, options| {
        let trainer = GpuTrainer::new(device.clone(), plan, weights, options)?;
        Ok(Box::new(trainer))
    }
}

fn check_covering(cover: Cover) {
    let Some(device) = gpu::device() else { return };
    for (name, spec) in specs::covering(cover, |plan| &plan.training.kernels) {
        training::check(&name, &spec, &engine(device.clone()), BOUND);
    }
}

#[test]
fn every_file() {
    check_covering(Cover::Files);
}

#[test]
fn ignored_targets() {
    let Some(device) = gpu::device() else { return };
    for (name, spec) in training::ignoring() {
        training::check_ignored(name, &spec, &engine(device.clone()), BOUND);
    }
}

#[test]
#[ignore = "long on a software adapter; CI runs it"]
fn every_pair_of_files() {
    check_covering(Cover::Pairs);
}

#[test]
#[ignore = "long on a software adapter; CI runs it"]
fn shapes_beyond_one_block() {
    let Some(device) = gpu::device() else { return };
    for shape in training::large_shapes() {
        training::check_shape(&shape, &engine(device.clone()), BOUND);
    }
}

/// Plain kernels, the default variants, and those with double buffers and broadcasts, each with
/// some specs and with two shapes larger than one block.
#[test]
#[ignore = "long on a software adapter; CI runs it"]
fn other_variants() {
    let double = Features::DEFAULT.with(Feature::DoubleBuffers);
    let sets = [Features::NONE, Features::DEFAULT, double.with(Feature::Broadcasts)];
    for (number, set) in sets.into_iter().enumerate() {
        let Some(device) = gpu::device_with(set) else {
            return;
        };
        for (i, (name, spec)) in specs::projections().into_iter().enumerate() {
            if i % sets.len() == number {
                training::check(name, &spec, &engine(device.clone()), BOUND);
            }
        }
        let shapes = training::large_shapes();
        for shape in [&shapes[0], &shapes[1 + number]] {
            training::check_shape(shape, &engine(device.clone()), BOUND);
        }
    }
}

fn trainer(
    device: &Arc<GpuDevice>,
    plan: &'static Plan,
    recompute: Recompute,
    part: u64,
) -> GpuTrainer {
    let weights = UnitGain::new(plan, 5, Format::F32);
    let options = options(3, plan.spec.context.min(33), recompute);
    GpuTrainer::in_parts(device.clone(), plan, &weights, options, part).unwrap()
}

/// Parameters split into bindings of a few rows give the same gradients. Unwritten memory is not
/// read, and padding stays zero.
#[test]
fn split_matrices_and_reused_buffers() {
    let Some(device) = gpu::device() else { return };
    for (name, spec) in specs::projections().into_iter().step_by(2) {
        let plan = specs::plan(name, &spec);
        let longest = plan.tensors.iter().map(|t| t.columns).max().unwrap_or(1);
        let weights = UnitGain::new(plan, 5, Format::F32);
        let gpt = Gpt::new(plan, &weights).unwrap();
        // Parts hold 64 of the longest rows, the minimum; the position table is never split.
        let part = u64::from(longest) * 4 * 64;
        let positions = 4 * u64::from(spec.context) * u64::from(spec.embed);
        let mut trainer = trainer(&device, plan, Recompute::Nothing, part.max(positions));
        let most = spec.context.min(33);
        for batch in [Batch::new(&spec, 3, most, 0), Batch::new(&spec, 2, most / 2 + 1, 0)] {
            let what = format!("{name} in parts, {} tokens", batch.tokens);
            trainer.poison();
            let options = learn(true, batch.rows());
            trainer.learn(&batch.sequences(), &options).unwrap();
            let found = read(plan, &mut trainer, TensorState::Gradient);
            let (gradients, _) = training::expected(plan, &gpt, &[&batch]);
            check_tensors(&what, plan, &found, &gradients, BOUND);
            let spilled = trainer.spilled().unwrap();
            assert_eq!(spilled, None::<BufferId>, "{what}: padding is not zero");
        }
    }
}

/// Recomputed activations are not read before they are written.
#[test]
fn recomputed_activations_in_reused_buffers() {
    let Some(device) = gpu::device() else { return };
    for (name, spec) in [("smollm2", specs::smollm2()), ("gpt1", specs::gpt1())] {
        let plan = specs::plan(name, &spec);
        let batch = Batch::new(&spec, 3, 33, 0);
        let mut trainer = trainer(&device, plan, Recompute::Block, gpt_plan::MAX_BINDING);
        let mut gradients = || {
            let options = learn(true, batch.rows());
            trainer.learn(&batch.sequences(), &options).unwrap();
            let gradients = read(plan, &mut trainer, TensorState::Gradient);
            trainer.poison();
            gradients
        };
        check_same(name, plan, &gradients(), &gradients());
    }
}

/// A chunk of logits holds eight rows of this vocabulary, so the head's gradients come from several
/// chunks, the last one ragged.
#[test]
fn a_head_in_chunks() {
    let Some(device) = gpu::device() else { return };
    let spec = Spec {
        vocab: 400_000,
        embed: 4,
        heads: 2,
        kv_heads: 2,
        head_dim: 2,
        layers: 1,
        ..specs::gpt2()
    };
    let plan = specs::plan("chunks", &spec);
    let weights = UnitGain::new(plan, 5, Format::F32);
    let gpt = Gpt::new(plan, &weights).unwrap();
    let batch = Batch::new(&spec, 3, 9, 0);
    let (gradients, losses) = training::expected(plan, &gpt, &[&batch]);
    let mut trainer = trainer(&device, plan, Recompute::Nothing, gpt_plan::MAX_BINDING);
    let options = learn(true, batch.rows());
    let loss = trainer.learn(&batch.sequences(), &options).unwrap();
    assert!((loss - losses[0]).abs() <= 1e-5 * losses[0], "{loss} is not {}", losses[0]);
    let found = read(plan, &mut trainer, TensorState::Gradient);
    check_tensors("a head in chunks", plan, &found, &gradients, BOUND);
}

/// Masks are a function of the pass's key: the same key gives the same gradients, with and without
/// recomputed activations, and another key gives different ones.
#[test]
fn masks_come_from_their_key() {
    let Some(device) = gpu::device() else { return };
    for (name, spec) in [("gpt1", specs::gpt1()), ("smollm2", specs::smollm2())] {
        let spec = Spec { dropout: 0.2, ..spec };
        let plan = specs::plan(name, &spec);
        let batch = Batch::new(&spec, 3, 33, 0);
        let gradients = |key, recompute| {
            let mut trainer = trainer(&device, plan, recompute, gpt_plan::MAX_BINDING);
            let options =
                Learn { dropout: gpt_plan::Dropout::new(0.2, key), ..learn(true, batch.rows()) };
            trainer.learn(&batch.sequences(), &options).unwrap();
            read(plan, &mut trainer, TensorState::Gradient)
        };
        let one = gradients(1, Recompute::Nothing);
        check_same(name, plan, &one, &gradients(1, Recompute::Block));
        assert!(one != gradients(2, Recompute::Nothing), "{name}: two masks");
    }
}

/// A step creates no buffer, bind group or pipeline. The test opens its own device, because other
/// tests create objects on the shared one.
#[test]
fn a_step_creates_nothing() {
    if gpu::device().is_none() {
        return;
    }
    let device = Arc::new(GpuDevice::open(None).unwrap());
    let spec = specs::gpt2();
    let plan = specs::plan("gpt2", &spec);
    let mut trainer = trainer(&device, plan, Recompute::Nothing, gpt_plan::MAX_BINDING);
    let batch = Batch::new(&spec, 3, 33, 0);
    let before = device.created();
    for step in 1..3 {
        let options = learn(true, batch.rows());
        trainer.learn(&batch.sequences(), &options).unwrap();
        trainer.update(&training::update(step)).unwrap();
        trainer.evaluate(&batch.sequences()).unwrap();
    }
    assert_eq!(device.created(), before);
}

/// An unsupported precision is rejected with a message that lists the supported ones.
#[test]
fn unsupported_precisions_are_rejected() {
    let Some(device) = gpu::device() else { return };
    let plan = specs::plan("gpt2", &specs::gpt2());
    let weights = UnitGain::new(plan, 5, Format::F32);
    let lacks = [Precision::Bf16].into_iter();
    for precision in lacks.chain((!device.has_f16()).then_some(Precision::F16)) {
        let options = TrainerOptions { precision, ..options(1, 8, Recompute::Nothing) };
        let error = GpuTrainer::new(device.clone(), plan, &weights, options).map(drop);
        let error = error.unwrap_err();
        assert!(error.is_input());
        let message = error.to_string();
        assert!(message.contains("trains in f32"), "{message}");
    }
}
