//! Generating many tokens at once gives the same text, and leaves the same session, as sampling one
//! by one.
//!
//! The model is the one embedded in the command line's binary.

use gpt_runtime::{
    Device, DeviceKind, DeviceOptions, Ended, Model, Sampler, Sampling, Session, Stop, gpt_model,
};
use gpt_tests::gpu;

gpt_model! {
    pub struct Bard {
        vocab: 65, context: 256, layers: 6, heads: 6, embed: 192, bias: false, dropout: 0.05,
        norm: RmsNorm { eps: 1e-5 }, mlp: Gated { hidden: 512, activation: Silu }, positions: Rope { theta: 10_000.0 },
        ..GPT2_SMALL
    }
}

const PROMPT: &str = "ROMEO:\n";

fn devices() -> Vec<Device> {
    let mut devices = vec![Device::cpu().unwrap()];
    if gpu::device().is_some() {
        let options = DeviceOptions {
            kind: DeviceKind::Gpu,
            ..DeviceOptions::default()
        };
        devices.push(Device::open(&options).unwrap());
    }
    devices
}

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
    let seeded = Sampling {
        seed: 3,
        ..Sampling::default()
    };
    vec![
        Sampling::greedy(),
        seeded.clone(),
        Sampling {
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            ..seeded.clone()
        },
        Sampling {
            top_k: 0,
            min_p: 0.1,
            ..seeded.clone()
        },
        // A repetition penalty needs the history, so tokens are sampled one by one.
        Sampling {
            repetition_penalty: 1.3,
            ..seeded
        },
    ]
}

/// The bits of a session's next logits.
fn what_follows(session: &mut Session<Bard>) -> Vec<f32> {
    session.push(&[1]).unwrap();
    session.push(&[40]).unwrap().to_vec()
}

#[test]
fn a_text_equals_sampling_one_by_one() {
    for device in devices() {
        let model = model(&device);
        let tokenizer = model.tokenizer().unwrap();
        for sampling in samplings() {
            let what = format!("{sampling:?} on {}", device.name());
            let n = 90;
            let mut single = session(&model, 128);
            let chosen = one_by_one(&mut single, &sampling, n);
            let expected = tokenizer.decode(&chosen).unwrap();
            let stop = Stop {
                tokens: Some(n),
                ..Stop::default()
            };
            let mut many = session(&model, 128);
            for _ in 0..2 {
                many.truncate(0);
                let mut generation = many
                    .generate(PROMPT, sampling.clone(), stop.clone())
                    .unwrap();
                let text: String = generation.by_ref().collect();
                assert!(generation.error().is_none());
                assert_eq!(text, expected, "{what}");
                assert_eq!(generation.ended(), Some(Ended::Length));
                assert_eq!(generation.generated(), n);
            }
            assert_eq!(many.tokens(), single.tokens(), "{what}");
            assert!(
                what_follows(&mut many) == what_follows(&mut single),
                "{what}"
            );
        }
    }
}

/// A text may be abandoned, or end by a token, a string or the context. The session holds the
/// tokens read and continues from there.
#[test]
fn a_text_that_ends_early_leaves_a_valid_session() {
    for device in devices() {
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
            let mut generation = many
                .generate(PROMPT, sampling.clone(), Stop::default())
                .unwrap();
            let read = generation.by_ref().take(pieces).count();
            assert_eq!(read, pieces);
            let tokens = generation.generated();
            drop(generation);
            check(&mut many, tokens - 1, "left");
        }
        let id = chosen[20];
        let first = chosen.iter().position(|c| *c == id).unwrap();
        let stop = Stop {
            ids: vec![id],
            ..Stop::default()
        };
        let mut many = session(&model, 128);
        let mut generation = many.generate(PROMPT, sampling.clone(), stop).unwrap();
        generation.by_ref().for_each(drop);
        assert_eq!(generation.ended(), Some(Ended::EndOfText));
        assert_eq!(generation.generated(), first);
        check(&mut many, first, "ended by a token");

        let capacity = prompt.len() as u32 + 30;
        let mut many = session(&model, capacity);
        let mut generation = many
            .generate(PROMPT, sampling.clone(), Stop::default())
            .unwrap();
        generation.by_ref().for_each(drop);
        assert_eq!(generation.ended(), Some(Ended::Full));
        assert_eq!(generation.generated(), 31);
        assert_eq!(many.remaining(), 0);
    }
}

/// A truncation discards the logits, so sampling computes them again.
#[test]
fn a_token_can_be_sampled_after_a_truncation() {
    for device in devices() {
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
