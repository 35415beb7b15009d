use gpt_plan::Spec;
use serde_json::json;

use super::*;
use crate::train::{AdamW, Batch, Masking, Objective, RandomWindows, Schedule, Tokens};
use crate::weights::{RandomWeights, testing};

fn settings() -> TrainerSettings {
    TrainerSettings {
        batch: 3,
        schedule: Schedule::cosine(2, 20, 1e-4),
        ..TrainerSettings::from(AdamW { lr: 1e-2, ..AdamW::default() })
    }
}

fn batch(number: u64) -> Batch {
    let text: Tokens = (0..500u32).map(|i| i * i % 37).collect::<Vec<_>>().into();
    RandomWindows::new(text, 3, 8, 1).unwrap().batch(number)
}

fn trainer(plan: &'static Plan) -> Trainer {
    let weights = RandomWeights::new(plan, 1, Format::F32);
    Trainer::from_plan(plan, &Device::cpu().unwrap(), &weights, settings()).unwrap()
}

fn steps_of(trainer: &mut Trainer, n: u64) -> Vec<u64> {
    let steps = (0..n).map(|_| trainer.step(&batch(trainer.steps())).unwrap().to_bits());
    steps.collect()
}

/// Covers the tensor names and file layouts of both model families.
#[test]
fn a_run_that_was_stopped_goes_on_bit_for_bit() {
    for spec in [testing::gpt2_spec(), testing::llama_spec()] {
        let plan = testing::plan(&Spec { dropout: 0.1, ..spec });
        let folder = tempfile::tempdir().unwrap();
        let mut whole = trainer(plan);
        let losses = steps_of(&mut whole, 9);
        let mut first = trainer(plan);
        assert_eq!(steps_of(&mut first, 4), losses[..4]);
        first.save(&folder, &json!({ "position": 4 })).unwrap();
        drop(first);
        let saved = SavedRun::latest(&folder).unwrap().unwrap();
        assert_eq!((saved.step(), &saved.caller()["position"]), (4, &json!(4)));
        assert_eq!(*saved.settings(), settings());
        let device = Device::cpu().unwrap();
        let mut second =
            Trainer::resume_plan(plan, &device, &saved, saved.settings().clone()).unwrap();
        assert_eq!(steps_of(&mut second, 5), losses[4..]);
        for (id, layer) in plan.trained() {
            for state in
                [TensorState::Parameter, TensorState::FirstMoment, TensorState::SecondMoment]
            {
                let a = whole.parameters().values(state, id, layer).unwrap();
                let b = second.parameters().values(state, id, layer).unwrap();
                assert!(a == b, "{:?} {}", state, plan.tensor(id).name);
            }
        }
    }
}

/// Hidden tokens are functions of the seed and the number of windows, so a run of masked tokens
/// resumes bit for bit, too. It resumes with the same objective only.
#[test]
fn a_run_that_learns_masked_tokens_goes_on() {
    let mask = gpt_plan::Pattern::all(gpt_plan::Mask::Bidirectional);
    let plan = testing::plan(&Spec { mask, ..testing::gpt2_spec() });
    let masking = Masking { token: 39, vocab: 37, seed: 5 };
    let settings = TrainerSettings { objective: Objective::Masked(masking), ..settings() };
    let text: Tokens = (0..500u32).map(|i| i * i % 37).collect::<Vec<_>>().into();
    let data = RandomWindows::new(text.clone(), 3, 8, 1).unwrap().masked(masking);
    let device = Device::cpu().unwrap();
    let new = |settings| {
        let weights = RandomWeights::new(plan, 1, Format::F32);
        Trainer::from_plan(plan, &device, &weights, settings).unwrap()
    };
    let steps_of = |trainer: &mut Trainer, n: u64| -> Vec<u64> {
        (0..n).map(|_| trainer.step(&data.batch(trainer.steps())).unwrap().to_bits()).collect()
    };
    let mut whole = new(settings.clone());
    let losses = steps_of(&mut whole, 7);
    let mut first = new(settings.clone());
    assert_eq!(steps_of(&mut first, 4), losses[..4]);
    let folder = tempfile::tempdir().unwrap();
    let path = first.save(&folder, &Value::Null).unwrap();
    // A program that knows no objectives must not resume the run.
    let state = fs::read_to_string(path.join(STATE)).unwrap();
    assert!(state.contains("\"version\": 2"), "{state}");
    let saved = SavedRun::latest(&folder).unwrap().unwrap();
    assert_eq!(*saved.settings(), settings);
    let mut second = Trainer::resume_plan(plan, &device, &saved, settings.clone()).unwrap();
    assert_eq!(steps_of(&mut second, 3), losses[4..]);
    // The validation is a function of the parameters alone.
    assert_eq!(second.evaluate(&text).unwrap(), whole.evaluate(&text).unwrap());
    let other = Masking { token: 38, ..masking };
    for objective in [Objective::NextToken, Objective::Masked(other)] {
        let settings = TrainerSettings { objective, ..settings.clone() };
        let error = Trainer::resume_plan(plan, &device, &saved, settings).err().unwrap();
        assert!(error.is_input());
        let error = error.to_string();
        assert!(error.contains("learns masked tokens (mask token 39 of 37, seed 5)"), "{error}");
    }
}

