//! Training in f16 on a GPU: gradients compared with the oracle, the loss scale, and runs with
//! skipped steps.

use std::sync::Arc;

use gpt_plan::{Format, Plan, Recompute, Spec};
use gpt_runtime::__private::engine::{
    EngineTrainer, Learn, Precision, TensorState, TrainerOptions, Update,
};
use gpt_runtime::__private::gpu::{GpuDevice, GpuTrainer};
use gpt_runtime::train::{Batch as Sequences, RandomWindows, SavedRun, Tokens};
use gpt_runtime::weights::{RandomWeights, Weights};
use gpt_runtime::{AdamW, Device, Trainer, TrainerSettings};
use gpt_tests::oracle::Gpt;
use gpt_tests::training::{self, Batch, check_same, check_tensors, expected, learn, read};
use gpt_tests::unit_gain::UnitGain;
use gpt_tests::{gpu, specs};
use serde_json::Value;

/// The relative error of rounding to f16.
const UNIT: f64 = 1.0 / 2048.0;

/// The bound of a gradient's relative error: each of several products rounds two operands, and most
/// of the errors average out.
const BOUND: f64 = 8.0 * UNIT;

/// The initial loss scale on GPUs.
const SCALE: f32 = 65_536.0;

fn trainer(device: &Arc<GpuDevice>, plan: &'static Plan, recompute: Recompute) -> GpuTrainer {
    let weights = UnitGain::new(plan, 5, Format::F32);
    let options = TrainerOptions {
        precision: Precision::F16,
        ..training::options(3, plan.spec.context.min(33), recompute)
    };
    let trainer = GpuTrainer::new(device.clone(), plan, &weights, options).unwrap();
    assert_eq!(trainer.allocated(), plan.train_bytes(&options.shape));
    trainer
}

/// The gradients of `batch`. The loss is multiplied by `share` and `scale`, and the gradients are
/// divided by `scale` after the backward pass.
fn gradients(
    plan: &Plan,
    trainer: &mut GpuTrainer,
    batch: &Batch,
    share: f32,
    scale: f32,
) -> Vec<Vec<f32>> {
    let options = Learn { scale: share * scale / batch.rows() as f32, ..learn(true, batch.rows()) };
    trainer.learn(&batch.sequences(), &options).unwrap();
    let mut gradients = read(plan, trainer, TensorState::Gradient);
    gradients.iter_mut().flatten().for_each(|g| *g /= scale);
    gradients
}

/// The relative error of all gradients together.
fn distance(found: &[Vec<f32>], expected: &[Vec<f64>]) -> f64 {
    let (found, expected) = (found.concat(), expected.concat());
    let difference = found.iter().zip(&expected);
    let difference: f64 = difference.map(|(f, e)| (f64::from(*f) - e).powi(2)).sum();
    (difference / expected.iter().map(|e| e * e).sum::<f64>()).sqrt()
}

fn odd(names: &[&str]) -> impl Iterator<Item = (&'static str, Spec)> {
    let odd = specs::odd().into_iter();
    let found: Vec<_> = odd.filter(|(name, _)| names.contains(name)).collect();
    assert_eq!(found.len(), names.len());
    found.into_iter()
}

/// Gradients have the error of f16 rounding, no more and no less. The same batch and recomputed
/// activations give the same bits.
#[test]
fn gradients_match_the_oracle_up_to_rounding() {
    check_gradients(&["smollm2"]);
}

#[test]
#[ignore = "long on a software adapter; CI runs it"]
fn gradients_of_more_specs_match_the_oracle_up_to_rounding() {
    check_gradients(&["gpt1", "primes", "primes_gated"]);
}

fn check_gradients(names: &[&str]) {
    let Some(device) = gpu::device_with_f16() else {
        return;
    };
    for (name, spec) in odd(names) {
        let plan = specs::plan(name, &spec);
        let batch = Batch::new(&spec, 3, spec.context.min(33), 0);
        let gpt = Gpt::new(plan, &UnitGain::new(plan, 5, Format::F32)).unwrap();
        let (exact, losses) = expected(plan, &gpt, &[&batch]);
        let mut trainer = self::trainer(&device, plan, Recompute::Nothing);
        let found = gradients(plan, &mut trainer, &batch, 1.0, SCALE);
        check_tensors(name, plan, &found, &exact, BOUND);
        let distance = distance(&found, &exact);
        assert!(distance > UNIT / 4.0, "{name}: nothing is rounded");
        let loss = trainer.evaluate(&batch.sequences()).unwrap();
        let wrong = (loss / losses[0] - 1.0).abs();
        assert!(wrong < UNIT, "{name}: the loss is wrong by {wrong:e}");
        let again = gradients(plan, &mut trainer, &batch, 1.0, SCALE);
        check_same(name, plan, &found, &again);
        if name == "smollm2" {
            let mut recomputing = self::trainer(&device, plan, Recompute::Block);
            let again = gradients(plan, &mut recomputing, &batch, 1.0, SCALE);
            check_same(name, plan, &found, &again);
        }
    }
}

