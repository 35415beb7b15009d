//! Training runs through the public API on both engines: losses agree, and a resumed run equals an
//! uninterrupted one.

use gpt_plan::{Format, Plan, Recompute, Spec};
use gpt_runtime::train::{RandomWindows, SavedRun, Schedule, Tokens};
use gpt_runtime::weights::RandomWeights;
use gpt_runtime::{AdamW, Device, Trainer, TrainerSettings};
use gpt_tests::{gpu, specs};
use serde_json::Value;

/// Steps of the whole run.
const STEPS: u64 = 8;
/// Steps before the run is stopped and resumed.
const HALF: u64 = 5;

struct Run {
    plan: &'static Plan,
    device: Device,
    settings: TrainerSettings,
    data: RandomWindows,
}

impl Run {
    fn new(spec: Spec, device: &Device) -> Run {
        let text: Tokens = (0..900u32).map(|i| i * i % 89).collect::<Vec<_>>().into();
        Run {
            plan: specs::plan("Learner", &Spec { dropout: 0.1, ..spec }),
            device: device.clone(),
            settings: TrainerSettings {
                // Batches of three, accumulated from two and one.
                batch: 2,
                tokens: Some(24),
                schedule: Schedule::cosine(2, STEPS, 1e-4),
                ema: Some(0.5),
                ..TrainerSettings::from(AdamW { lr: 1e-2, ..AdamW::default() })
            },
            data: RandomWindows::new(text, 3, 24, 1).unwrap(),
        }
    }

    fn begin(&self) -> Trainer {
        let weights = RandomWeights::new(self.plan, 1, Format::F32);
        let settings = self.settings.clone();
        Trainer::from_plan(self.plan, &self.device, &weights, settings).unwrap()
    }

    fn learn(&self, trainer: &mut Trainer, until: u64) -> Vec<f64> {
        let mut losses = Vec::new();
        while trainer.steps() < until {
            losses.push(trainer.step(&self.data.batch(trainer.steps())).unwrap());
        }
        losses
    }
}

fn resumes_exactly(spec: Spec, device: &Device) {
    let run = Run::new(spec, device);
    let mut trainer = run.begin();
    let whole = run.learn(&mut trainer, STEPS);
    assert!(whole[STEPS as usize - 1] < whole[0] - 0.3, "{whole:?}");
    let folder = tempfile::tempdir().unwrap();
    let mut first = run.begin();
    let mut halves = run.learn(&mut first, HALF);
    first.save(&folder, &Value::Null).unwrap();
    drop(first);
    let saved = SavedRun::latest(&folder).unwrap().unwrap();
    let settings = saved.settings().clone();
    let mut second = Trainer::resume_plan(run.plan, device, &saved, settings).unwrap();
    halves.extend(run.learn(&mut second, STEPS));
    assert_eq!(halves, whole);
    // The average of the parameters is the same, too, and is not the parameters.
    let batch = run.data.batch(STEPS);
    let averaged =
        |trainer: &mut Trainer| trainer.with_average(|trainer| trainer.loss(&batch)).unwrap();
    let average = averaged(&mut trainer);
    assert_eq!(averaged(&mut second), average);
    assert_ne!(trainer.loss(&batch).unwrap(), average);
    assert_eq!(trainer.loss(&batch).unwrap(), second.loss(&batch).unwrap());
}

#[test]
fn a_run_resumes_exactly_on_the_cpu() {
    for spec in [specs::gpt2(), specs::smollm2()] {
        resumes_exactly(spec, &Device::cpu().unwrap());
    }
}

/// One spec only, because a software adapter takes seconds to compile a trainer's kernels.
#[test]
fn a_run_resumes_exactly_on_a_gpu() {
    if gpu::device().is_some() {
        resumes_exactly(specs::smollm2(), &Device::gpu().unwrap());
    }
}

/// A profiled step has the same effect as an ordinary one.
fn profiling_changes_nothing(device: &Device) {
    // Whole batches, because a profile does not accumulate.
    let mut run = Run::new(specs::gpt2(), device);
    run.settings.batch = 3;
    let (mut timed, mut plain) = (run.begin(), run.begin());
    for step in 0..3 {
        let batch = run.data.batch(step);
        let profile = timed.profile(&batch).unwrap();
        plain.step(&batch).unwrap();
        assert!(profile.times.iter().all(|time| time.seconds > 0.0));
        let runs = |name| profile.times.iter().find(|time| time.name == name).map(|time| time.runs);
        assert_eq!(runs("attention"), Some(run.plan.spec.layers as usize));
    }
    let batch = run.data.batch(3);
    assert_eq!(timed.steps(), plain.steps());
    assert_eq!(timed.step(&batch).unwrap(), plain.step(&batch).unwrap());
    run.settings.batch = 2;
    let refused = run.begin().profile(&batch).unwrap_err().to_string();
    assert!(refused.contains("the batch has 3 sequences"), "{refused}");
}

#[test]
fn profiling_changes_nothing_on_the_cpu() {
    profiling_changes_nothing(&Device::cpu().unwrap());
}

#[test]
fn profiling_changes_nothing_on_a_gpu() {
    if gpu::device().is_some() {
        profiling_changes_nothing(&Device::gpu().unwrap());
    }
}

#[test]
fn less_memory_makes_the_same_steps() {
    let mut run = Run::new(specs::gpt2(), &Device::cpu().unwrap());
    let whole = run.learn(&mut run.begin(), STEPS);
    run.settings.recompute = Recompute::Block;
    let recomputed = run.learn(&mut run.begin(), STEPS);
    for (a, b) in recomputed.iter().zip(&whole) {
        assert!((a / b - 1.0).abs() < 1e-5, "{recomputed:?} and {whole:?}");
    }
}

#[test]
fn both_engines_learn_the_same() {
    if gpu::device().is_none() {
        return;
    }
    let losses = |device| {
        let run = Run::new(specs::gpt2(), &device);
        run.learn(&mut run.begin(), STEPS)
    };
    let (cpu, gpu) = (losses(Device::cpu().unwrap()), losses(Device::gpu().unwrap()));
    for (a, b) in cpu.iter().zip(&gpu) {
        assert!((a / b - 1.0).abs() < 1e-4, "{cpu:?} and {gpu:?}");
    }
}

/// A spec without dropout has no masks in its training pass, so both engines refuse a request for
/// dropout.
#[test]
fn dropout_is_refused_where_the_spec_has_none() {
    let plan = specs::plan("Plain", &specs::odd()[0].1);
    assert_eq!(plan.spec.dropout, 0.0);
    let weights = RandomWeights::new(plan, 1, Format::F32);
    let mut devices = vec![Device::cpu().unwrap()];
    if gpu::device().is_some() {
        devices.push(Device::gpu().unwrap());
    }
    for device in devices {
        let with = |dropout| {
            let settings = TrainerSettings { batch: 1, dropout, ..TrainerSettings::default() };
            Trainer::from_plan(plan, &device, &weights, settings).map(drop)
        };
        let message = with(Some(0.1)).unwrap_err().to_string();
        assert!(message.starts_with("the model has no dropout"), "{message}");
        with(Some(0.0)).unwrap();
        with(None).unwrap();
    }
}