/// The average is part of a checkpoint. It is that of the formula in f64, and a run that resumes
/// has the same one, bit for bit. It can be dropped, and begun late.
#[test]
fn an_average_goes_on_bit_for_bit() {
    for spec in [testing::gpt2_spec(), testing::llama_spec()] {
        let plan = testing::plan(&spec);
        let (device, decay) = (Device::cpu().unwrap(), 0.4);
        let with = |ema| TrainerSettings { ema, ..settings() };
        let new = |ema| {
            let weights = RandomWeights::new(plan, 1, Format::F32);
            Trainer::from_plan(plan, &device, &weights, with(ema)).unwrap()
        };
        let values = |trainer: &mut Trainer| -> Vec<f32> {
            let parameters = trainer.parameters();
            let tensors = plan.trained();
            let of = |(id, layer)| parameters.values(TensorState::Parameter, id, layer).unwrap();
            tensors.flat_map(of).collect()
        };
        let average = |trainer: &mut Trainer| -> Vec<f32> {
            trainer.with_average(|trainer| Ok::<_, Error>(values(trainer))).unwrap()
        };
        let mut plain = new(None);
        let mut whole = new(Some(decay));
        let mut expected: Vec<f64> = values(&mut whole).iter().map(|x| f64::from(*x)).collect();
        for step in 1..=9u32 {
            // An average does not change the training.
            assert_eq!(steps_of(&mut whole, 1), steps_of(&mut plain, 1));
            let decay = f64::from(decay).min(f64::from(1 + step) / f64::from(10 + step));
            for (expected, new) in expected.iter_mut().zip(values(&mut whole)) {
                *expected = decay * *expected + (1.0 - decay) * f64::from(new);
            }
        }
        let found = average(&mut whole);
        let parameters = values(&mut whole);
        assert!(parameters == values(&mut plain) && parameters != found);
        for (found, expected) in found.iter().zip(&expected) {
            assert!((f64::from(*found) - expected).abs() < 1e-6, "{found} and {expected}");
        }
        let folder = tempfile::tempdir().unwrap();
        let mut first = new(Some(decay));
        steps_of(&mut first, 4);
        let path = first.save(&folder, &Value::Null).unwrap();
        // A program that knows no average must not resume the run.
        let state = fs::read_to_string(path.join(STATE)).unwrap();
        assert!(state.contains("\"version\": 2"), "{state}");
        let saved = SavedRun::latest(&folder).unwrap().unwrap();
        assert_eq!(saved.average(), Some(path.join(AVERAGE)));
        let resume = |ema| Trainer::resume_plan(plan, &device, &saved, with(ema));
        let mut second = resume(Some(decay)).unwrap();
        assert!(average(&mut second) == average(&mut first));
        steps_of(&mut second, 5);
        assert!(average(&mut second) == found && values(&mut second) == parameters);
        // The file is the average, as a model.
        let opened = weights::open(&path.join(AVERAGE), plan, Some(Format::F32)).unwrap();
        let mut loaded = Trainer::from_plan(plan, &device, &opened, with(None)).unwrap();
        assert!(values(&mut loaded) == average(&mut first));
        // Without its decay, the average is dropped, and a later run begins another one.
        let mut dropped = resume(None).unwrap();
        let newest = values(&mut dropped);
        assert!(average(&mut dropped) == newest);
        steps_of(&mut dropped, 1);
        let path = dropped.save(&folder, &Value::Null).unwrap();
        assert!(!path.join(AVERAGE).exists());
        assert!(fs::read_to_string(path.join(STATE)).unwrap().contains("\"version\": 1"));
        let saved = SavedRun::latest(&folder).unwrap().unwrap();
        let mut begun = Trainer::resume_plan(plan, &device, &saved, with(Some(decay))).unwrap();
        assert!(average(&mut begun) == values(&mut dropped));
        // While the average is in place, a run neither learns nor saves.
        let failed = begun.with_average(|trainer| trainer.step(&batch(9)));
        assert!(failed.unwrap_err().to_string().contains("outside `with_average`"));
        let failed = begun.with_average(|trainer| trainer.save(&folder, &Value::Null));
        assert!(failed.unwrap_err().to_string().contains("outside `with_average`"));
        steps_of(&mut begun, 1);
        let path = begun.save(&folder, &Value::Null).unwrap();
        let saved = SavedRun::latest(&folder).unwrap().unwrap();
        let settings = saved.settings().clone();
        fs::write(path.join(AVERAGE), "").unwrap();
        let error = Trainer::resume_plan(plan, &device, &saved, settings).err().unwrap();
        assert!(error.is_input() && error.to_string().contains(AVERAGE), "{error}");
    }
}

