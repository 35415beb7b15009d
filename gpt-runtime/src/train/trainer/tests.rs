use gpt_plan::{Format, Spec, TrainShape};

use super::*;
use crate::engine::TensorState;
use crate::train::{AdamW, Masking, Objective, RandomWindows, Schedule};
use crate::weights::{RandomWeights, testing};

fn settings() -> TrainerSettings {
    TrainerSettings {
        batch: 4,
        schedule: Schedule::cosine(4, 60, 1e-3),
        ..TrainerSettings::from(AdamW { lr: 1e-2, ..AdamW::default() })
    }
}

fn trainer(settings: TrainerSettings) -> Trainer {
    of_plan(testing::gpt2(), settings)
}

fn of_plan(plan: &'static Plan, settings: TrainerSettings) -> Trainer {
    let weights = RandomWeights::new(plan, 1, Format::F32);
    Trainer::from_plan(plan, &Device::cpu().unwrap(), &weights, settings).unwrap()
}

/// A periodic text.
fn text() -> Tokens {
    (0..2000u32).map(|i| i * i % 37).collect::<Vec<_>>().into()
}

#[test]
fn a_text_is_learned_and_generated() {
    let (train, rest) = text().split_at(1800);
    let data = RandomWindows::new(train, 4, 16, 1).unwrap();
    let mut trainer = trainer(settings());
    let before = trainer.evaluate(&rest).unwrap();
    assert!((before - 40f64.ln()).abs() < 0.2, "{before}");
    for number in 0..60 {
        let loss = trainer.step(&data.batch(number)).unwrap();
        assert!(loss.is_finite() && trainer.gradient_norm() > 0.0);
    }
    let after = trainer.evaluate(&rest).unwrap();
    assert!(after < 1.0, "{before} became {after}");
    // The resulting model predicts the next token.
    let model = trainer.model().unwrap();
    let mut session = model.session().open().unwrap();
    let mut window = Vec::new();
    rest.copy(0..10, &mut window);
    let next = session.push(&window[..9]).unwrap().argmax();
    assert_eq!(next, window[9]);
}

/// The loss is the mean over the targets that count, also if passes have different numbers of them.
#[test]
fn ignored_targets_do_not_count() {
    let whole = RandomWindows::new(text(), 6, 16, 1).unwrap().batch(0);
    let some = |count: &dyn Fn(usize) -> bool| {
        let part = whole.parts(6).next().unwrap();
        let targets = part.targets.iter().enumerate();
        let targets = targets.map(|(row, t)| if count(row) { *t } else { Batch::IGNORED });
        Batch::new(part.inputs.to_vec(), targets.collect(), 16).unwrap()
    };
    let (a, b) = (some(&|row| row < 5), some(&|row| row >= 5));
    assert_eq!((a.counted(), b.counted(), whole.counted()), (5, 91, 96));
    for batch in [6, 2] {
        let mut trainer = trainer(TrainerSettings { batch, ..settings() });
        let [of_a, of_b, of_all] = [&a, &b, &whole].map(|batch| trainer.loss(batch).unwrap());
        let mean = (5.0 * of_a + 91.0 * of_b) / 96.0;
        assert!((of_all / mean - 1.0).abs() < 1e-6, "{of_all} is not {mean}");
        // A step reports the same loss.
        let of_step = trainer.step(&a).unwrap();
        assert!((of_step / of_a - 1.0).abs() < 1e-6, "{of_step} is not {of_a}");
    }
    // Also the gradient: its norm does not depend on the division into passes.
    let norm = |batch| {
        let mut trainer = trainer(TrainerSettings { batch, ..settings() });
        trainer.step(&b).unwrap();
        trainer.gradient_norm()
    };
    assert!((norm(6) / norm(2) - 1.0).abs() < 1e-5);
    let error = trainer(settings()).step(&some(&|_| false)).unwrap_err();
    assert!(error.is_input() && error.to_string().contains("no target"), "{error}");
}