/// Gradients that underflow f16 survive only with the loss scale. An overflow skips the step and
/// changes nothing.
#[test]
fn small_gradients_survive_and_large_ones_change_nothing() {
    let Some(device) = gpu::device_with_f16() else {
        return;
    };
    let spec = specs::gpt2();
    let plan = specs::plan("gpt2", &spec);
    let batch = Batch::new(&spec, 3, 33, 0);
    let gpt = Gpt::new(plan, &UnitGain::new(plan, 5, Format::F32)).unwrap();
    let (mut exact, _) = expected(plan, &gpt, &[&batch]);
    let share = 2f32.powi(-18);
    let mut trainer = trainer(&device, plan, Recompute::Nothing);
    exact.iter_mut().flatten().for_each(|g| *g *= f64::from(share));
    let scaled = gradients(plan, &mut trainer, &batch, share, SCALE);
    check_tensors("scaled", plan, &scaled, &exact, BOUND);
    let bare = gradients(plan, &mut trainer, &batch, share, 1.0);
    let lost = distance(&bare, &exact);
    assert!(lost > 0.5, "without a scale they are wrong by {lost}");

    // The update divides by the scale, so it equals a step in f32 with these gradients.
    gradients(plan, &mut trainer, &batch, 1.0, SCALE);
    let found = read(plan, &mut trainer, TensorState::Gradient).concat();
    let square: f64 = found.iter().map(|g| f64::from(*g).powi(2)).sum();
    let norm = square.sqrt() / f64::from(SCALE);
    let update = Update { clip: Some((norm / 3.0) as f32), scale: SCALE, ..training::update(1) };
    let reported = trainer.update(&update).unwrap();
    assert!((reported / norm - 1.0).abs() < 1e-5, "{reported} is not {norm}");
    let moments = read(plan, &mut trainer, TensorState::FirstMoment).concat();
    for (moment, gradient) in moments.iter().zip(&found) {
        let expected = 0.1 / 3.0 * gradient / SCALE;
        assert!((moment - expected).abs() <= 1e-5 * expected.abs());
    }

    let states = [TensorState::Parameter, TensorState::FirstMoment, TensorState::SecondMoment];
    let before = states.map(|state| read(plan, &mut trainer, state));
    gradients(plan, &mut trainer, &batch, 1.0, 2f32.powi(30));
    let norm = trainer.update(&training::update(2)).unwrap();
    assert!(!norm.is_finite(), "a norm of {norm}");
    for (state, before) in states.into_iter().zip(&before) {
        let what = format!("{state:?} after a gradient that overflowed");
        check_same(&what, plan, before, &read(plan, &mut trainer, state));
    }
}

/// The current parameters of a trainer.
fn parameters(trainer: &mut Trainer) -> Vec<u8> {
    let plan = trainer.plan();
    let weights = trainer.weights();
    let tensors = plan.trained();
    let tensors = tensors.map(|(id, layer)| weights.tensor(id, layer).unwrap().data.to_vec());
    tensors.flatten().collect()
}

fn settings() -> TrainerSettings {
    TrainerSettings {
        // Batches of three, accumulated from two and one.
        batch: 2,
        tokens: Some(24),
        ..TrainerSettings::from(AdamW { lr: 1e-2, ..AdamW::default() })
    }
}

fn batch(number: u64, sequences: usize) -> Sequences {
    let text: Tokens = (0..900u32).map(|i| i * i % 89).collect::<Vec<_>>().into();
    let windows = RandomWindows::new(text, sequences, 24, 1).unwrap();
    windows.batch(number)
}

