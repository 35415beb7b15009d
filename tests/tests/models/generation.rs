//! Generating many tokens at once gives the same text, and leaves the same session, as sampling one
//! by one.
//!
//! The model is the one embedded in the command line's binary.

use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use gpt_runtime::weights::RandomWeights;
use gpt_runtime::{
    CacheFormat, Device, Ended, Format, LoadOptions, Model, Sampler, Sampling, Session, Stop,
};
use gpt_tests::gpu;

use crate::Bard;

const PROMPT: &str = "ROMEO:\n";

fn model(device: &Device) -> Model<Bard> {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../gpt-cli/assets/bard.gguf");
    Model::load(file, device).unwrap()
}

fn session(model: &Model<Bard>, capacity: u32) -> Session<Bard> {
    model.session().capacity(capacity).open().unwrap()
}

/// Samples `n` tokens one by one from logits on the host. The last one is not pushed.
fn one_by_one(session: &mut Session<Bard>, sampling: &Sampling, n: usize) -> Vec<u32> {
    let vocab = session.model().plan().spec.vocab as usize;
    let prompt = session.model().tokenizer().unwrap().encode_prompt(PROMPT);
    let mut sampler = Sampler::new(sampling.clone(), vocab).unwrap();
    session.push(&prompt.unwrap()).unwrap();
    let mut chosen = vec![session.sample(&mut sampler).unwrap()];
    while chosen.len() < n {
        session.push(&chosen[chosen.len() - 1..]).unwrap();
        chosen.push(session.sample(&mut sampler).unwrap());
    }
    chosen
}

fn samplings() -> Vec<Sampling> {
    let seeded = Sampling { seed: 3, ..Sampling::default() };
    vec![
        Sampling::greedy(),
        seeded.clone(),
        Sampling { temperature: 1.0, top_k: 0, top_p: 1.0, ..seeded.clone() },
        Sampling { top_k: 0, min_p: 0.1, ..seeded.clone() },
        // A repetition penalty needs the history, so tokens are sampled one by one.
        Sampling { repetition_penalty: 1.3, ..seeded },
    ]
}

/// Pushes two tokens and returns the logits after them.
fn what_follows(session: &mut Session<Bard>) -> Vec<f32> {
    session.push(&[1]).unwrap();
    session.push(&[40]).unwrap().to_vec()
}

#[test]
fn a_text_equals_sampling_one_by_one() {
    for device in gpu::devices() {
        let model = model(&device);
        let tokenizer = model.tokenizer().unwrap();
        for sampling in samplings() {
            let what = format!("{sampling:?} on {}", device.name());
            let n = 90;
            let mut single = session(&model, 128);
            let chosen = one_by_one(&mut single, &sampling, n);
            let expected = tokenizer.decode(&chosen).unwrap();
            let stop = Stop { tokens: Some(n), ..Stop::default() };
            let mut many = session(&model, 128);
            for _ in 0..2 {
                many.truncate(0);
                let mut generation = many.generate(PROMPT, sampling.clone(), stop.clone()).unwrap();
                let text: String = generation.by_ref().map(Result::unwrap).collect();
                assert_eq!(text, expected, "{what}");
                assert_eq!(generation.ended(), Some(Ended::Length));
                assert_eq!(generation.generated(), n);
            }
            assert_eq!(many.tokens(), single.tokens(), "{what}");
            assert!(what_follows(&mut many) == what_follows(&mut single), "{what}");
        }
    }
}

/// Outside browsers, the async functions block where they would yield in one, so each future is
/// ready at once. The model is loaded from bytes.
#[test]
fn a_text_is_the_same_by_futures() {
    fn ready<T>(future: impl Future<Output = T>) -> T {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => result,
            Poll::Pending => panic!("a native future waits"),
        }
    }
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../gpt-cli/assets/bard.gguf");
    for device in gpu::devices() {
        let bytes = std::fs::read(file).unwrap();
        let loaded = Model::<Bard>::load_bytes("bard", bytes, &device, &LoadOptions::default());
        let loaded = loaded.unwrap();
        let prompt = loaded.tokenizer().unwrap().encode_prompt(PROMPT).unwrap();
        let model = model(&device);
        for sampling in samplings() {
            let what = format!("{sampling:?} on {}", device.name());
            let stop = Stop::default().with_tokens(50);
            let mut expected = session(&model, 128);
            let expected = expected.generate(PROMPT, sampling.clone(), stop.clone()).unwrap();
            let expected: String = expected.map(Result::unwrap).collect();
            let session = session(&loaded, 128);
            let mut text = ready(session.into_generation_async(&prompt, sampling, stop)).unwrap();
            let mut found = String::new();
            while text.ended().is_none() {
                found += &ready(text.poll_async(Duration::from_millis(1))).unwrap();
            }
            assert_eq!(found, expected, "{what}");
            assert_eq!((text.ended(), text.generated()), (Some(Ended::Length), 50), "{what}");
        }
    }
}

