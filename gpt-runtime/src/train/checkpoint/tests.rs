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
