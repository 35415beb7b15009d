//! If a GPU is lost in the middle of a generation or of a training step, calls return a typed
//! error, and another device can continue. The wgpu device is the caller's and has no error
//! handler, so an error that is not caught would be a panic.

use gpt_plan::{Format, Plan};
use gpt_runtime::train::{RandomWindows, SavedRun, Tokens};
use gpt_runtime::weights::RandomWeights;
use gpt_runtime::{AdamW, Device, Error, Model, Sampling, Stop, Trainer, TrainerSettings, Untyped};
use gpt_tests::unit_gain::UnitGain;
use gpt_tests::{gpu, specs, tokens};
use serde_json::Value;

#[track_caller]
fn is_lost<T>(result: Result<T, Error>, what: &str) {
    match result {
        Err(Error::DeviceLost(message)) => {
            assert!(message.contains("the device was lost"), "{what}: {message}");
            assert!(message.contains("open a device again"), "{what}: {message}");
        }
        Err(error) => panic!("{what}: {error:?}"),
        Ok(_) => panic!("{what} works on a lost device"),
    }
}

fn plan() -> &'static Plan {
    let keys = "vocab: 96, context: 40, layers: 1, heads: 2, embed: 16, bias: false, \
                norm: RmsNorm { eps: 1e-5 }, positions: Rope { theta: 10_000.0 }";
    specs::plan("Lost", &gpt_codegen::spec(keys).unwrap_or_else(|_| panic!("{keys}")))
}

fn model(device: &Device) -> Model<Untyped> {
    let plan = plan();
    Model::from_plan(plan, &UnitGain::new(plan, 3, Format::F32), device).unwrap()
}

/// Every call of a session fails after the loss, whatever the session did before.
#[test]
fn a_session_whose_device_is_lost_returns_an_error() {
    type Before = fn(&mut gpt_runtime::Session);
    let before: [(&str, Before); 4] = [
        ("an empty session", |_| {}),
        ("a session with logits", |session| session.push(&[1, 2, 3]).map(drop).unwrap()),
        ("a session in the middle of a prompt", |session| {
            drop(session.hidden(&[1, 2, 3, 4, 5]).unwrap());
        }),
        ("a session in the middle of a generation", |session| {
            let stop = Stop::default();
            let text = session.generate_tokens(&[1, 2], Sampling::greedy(), stop).unwrap();
            text.take(3).for_each(|token| assert!(token.is_ok()));
        }),
    ];
    let Some((own, device)) = gpu::own_device() else { return };
    let model = model(&device);
    let open = || model.session().capacity(32).chunk(4).all_logits().open();
    let sessions = before.map(|(what, before)| {
        let mut session = open().unwrap();
        before(&mut session);
        (what, session)
    });
    own.destroy();
    let generate = |session: &mut gpt_runtime::Session| {
        let text = session.generate_tokens(&[1], Sampling::greedy(), Stop::default())?;
        text.collect::<Result<Vec<u32>, Error>>()
    };
    for (what, mut session) in sessions {
        for time in ["first", "second"] {
            let what = format!("{what}, {time}");
            is_lost(session.push(&[1]).map(drop), &format!("push of {what}"));
            is_lost(generate(&mut session), &format!("generate of {what}"));
            is_lost(session.hidden(&[1, 2]), &format!("hidden of {what}"));
            is_lost(session.each_logits(&[1, 2], |_, _| ()), &format!("logits of {what}"));
            is_lost(session.profile(&[1]), &format!("profile of {what}"));
            is_lost(session.fork(), &format!("fork of {what}"));
            is_lost(open(), &format!("another session beside {what}"));
        }
        session.truncate(0);
        is_lost(session.observe(&[1]), &format!("observe of {what}"));
    }
    let weights = UnitGain::new(model.plan(), 3, Format::F32);
    is_lost(Model::<Untyped>::from_plan(model.plan(), &weights, &device), "another model");
}

