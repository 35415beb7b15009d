//! The guarantees of sessions on both engines: caching and chunks do not change results, sessions
//! are independent, and an open session creates no objects.

use gpt_plan::Format;
use gpt_runtime::{Device, Model, Session};
use gpt_tests::compare::nmse;
use gpt_tests::models::{Bidirectional, Gpt1, Gpt2, SmolLm2};
use gpt_tests::unit_gain::UnitGain;
use gpt_tests::{gpu, tokens};

fn model<M: gpt_runtime::Gpt>(device: &Device) -> Model<M> {
    Model::from_weights(&UnitGain::new(M::plan(), 3, Format::F32), device).unwrap()
}

/// The logits after each of `tokens`.
fn all<M>(session: &mut Session<M>, tokens: &[u32]) -> Vec<f32> {
    let mut logits = Vec::new();
    session.each_logits(tokens, |_, row| logits.extend_from_slice(row)).unwrap();
    logits
}

/// Asserts that logits are equal, up to the order of f32 sums.
#[track_caller]
fn same(what: &str, device: &Device, found: &[f32], expected: &[f32]) {
    let expected: Vec<f64> = expected.iter().map(|x| f64::from(*x)).collect();
    let error = nmse(found, &expected);
    assert!(error < 1e-11, "{what} on {}: NMSE {error:e}", device.name());
}

fn check<M: gpt_runtime::Gpt>() {
    for device in gpu::devices() {
        let model = model::<M>(&device);
        let spec = &M::plan().spec;
        let n = spec.context as usize;
        let tokens = tokens(spec.vocab, n);
        let whole = all(&mut model.session().all_logits().open().unwrap(), &tokens);

        for chunk in [1, 3, 17, 32] {
            let mut session = model.session().chunk(chunk).all_logits().open().unwrap();
            let chunked = all(&mut session, &tokens);
            same(&format!("chunks of {chunk}"), &device, &chunked, &whole);
        }

        let mut session = model.session().open().unwrap();
        let vocab = spec.vocab as usize;
        for (i, token) in tokens.iter().enumerate() {
            let logits = session.push(&[*token]).unwrap().to_vec();
            let expected = &whole[i * vocab..(i + 1) * vocab];
            same(&format!("token {i} on the cache"), &device, &logits, expected);
        }

        // Truncates to the middle and continues with other tokens: the old ones must not be
        // visible.
        let other: Vec<u32> = tokens[..n / 2].iter().chain(&tokens[..n / 4]).copied().collect();
        session.truncate(n / 2);
        let again = session.push(&tokens[..n / 4]).unwrap().to_vec();
        let fresh = model.session().open().unwrap().push(&other).unwrap().to_vec();
        same("after truncation", &device, &again, &fresh);
    }
}

#[test]
fn gpt2_cached_chunked_and_truncated() {
    check::<Gpt2>();
}

#[test]
fn smollm2_cached_chunked_and_truncated() {
    check::<SmolLm2>();
}

#[test]
fn post_norm_cached_chunked_and_truncated() {
    check::<Gpt1>();
}

#[test]
fn interleaved_sessions_are_independent() {
    for device in gpu::devices() {
        let model = model::<SmolLm2>(&device);
        let a = tokens(model.plan().spec.vocab, 20);
        let b: Vec<u32> = a.iter().rev().copied().collect();
        let apart = |tokens: &[u32]| -> Vec<Vec<f32>> {
            let mut session = model.session().capacity(20).open().unwrap();
            let steps = tokens.chunks(2);
            steps.map(|t| session.push(t).unwrap().to_vec()).collect()
        };
        let expected = (apart(&a), apart(&b));
        let mut first = model.session().capacity(20).open().unwrap();
        let mut second = model.session().capacity(20).open().unwrap();
        for (i, (a, b)) in a.chunks(2).zip(b.chunks(2)).enumerate() {
            // Equal bit for bit, because they run the same kernels on the same numbers.
            assert_eq!(first.push(a).unwrap().to_vec(), expected.0[i], "{}", device.name());
            assert_eq!(second.push(b).unwrap().to_vec(), expected.1[i], "{}", device.name());
        }
    }
}