/// A text may be abandoned, or end with a stop token or a full session. The session holds the
/// tokens that were read, and can continue from there.
#[test]
fn a_text_that_ends_early_leaves_a_valid_session() {
    for device in gpu::devices() {
        let model = model(&device);
        let sampling = Sampling::greedy();
        let mut single = session(&model, 128);
        let chosen = one_by_one(&mut single, &sampling, 60);
        let prompt = single.tokens()[..single.tokens().len() - 59].to_vec();
        let check = |many: &mut Session<Bard>, tokens: usize, what: &str| {
            let what = format!("{what} on {}", device.name());
            let expected: Vec<u32> = prompt.iter().chain(&chosen[..tokens]).copied().collect();
            assert_eq!(many.tokens(), expected, "{what}");
            let mut fresh = session(&model, 128);
            fresh.push(&prompt).unwrap();
            for token in &chosen[..tokens] {
                fresh.push(&[*token]).unwrap();
            }
            let vocab = model.plan().spec.vocab as usize;
            let mut sampler = Sampler::new(sampling.clone(), vocab).unwrap();
            // The next token is known without a push.
            assert_eq!(many.sample(&mut sampler).unwrap(), chosen[tokens], "{what}");
            assert!(what_follows(many) == what_follows(&mut fresh), "{what}");
        };
        for pieces in [1, 2, 9, 40] {
            let mut many = session(&model, 128);
            let mut generation = many.generate(PROMPT, sampling.clone(), Stop::default()).unwrap();
            let read = generation.by_ref().take(pieces).count();
            assert_eq!(read, pieces);
            let tokens = generation.generated();
            drop(generation);
            check(&mut many, tokens - 1, "left");
        }
        let id = chosen[20];
        let first = chosen.iter().position(|c| *c == id).unwrap();
        let stop = Stop { ids: vec![id], ..Stop::default() };
        let mut many = session(&model, 128);
        let mut generation = many.generate(PROMPT, sampling.clone(), stop).unwrap();
        generation.by_ref().for_each(|piece| drop(piece.unwrap()));
        assert_eq!(generation.ended(), Some(Ended::EndOfText));
        assert_eq!(generation.generated(), first);
        check(&mut many, first, "ended by a token");

        let capacity = prompt.len() as u32 + 30;
        let mut many = session(&model, capacity);
        let mut generation = many.generate(PROMPT, sampling.clone(), Stop::default()).unwrap();
        generation.by_ref().for_each(|piece| drop(piece.unwrap()));
        assert_eq!(generation.ended(), Some(Ended::Full));
        assert_eq!(generation.generated(), 31);
        assert_eq!(many.remaining(), 0);
    }
}

/// A model without a tokenizer generates token ids.
#[test]
fn tokens_are_generated_without_a_tokenizer() {
    for device in gpu::devices() {
        let weights = RandomWeights::new(Bard::PLAN, 7, Format::F32);
        let model = Model::<Bard>::from_weights(&weights, &device).unwrap();
        assert!(model.tokenizer().is_err());
        for sampling in samplings() {
            let generate = |session: &mut Session<Bard>, stop: Stop| {
                let tokens = session.generate_tokens(&[1, 2], sampling.clone(), stop);
                let mut tokens = tokens.unwrap();
                let ids: Vec<u32> = tokens.by_ref().map(Result::unwrap).collect();
                assert_eq!(tokens.generated(), ids.len());
                (ids, tokens.ended())
            };
            let stop = || Stop::default().with_tokens(40);
            let mut session = session(&model, 64);
            let (ids, ended) = generate(&mut session, stop());
            assert_eq!((ids.len(), ended), (40, Some(Ended::Length)));
            session.truncate(0);
            let (some, ended) = generate(&mut session, stop().with_id(ids[9]));
            let first = ids.iter().position(|id| *id == ids[9]).unwrap();
            assert_eq!((&some[..], ended), (&ids[..first], Some(Ended::EndOfText)));
        }
        let mut session = session(&model, 64);
        let greedy = Sampling::greedy;
        let text = session.generate_from_tokens(&[1], greedy(), Stop::default());
        assert!(text.is_err());
        let stop = Stop::default().with_string("x");
        assert!(session.generate_tokens(&[1], greedy(), stop).is_err());
        assert!(session.tokens().is_empty());
    }
}