/// A run with too large a loss scale skips steps until it fits. A run stopped among the skipped
/// steps resumes bit for bit.
#[test]
#[ignore = "long on a software adapter; CI runs it"]
fn a_run_skips_overflows_and_resumes_exactly() {
    if gpu::device_with_f16().is_none() {
        return;
    }
    let plan = specs::plan("Learner", &specs::smollm2());
    let device = Device::gpu().unwrap();
    let resume = |folder: &tempfile::TempDir| -> Trainer {
        let saved = SavedRun::latest(folder).unwrap().unwrap();
        let settings = TrainerSettings { precision: Precision::F16, ..saved.settings().clone() };
        Trainer::resume_plan(plan, &device, &saved, settings).unwrap()
    };
    // Two steps in f32, so that there are moments; then f16.
    let folder = tempfile::tempdir().unwrap();
    let weights = RandomWeights::new(plan, 1, Format::F32);
    let cpu = Device::cpu().unwrap();
    let mut begun = Trainer::from_plan(plan, &cpu, &weights, settings()).unwrap();
    for number in 0..2 {
        begun.step(&batch(number, 3)).unwrap();
    }
    let state = begun.save(&folder, &Value::Null).unwrap();
    let state = state.join("state.json");
    let text = std::fs::read_to_string(&state).unwrap();
    assert!(!text.contains("loss_scale"), "f32 has none: {text}");
    let scale =
        "\"loss_scale\": { \"value\": 134217728.0, \"good\": 1, \"skipped\": 0 }, \"caller\"";
    std::fs::write(&state, text.replace("\"caller\"", scale)).unwrap();

    let step = |trainer: &mut Trainer| {
        let loss = trainer.step(&batch(trainer.steps(), 3)).unwrap();
        let scale = trainer.loss_scale().unwrap();
        (loss, trainer.steps(), trainer.skipped(), scale)
    };
    let mut whole = resume(&folder);
    let before = parameters(&mut whole);
    let mut steps = vec![step(&mut whole)];
    let (_, made, skipped, scale) = steps[0];
    assert_eq!((made, skipped, scale), (2, 1, 67_108_864.0));
    assert!(parameters(&mut whole) == before, "a skipped step moved something");
    while whole.steps() < 5 {
        steps.push(step(&mut whole));
    }
    let last = steps[steps.len() - 1];
    assert!(last.2 > 2 && last.3 == 134_217_728.0 / 2f32.powi(last.2 as i32), "{steps:?}");
    assert_eq!(steps.len() as u64, 3 + last.2);

    let stopped = tempfile::tempdir().unwrap();
    let mut first = resume(&folder);
    let mut halves = vec![step(&mut first), step(&mut first)];
    assert_eq!(first.steps(), 2);
    first.save(&stopped, &Value::Null).unwrap();
    drop(first);
    let mut second = resume(&stopped);
    while second.steps() < 5 {
        halves.push(step(&mut second));
    }
    assert_eq!(halves, steps);
    assert!(parameters(&mut second) == parameters(&mut whole));
}

/// With a batch so large that the gradient of a token nearly underflows, a step differs from a step
/// in f32 by less than a percent.
#[test]
#[ignore = "long on a software adapter; CI runs it"]
fn a_trainer_scales_the_loss() {
    if gpu::device_with_f16().is_none() {
        return;
    }
    let plan = specs::plan("Learner", &specs::gpt2());
    let moved = |device, precision| {
        let settings = TrainerSettings { batch: 64, precision, ..settings() };
        let weights = RandomWeights::new(plan, 1, Format::F32);
        let mut trainer = Trainer::from_plan(plan, &device, &weights, settings).unwrap();
        let before = parameters(&mut trainer);
        trainer.step(&batch(0, 1024)).unwrap();
        assert_eq!((trainer.steps(), trainer.skipped()), (1, 0));
        let after = parameters(&mut trainer);
        let values = |bytes: &[u8]| -> Vec<f32> {
            let bytes = bytes.as_chunks().0.iter();
            bytes.map(|b| f32::from_le_bytes(*b)).collect()
        };
        let pairs = values(&after).into_iter().zip(values(&before));
        pairs.map(|(a, b)| a - b).collect::<Vec<f32>>()
    };
    let exact = moved(Device::cpu().unwrap(), Precision::F32);
    let found = moved(Device::gpu().unwrap(), Precision::F16);
    let size: f32 = exact.iter().map(|x| x.abs()).sum();
    let away = exact.iter().zip(&found).map(|(a, b)| (a - b).abs());
    let away = away.sum::<f32>() / size;
    assert!(away < 0.01, "{away}");
}