/// Kernels are compiled for the first session that needs them; otherwise a pass creates no objects.
#[test]
fn an_open_session_creates_nothing() {
    use gpt_runtime::__private::engine::{
        CacheFormat, Continue, EngineModel, LogitsRequest, SessionOptions,
    };
    use gpt_runtime::__private::gpu::GpuModel;
    use gpt_runtime::Sampling;
    use std::collections::VecDeque;
    let Some(device) = gpu::device() else { return };
    let plan = <Gpt2 as gpt_runtime::Gpt>::plan();
    let model = GpuModel::new(device.clone(), plan, &UnitGain::new(plan, 1, Format::Q8)).unwrap();
    let options =
        SessionOptions { capacity: 64, chunk: 16, all_logits: true, cache: CacheFormat::F32 };
    let tokens = tokens(plan.spec.vocab, 16);
    let mut logits = vec![0.0; 16 * plan.spec.vocab as usize];
    let mut run = || {
        let before = device.created();
        let mut session = model.session(options).unwrap();
        let opened = device.created();
        assert!(opened > before, "opening is counted");
        for (i, want) in [LogitsRequest::Nothing, LogitsRequest::All, LogitsRequest::Last]
            .into_iter()
            .enumerate()
        {
            session.forward(&tokens, 16 * i as u32, want, &mut logits).now().unwrap();
        }
        session.forward(&tokens[..1], 48, LogitsRequest::Last, &mut logits).now().unwrap();
        // A text of many tokens per submission creates none either, with any sampling.
        for (i, sampling) in [Sampling::greedy(), Sampling::default()].iter().enumerate() {
            let mut chosen = VecDeque::from([1]);
            while chosen.len() < 8 {
                let done = chosen.len() as u32 - 1;
                let ask = Continue {
                    token: chosen[done as usize],
                    position: 49 + 7 * i as u32 + done,
                    most: 7 - done,
                    sampling,
                    draw: done,
                    stops: &[],
                };
                assert!(session.generate(&ask, &mut chosen).now().unwrap());
            }
        }
        device.created() - opened
    };
    run();
    assert_eq!(run(), 0, "a pass created something");
}

/// A profile and hidden states append tokens; the logits from before are not used again.
#[test]
fn a_profile_leaves_no_stale_logits() {
    use gpt_runtime::{Sampler, Sampling};
    for device in gpu::devices() {
        let model = model::<Gpt2>(&device);
        let vocab = model.plan().spec.vocab;
        let tokens = tokens(vocab, 12);
        let choose = |session: &mut Session<Gpt2>| {
            let mut sampler = Sampler::new(Sampling::greedy(), vocab as usize).unwrap();
            session.sample(&mut sampler).unwrap()
        };
        for n in 1..tokens.len() {
            let (before, after) = tokens.split_at(n);
            let open = || {
                let mut session = model.session().capacity(16).open().unwrap();
                session.push(before).unwrap();
                session
            };
            let mut whole = open();
            whole.push(after).unwrap();
            let mut profiled = open();
            profiled.profile(after).unwrap();
            assert_eq!(choose(&mut profiled), choose(&mut whole));
            let mut hidden = open();
            hidden.hidden(after).unwrap();
            assert_eq!(choose(&mut hidden), choose(&mut whole));
        }
    }
}

fn check_hidden<M: gpt_runtime::Gpt>() {
    let weights = UnitGain::new(M::plan(), 3, Format::F32);
    let spec = &M::plan().spec;
    let oracle = gpt_tests::oracle::Gpt::new(M::plan(), &weights).unwrap();
    let tokens = tokens(spec.vocab, 20);
    let expected = oracle.hidden(&tokens);
    for device in gpu::devices() {
        let model = model::<M>(&device);
        for chunk in [20, 7, 1] {
            let mut session = model.session().capacity(20).chunk(chunk).open().unwrap();
            let hidden = session.hidden(&tokens).unwrap();
            assert_eq!((hidden.rows(), hidden.width()), (20, spec.embed as usize));
            assert_eq!(hidden.row(19), &hidden[19 * hidden.width()..]);
            let (error, name) = (nmse(&hidden, &expected), &M::plan().name);
            assert!(error < 1e-11, "{name} on {}: {error:e}", device.name());
            assert_eq!(session.tokens(), tokens);
        }
    }
}

#[test]
fn hidden_states_are_those_of_the_oracle() {
    check_hidden::<Gpt2>();
    check_hidden::<SmolLm2>();
    check_hidden::<Gpt1>();
    check_hidden::<Bidirectional>();
}

#[test]
fn invalid_input_is_rejected() {
    for device in gpu::devices() {
        let model = model::<Gpt2>(&device);
        let refuse = |result: Result<(), gpt_runtime::Error>, what: &str| {
            let message = result.unwrap_err().to_string();
            assert!(message.contains(what), "{message}");
        };
        let mut session = model.session().capacity(4).open().unwrap();
        refuse(session.push(&[]).map(drop), "the list of tokens is empty");
        refuse(
            session.push(&[101]).map(drop),
            "token 101 is not in the vocabulary of Gpt2, which has 101 tokens",
        );
        refuse(
            session.push(&[0; 5]).map(drop),
            "5 tokens do not fit: 0 of the session's 4 positions are taken",
        );
        refuse(session.each_logits(&[1], |_, _| {}), "all_logits()");
        refuse(model.session().capacity(65).open().map(drop), "a context of 64");
        refuse(model.session().chunk(0).open().map(drop), "at least 1");
        // The session still works after the errors.
        session.push(&[1, 2, 3]).unwrap();
        assert_eq!((session.tokens(), session.remaining()), (&[1, 2, 3][..], 1));

        let model = self::model::<Bidirectional>(&device);
        let mut session = model.session().open().unwrap();
        session.push(&[1, 2]).unwrap();
        refuse(session.push(&[3]).map(drop), "truncate the session to 0 first");
    }
}