/// With a budget of zero each call runs one token, and the text is the same.
#[test]
fn a_generation_can_be_stepped() {
    for device in gpu::devices() {
        let model = model(&device);
        for sampling in samplings() {
            let stop = || Stop::default().with_tokens(30);
            let mut whole = session(&model, 64);
            let pieces = whole.generate(PROMPT, sampling.clone(), stop()).unwrap();
            let expected: String = pieces.map(Result::unwrap).collect();

            let mut stepped = session(&model, 64);
            let mut generation = stepped.generate(PROMPT, sampling.clone(), stop()).unwrap();
            let mut text = String::new();
            for step in 1..=30 {
                assert_eq!(generation.ended(), None);
                text += &generation.poll(Duration::ZERO).unwrap();
                assert_eq!(generation.generated(), step);
            }
            assert_eq!(generation.ended(), Some(Ended::Length));
            assert_eq!(generation.poll(Duration::ZERO).unwrap(), "");
            assert_eq!(text, expected, "{sampling:?} on {}", device.name());

            let mut at_once = session(&model, 64);
            let mut generation = at_once.generate(PROMPT, sampling.clone(), stop()).unwrap();
            assert_eq!(generation.poll(Duration::MAX).unwrap(), expected);
            assert_eq!(generation.ended(), Some(Ended::Length));
        }
    }
}

/// A fork continues like a session that read the same text, and its origin is not disturbed.
#[test]
fn a_fork_continues_on_its_own() {
    for device in gpu::devices() {
        let model = model(&device);
        for cache in CacheFormat::ALL {
            if device.is_gpu() && cache != CacheFormat::F32 {
                continue;
            }
            let open = || model.session().capacity(64).cache(cache).open().unwrap();
            let prompt: Vec<u32> = (0..37).map(|i| i * 7 % 65).collect();
            let read = |tail: &[u32]| {
                let mut fresh = open();
                fresh.push(&prompt).unwrap();
                fresh.push(tail).unwrap().to_vec()
            };
            let mut session = open();
            session.push(&prompt).unwrap();
            let mut fork = session.fork().unwrap();
            assert_eq!(fork.tokens(), prompt);
            let greedy = || Sampler::new(Sampling::greedy(), 65).unwrap();
            let next = session.sample(&mut greedy()).unwrap();
            assert_eq!(fork.sample(&mut greedy()).unwrap(), next);
            let (a, b) = ([3, 4, 5], [9, 8, 7]);
            assert!(session.push(&a).unwrap().to_vec() == read(&a));
            assert!(fork.push(&b).unwrap().to_vec() == read(&b));
            // After a generation a GPU may have run ahead of the session.
            let mut tokens =
                session.generate_tokens(&[1], Sampling::greedy(), Stop::default()).unwrap();
            tokens.by_ref().take(3).for_each(|id| assert!(id.is_ok()));
            drop(tokens);
            let mut fork = session.fork().unwrap();
            assert_eq!(fork.tokens(), session.tokens());
            let next = session.sample(&mut greedy()).unwrap();
            assert_eq!(fork.sample(&mut greedy()).unwrap(), next);
            let mut empty = open().fork().unwrap();
            empty.push(&prompt).unwrap();
            assert!(empty.push(&a).unwrap().to_vec() == read(&a));
        }
    }
}

/// A program that has opened a GPU itself runs a model on it.
#[test]
fn a_device_of_the_caller_generates() {
    use gpt_runtime::wgpu;
    if gpu::device().is_none() {
        return;
    }
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let options = wgpu::RequestAdapterOptions::default();
    let adapter = pollster::block_on(instance.request_adapter(&options)).unwrap();
    let open = |required_limits| {
        let descriptor = wgpu::DeviceDescriptor { required_limits, ..Default::default() };
        pollster::block_on(adapter.request_device(&descriptor)).unwrap()
    };
    let (own, queue) = open(wgpu::Limits::default());
    let device = Device::from_wgpu(adapter.clone(), own, queue).unwrap();
    assert!(device.is_gpu());
    let text = |device: &Device| -> String {
        let mut session = session(&model(device), 64);
        let stop = Stop::default().with_tokens(20);
        let pieces = session.generate(PROMPT, Sampling::greedy(), stop).unwrap();
        pieces.map(Result::unwrap).collect()
    };
    assert_eq!(text(&device), text(&Device::cpu().unwrap()));

    let (small, queue) = open(wgpu::Limits::downlevel_defaults());
    let error = Device::from_wgpu(adapter, small, queue).err().unwrap();
    assert!(error.to_string().contains("are needed"), "{error}");
}

/// A truncation discards the logits, so sampling computes them again.
#[test]
fn a_token_can_be_sampled_after_a_truncation() {
    for device in gpu::devices() {
        let model = model(&device);
        let mut session = session(&model, 64);
        let greedy = || Sampler::new(Sampling::greedy(), 65).unwrap();
        let message = session.sample(&mut greedy()).unwrap_err().to_string();
        assert!(message.contains("push some first"), "{message}");
        let prompt = model.tokenizer().unwrap().encode_prompt(PROMPT).unwrap();
        session.push(&prompt).unwrap();
        let expected = session.sample(&mut greedy()).unwrap();
        session.push(&[expected, 5, 6]).unwrap();
        session.truncate(prompt.len());
        assert_eq!(session.sample(&mut greedy()).unwrap(), expected);
        assert_eq!(session.tokens(), prompt);
    }
}