/// A validation of masked tokens is the mean loss of tokens that are always the same.
#[test]
fn a_validation_of_masked_tokens_is_repeatable() {
    let mask = gpt_plan::Pattern::all(gpt_plan::Mask::Bidirectional);
    let plan = testing::plan(&Spec { mask, ..testing::gpt2_spec() });
    let objective = Objective::Masked(Masking { token: 39, vocab: 37, seed: 5 });
    let of = |batch, objective| {
        of_plan(plan, TrainerSettings { batch, objective, ..settings() }).evaluate(&text()).unwrap()
    };
    let masked = of(4, objective);
    assert_eq!(masked, of(4, objective));
    assert!((masked / of(3, objective) - 1.0).abs() < 1e-6);
    let seed = Objective::Masked(Masking { token: 39, vocab: 37, seed: 6 });
    assert_ne!(masked, of(4, seed));
    assert!((masked - 40f64.ln()).abs() < 0.3, "{masked}");
}

#[test]
fn parts_of_a_batch_make_the_step_of_the_whole() {
    let data = RandomWindows::new(text(), 8, 16, 1).unwrap();
    let run = |batch| {
        let mut trainer = trainer(TrainerSettings { batch, ..settings() });
        let losses: Vec<f64> = (0..5).map(|n| trainer.step(&data.batch(n)).unwrap()).collect();
        losses
    };
    let (whole, parts) = (run(8), run(3));
    for (a, b) in whole.iter().zip(&parts) {
        assert!((a / b - 1.0).abs() < 1e-5, "{whole:?} and {parts:?}");
    }
}

#[test]
fn dropout_differs_from_step_to_step_and_is_fixed_by_its_seed() {
    let batch = RandomWindows::new(text(), 4, 16, 1).unwrap().batch(0);
    let plan = testing::plan(&Spec { dropout: 0.2, ..testing::gpt2_spec() });
    let run = |seed, dropout| {
        let optimizer = AdamW { lr: 1e-30, weight_decay: 0.0, ..AdamW::default() };
        let settings = TrainerSettings { seed, dropout, optimizer, ..TrainerSettings::default() };
        let mut trainer = of_plan(plan, settings);
        [trainer.step(&batch).unwrap(), trainer.step(&batch).unwrap()]
    };
    let some = run(1, None);
    assert_ne!(some[0], some[1]);
    assert_eq!(some, run(1, None));
    assert_ne!(some, run(2, None));
    let none = run(1, Some(0.0));
    assert_eq!(none[0], none[1]);
}

#[test]
fn what_is_not_finite_stops_and_changes_nothing() {
    let mut trainer = trainer(settings());
    let batch = RandomWindows::new(text(), 4, 16, 1).unwrap().batch(0);
    let id = trainer.plan().find("final_norm.gamma").unwrap();
    let mut values = vec![0.0; trainer.plan().tensor(id).len() as usize];
    trainer.engine.read(TensorState::Parameter, id, 0, &mut values).unwrap();
    values[0] = f32::NAN;
    trainer.engine.write(TensorState::Parameter, id, 0, &values).unwrap();
    let error = trainer.step(&batch).unwrap_err();
    assert!(matches!(error, Error::Diverged(_)) && !error.is_input());
    assert!(error.to_string().contains("the loss of step 1 is NaN"), "{error}");
    assert_eq!(trainer.steps(), 0);
}

/// The loss scale of f16 training, on an engine without f16: the trainer alone handles the scale.
#[test]
fn a_gradient_that_overflows_is_skipped() {
    let batch = RandomWindows::new(text(), 4, 16, 1).unwrap().batch(0);
    let mut plain = trainer(settings());
    let losses = [plain.step(&batch).unwrap(), plain.step(&batch).unwrap()];
    let mut scaled = trainer(settings());
    scaled.loss_scale =
        serde_json::from_str("{\"value\":1.7014118e38,\"good\":9,\"skipped\":3}").unwrap();
    let first = scaled.loss_scale().unwrap();
    let mut made = Vec::new();
    while scaled.steps() < 2 {
        let (before, skipped) = (scaled.steps(), scaled.skipped());
        let loss = scaled.step(&batch).unwrap();
        assert_eq!(loss, losses[before as usize], "nothing has changed");
        let skips = scaled.skipped() - skipped;
        assert_eq!(skips + scaled.steps() - before, 1);
        made.push(skips == 0);
    }
    let skipped = scaled.skipped() - 3;
    assert!(skipped > 1 && !made[0], "{made:?}");
    // Multiplication by a power of two does not round.
    let scale = first / 2f32.powi(skipped as i32);
    assert_eq!(scaled.loss_scale(), Some(scale));
    assert_eq!(scaled.step(&batch).unwrap(), plain.step(&batch).unwrap());
    assert_eq!(scaled.gradient_norm(), plain.gradient_norm());
}