/// Another device writes the rest of a text.
#[test]
fn another_device_goes_on_with_a_text() {
    let Some((own, device)) = gpu::own_device() else { return };
    let prompt = tokens(96, 5);
    let stop = || Stop::default().with_tokens(12);
    let write = |device: &Device, prompt: &[u32], stop: Stop| {
        let mut session = model(device).session().open().unwrap();
        let text = session.generate_tokens(prompt, Sampling::greedy(), stop).unwrap();
        text.map(Result::unwrap).collect::<Vec<u32>>()
    };
    let whole = write(&device, &prompt, stop());
    let model = model(&device);
    let mut session = model.session().open().unwrap();
    let mut generation = session.generate_tokens(&prompt, Sampling::greedy(), stop()).unwrap();
    let mut text: Vec<u32> = generation.by_ref().take(5).map(Result::unwrap).collect();
    own.destroy();
    // Tokens that the device had computed may still come.
    let error = generation.find_map(|token| token.map(|id| text.push(id)).err());
    is_lost(Err::<(), _>(error.expect("the text did not end")), "a generation");
    assert!(generation.next().is_none(), "a generation ends with an error");
    drop((session, model, device));
    let (_own, device) = gpu::own_device().unwrap();
    let all = [&prompt[..], &text].concat();
    text.extend(write(&device, &all, Stop::default().with_tokens(12 - text.len())));
    assert_eq!(text, whole);
}

/// The device is lost while other threads use it.
#[test]
fn a_loss_reaches_every_thread() {
    let Some((own, device)) = gpu::own_device() else { return };
    let model = model(&device);
    let started = std::sync::Barrier::new(4);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut session = model.session().open().unwrap();
                session.push(&[1, 2, 3]).unwrap();
                started.wait();
                let error = loop {
                    session.truncate(3);
                    let stop = Stop::default().with_tokens(20);
                    let text = session.generate_tokens(&[4], Sampling::greedy(), stop);
                    if let Err(error) = text.and_then(Iterator::collect::<Result<Vec<_>, _>>) {
                        break error;
                    }
                };
                is_lost(Err::<(), _>(error), "a thread");
            });
        }
        started.wait();
        own.destroy();
    });
}

#[test]
fn a_training_run_goes_on_from_its_checkpoint_on_another_device() {
    let Some((own, device)) = gpu::own_device() else { return };
    let plan = plan();
    let text: Tokens = (0..900u32).map(|i| i * i % 89).collect::<Vec<_>>().into();
    let data = RandomWindows::new(text, 2, 16, 1).unwrap();
    let settings = || TrainerSettings {
        batch: 2,
        tokens: Some(16),
        ..TrainerSettings::from(AdamW { lr: 1e-2, ..AdamW::default() })
    };
    let begin = |device: &Device| {
        let weights = RandomWeights::new(plan, 1, Format::F32);
        Trainer::from_plan(plan, device, &weights, settings()).unwrap()
    };
    let step = |trainer: &mut Trainer| trainer.step(&data.batch(trainer.steps()));
    let mut trainer = begin(&device);
    let whole: Vec<f64> = (0..5).map(|_| step(&mut trainer).unwrap()).collect();
    drop(trainer);

    let folder = tempfile::tempdir().unwrap();
    let mut trainer = begin(&device);
    let mut losses: Vec<f64> = (0..3).map(|_| step(&mut trainer).unwrap()).collect();
    trainer.save(&folder, &Value::Null).unwrap();
    step(&mut trainer).unwrap();
    own.destroy();
    for _ in 0..2 {
        is_lost(step(&mut trainer), "a step");
        is_lost(trainer.loss(&data.batch(0)), "an evaluation");
        is_lost(trainer.save(&folder, &Value::Null), "a checkpoint");
    }
    let weights = RandomWeights::new(plan, 1, Format::F32);
    is_lost(Trainer::<Untyped>::from_plan(plan, &device, &weights, settings()), "a trainer");
    drop((trainer, device));

    let names = std::fs::read_dir(&folder).unwrap();
    let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["checkpoint-3"], "a checkpoint of a lost device was left");
    let (_own, device) = gpu::own_device().unwrap();
    let saved = SavedRun::latest(&folder).unwrap().unwrap();
    let settings = saved.settings().clone();
    let mut trainer = Trainer::resume_plan(plan, &device, &saved, settings).unwrap();
    losses.extend((3..5).map(|_| step(&mut trainer).unwrap()));
    assert_eq!(losses, whole);
}