#[test]
fn there_is_one_checkpoint_and_it_is_the_newest() {
    let folder = tempfile::tempdir().unwrap();
    assert!(SavedRun::latest(folder.path().join("none")).unwrap().is_none());
    assert!(SavedRun::latest(&folder).unwrap().is_none());
    let mut trainer = trainer(testing::gpt2());
    trainer.save(&folder, &Value::Null).unwrap();
    steps_of(&mut trainer, 11);
    trainer.save(&folder, &Value::Null).unwrap();
    assert_eq!(steps(folder.path()).unwrap(), [11]);
    let again = trainer.save(&folder, &Value::Null).unwrap_err().to_string();
    assert!(again.contains("checkpoint-11 already exists"), "{again}");
    // The remains of a killed process are ignored.
    fs::create_dir(folder.path().join("checkpoint-12.new")).unwrap();
    assert_eq!(SavedRun::latest(&folder).unwrap().unwrap().step(), 11);
    steps_of(&mut trainer, 1);
    trainer.save(&folder, &Value::Null).unwrap();
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
}

#[test]
fn damaged_and_foreign_checkpoints_are_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let plan = testing::gpt2();
    let path = trainer(plan).save(&folder, &Value::Null).unwrap();
    let resume = |plan| -> Result<Trainer, Error> {
        let saved = SavedRun::latest(&folder)?.unwrap();
        Trainer::resume_plan(plan, &Device::cpu()?, &saved, saved.settings().clone())
    };
    resume(plan).unwrap();
    let spoil = |name: &str, change: &dyn Fn(&mut Vec<u8>), plan| {
        let file = path.join(name);
        let good = fs::read(&file).unwrap();
        let mut bad = good.clone();
        change(&mut bad);
        fs::write(&file, bad).unwrap();
        let error = resume(plan).err().expect("it is damaged");
        fs::write(&file, good).unwrap();
        assert!(error.is_input());
        error.to_string()
    };
    let cut = |bytes: &mut Vec<u8>| bytes.truncate(bytes.len() / 2);
    let replace = |from: &'static str, to: &'static str| {
        move |bytes: &mut Vec<u8>| {
            let text = String::from_utf8(bytes.clone()).unwrap();
            *bytes = text.replace(from, to).into_bytes();
        }
    };
    for (message, part) in [
        (spoil(MODEL, &cut, plan), MODEL),
        (spoil(MOMENTS, &cut, plan), "does not hold the moments"),
        (spoil(STATE, &cut, plan), "is not the state of a training run"),
        (spoil(STATE, &replace("\"version\": 1", "\"version\": 3"), plan), "version is 3"),
        (spoil(STATE, &replace("\"step\": 0", "\"step\": 7"), plan), "its step is 7"),
        (
            spoil(
                STATE,
                &replace(
                    "\"caller\"",
                    "\"loss_scale\": { \"value\": 0.5, \"good\": 0, \"skipped\": 0 }, \"caller\"",
                ),
                plan,
            ),
            "its loss scale is 0.5",
        ),
        (spoil(STATE, &replace("\"test\"", "\"Other\""), plan), "of the model Other, not of test"),
        (spoil(STATE, &|_| (), testing::llama()), "does not fit the model"),
    ] {
        assert!(message.contains(part), "{part} is not in: {message}");
    }
    fs::copy(path.join(MODEL), path.join(MOMENTS)).unwrap();
    let error = resume(plan).err().unwrap().to_string();
    assert!(error.contains("does not hold the moments"), "{error}");
}