/// A profile leaves the trainer in the state in which a step leaves it, also after steps that are
/// skipped.
#[test]
fn a_profile_is_a_step() {
    let batch = RandomWindows::new(text(), 4, 16, 1).unwrap().batch(0);
    let state = |trainer: &Trainer| (trainer.steps(), trainer.gradient_norm(), trainer.loss_scale);
    // With 2^68 a few gradients overflow.
    for scale in ["null", "{\"value\":2.9514791e20,\"good\":9,\"skipped\":0}"] {
        let [mut stepped, mut profiled] = [trainer(settings()), trainer(settings())];
        for trainer in [&mut stepped, &mut profiled] {
            trainer.loss_scale = serde_json::from_str(scale).unwrap();
        }
        while stepped.steps() < 2 {
            stepped.step(&batch).unwrap();
            profiled.profile(&batch).unwrap();
            assert_eq!(state(&profiled), state(&stepped), "{scale}");
        }
        assert!(stepped.gradient_norm() > 0.0);
        assert_eq!(stepped.skipped() > 0, scale != "null");
    }
    let mut trainer = trainer(settings());
    let id = trainer.plan().find("final_norm.gamma").unwrap();
    let values = vec![f32::NAN; trainer.plan().tensor(id).len() as usize];
    trainer.engine.write(TensorState::Parameter, id, 0, &values).unwrap();
    assert!(matches!(trainer.profile(&batch), Err(Error::Diverged(_))));
    assert_eq!(trainer.steps(), 0);
}

#[test]
fn a_scale_does_not_hide_what_is_not_finite() {
    let batch = RandomWindows::new(text(), 4, 16, 1).unwrap().batch(0);
    let with = |value: f32| {
        let mut trainer = trainer(settings());
        trainer.loss_scale = Some(LossScale::default());
        let id = trainer.plan().find("final_norm.gamma").unwrap();
        let mut values = vec![1.0; trainer.plan().tensor(id).len() as usize];
        values[0] = value;
        let state = TensorState::Parameter;
        trainer.engine.write(state, id, 0, &values).unwrap();
        let error = (0..20).find_map(|_| trainer.step(&batch).err()).unwrap();
        assert_eq!(trainer.steps(), 0);
        (error.to_string(), trainer.skipped())
    };
    let (loss, skipped) = with(f32::NAN);
    assert!(loss.contains("the loss of step 1 is NaN"), "{loss}");
    assert_eq!(skipped, 0);
    // The square of this gradient overflows an f32 at every scale.
    let (norm, skipped) = with(1e25);
    assert!(norm.contains("the gradient's norm of step 1 is"), "{norm}");
    assert_eq!(skipped, 16);
}

#[test]
fn a_batch_that_does_not_fit_is_rejected() {
    let mut trainer = trainer(settings());
    let long = Batch::next_tokens(&[1; 18], 17).unwrap();
    let strange = Batch::next_tokens(&[1, 40], 1).unwrap();
    for (batch, part) in
        [(long, "1 to 16 tokens"), (strange, "token 40"), (Batch::default(), "0 sequences")]
    {
        let message = trainer.step(&batch).unwrap_err().to_string();
        assert!(message.contains(part), "{part} is not in: {message}");
    }
    let shape = TrainShape { batch: 4, tokens: 16, recompute: Default::default() };
    assert_eq!(trainer.allocated(), trainer.plan().train_bytes(&shape));
}
