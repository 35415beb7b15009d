//! Compares sampling on the GPU and on the CPU with f64: all kinds of logits, all filters, several
//! tokens per submission.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;

use gpt_plan::{
    Format, Mask, Mlp, Norm, NormKind, Pattern, Plan, Positions, Rope, Spec, TensorId, TensorKind,
};
use gpt_runtime::__private::engine::{
    CacheFormat, Continue, EngineModel, EngineSession, LogitsRequest, SessionOptions,
};
use gpt_runtime::__private::gpu::{GpuDevice, GpuModel};
use gpt_runtime::weights::{HostTensor, Weights};
use gpt_runtime::{Error, Model, Sampler, Sampling, Stop, Untyped};
use gpt_tests::oracle::Choice;
use gpt_tests::{gpu, specs};

/// The number of draws from each set of logits.
const DRAWS: u32 = 24;

/// The error of a GPU's logarithm is about 2^-21; the division of a logit by a temperature adds
/// 2^-24 of the quotient.
const BOUND: f64 = 1e-4;

/// A model with constant logits: blocks add nothing to its stream of ones, and the head reads the
/// first column.
struct Fixed<'a> {
    plan: &'static Plan,
    logits: &'a [f32],
}

impl Weights for Fixed<'_> {
    fn tensor(&self, id: TensorId, layer: u32) -> Result<HostTensor<'_>, Error> {
        let tensor = self.plan.tensor(id);
        let one = tensor.kind == TensorKind::Vector || tensor.name == "token_embedding";
        let mut values = vec![if one { 1.0 } else { 0.0 }; tensor.len() as usize];
        if tensor.name == "head.weight" {
            let columns = tensor.columns as usize;
            for (row, logit) in values.chunks_mut(columns).zip(self.logits) {
                row[0] = *logit;
            }
        }
        Ok(HostTensor {
            format: self.format(id, layer),
            rows: tensor.rows as usize,
            columns: tensor.columns as usize,
            data: Cow::Owned(values.iter().flat_map(|x| x.to_le_bytes()).collect()),
        })
    }

    fn format(&self, _: TensorId, _: u32) -> Format {
        Format::F32
    }
}

fn plan(vocab: usize) -> &'static Plan {
    let spec = Spec {
        vocab: vocab as u32,
        context: DRAWS,
        layers: 1,
        heads: 1,
        kv_heads: 1,
        embed: 4,
        head_dim: 4,
        mlp: Mlp { hidden: 4, ..specs::gpt2().mlp },
        norm: Norm { kind: NormKind::Rms, eps: 1e-9, ..Norm::default() },
        positions: Positions::Rope(Rope::new(Pattern::all(Some(100.0)), 4)),
        mask: Pattern::all(Mask::Causal),
        bias: false,
        tie_embeddings: false,
        ..specs::gpt2()
    };
    specs::plan("Fixed", &spec)
}

/// A session of a model whose logits are always `logits`.
fn session(device: &Arc<GpuDevice>, logits: &[f32]) -> Box<dyn EngineSession> {
    let plan = plan(logits.len());
    let model = GpuModel::new(device.clone(), plan, &Fixed { plan, logits }).unwrap();
    let options =
        SessionOptions { capacity: DRAWS, chunk: 1, all_logits: false, cache: CacheFormat::F32 };
    model.session(options).unwrap()
}

/// A text of `most` tokens after token 0.
fn generate(
    session: &mut dyn EngineSession,
    sampling: &Sampling,
    stops: &[u32],
    most: u32,
) -> Vec<u32> {
    let mut chosen = Vec::new();
    let mut some = VecDeque::new();
    while (chosen.len() as u32) < most && !chosen.last().is_some_and(|id| stops.contains(id)) {
        let done = chosen.len() as u32;
        let request = Continue {
            token: *chosen.last().unwrap_or(&0),
            position: done,
            most: most - done,
            sampling,
            draw: done,
            stops,
        };
        assert!(session.generate(&request, &mut some).now().unwrap());
        assert!(!some.is_empty(), "at least one token");
        chosen.extend(some.drain(..));
    }
    chosen
}

const ALL: Sampling = Sampling {
    temperature: 1.0,
    top_k: 0,
    top_p: 1.0,
    min_p: 0.0,
    repetition_penalty: 1.0,
    repetition_window: 64,
    seed: 0x0123_4567_89AB_CDEF,
};

/// Each filter alone and all together, at several temperatures.
fn samplings(vocab: usize) -> Vec<Sampling> {
    let mut samplings = vec![
        Sampling::greedy(),
        ALL,
        Sampling { temperature: 0.3, ..ALL },
        Sampling { temperature: 100.0, seed: 1, ..ALL },
        Sampling { temperature: 1e-3, ..ALL },
        Sampling { top_k: vocab, ..ALL },
        Sampling { seed: 7, ..Sampling::default() },
    ];
    for top_k in [1, 2, 40, vocab.saturating_sub(1)] {
        samplings.push(Sampling { top_k, ..ALL });
        samplings.push(Sampling { top_k, top_p: 0.6, temperature: 2.0, ..ALL });
        samplings.push(Sampling { top_k, min_p: 0.2, ..ALL });
    }
    for top_p in [1e-6, 0.3, 0.9, 0.999] {
        samplings.push(Sampling { top_p, ..ALL });
        samplings.push(Sampling { top_p, temperature: 0.5, min_p: 0.05, ..ALL });
        samplings.push(Sampling { top_p, top_k: 100, min_p: 1e-3, ..ALL });
    }
    for min_p in [1e-30, 0.01, 0.5, 1.0] {
        samplings.push(Sampling { min_p, ..ALL });
    }
    samplings
}

/// Checks both samplers on these logits.
fn check(what: &str, device: &Arc<GpuDevice>, logits: &[f32], samplings: &[Sampling]) {
    let mut session = session(device, logits);
    let mut found = vec![0.0; logits.len()];
    session.forward(&[0], 0, LogitsRequest::Last, &mut found).now().unwrap();
    for sampling in samplings {
        let chosen = generate(&mut *session, sampling, &[], DRAWS);
        assert_eq!(chosen.len(), DRAWS as usize);
        let expected = Choice::new(&found, sampling);
        let mut sampler = Sampler::new(sampling.clone(), logits.len()).unwrap();
        for (draw, gpu) in (0..).zip(chosen) {
            let cpu = sampler.sample(&found, &[]);
            for (who, token) in [("the GPU", gpu), ("the sampler", cpu)] {
                let error = expected.error(draw, token);
                assert!(
                    error <= BOUND,
                    "{what}, draw {draw} of {sampling:?}: {who} chose {token}, which is worse by {error:e}"
                );
            }
        }
    }
}

/// Pseudo-random numbers in [0, 1).
fn uniform(i: usize) -> f32 {
    (gpt_plan::hash(i as u32 ^ 0x5EED) >> 8) as f32 / 16_777_216.0
}

/// Approximately normal with standard deviation 1.
fn normal(i: usize) -> f32 {
    let sum: f32 = (0..12).map(|j| uniform(12 * i + j)).sum();
    sum - 6.0
}

#[test]
fn logits_of_all_kinds() {
    let Some(device) = gpu::device() else { return };
    // More than two tiles, the last one ragged.
    let vocab = 4099;
    let kinds: [(&str, &dyn Fn(usize) -> f32); 8] = [
        ("like a model's", &|i| 3.0 * normal(i) - 60.0),
        ("peaked", &|i| if i == vocab - 2 { 25.0 } else { normal(i) }),
        ("all equal", &|_| -1.5),
        ("of five kinds", &|i| (i * 7 % 5) as f32 * 0.25),
        ("nearly equal", &|i| 10.0 + 1e-6 * (i % 97) as f32),
        ("wide", &|i| 1e4 * normal(i)),
        ("with gaps", &|i| match i % 4 {
            0 => f32::NAN,
            1 => f32::NEG_INFINITY,
            _ => normal(i),
        }),
        ("with one that is possible", &|i| {
            if i == 2999 { -3.0 } else { f32::NEG_INFINITY }
        }),
    ];
    for (number, (what, kind)) in kinds.into_iter().enumerate() {
        let logits: Vec<f32> = (0..vocab).map(kind).collect();
        // Each kind with every second filter, since the f64 reference sorts all logits.
        let some: Vec<_> = samplings(vocab).into_iter().skip(number % 2).step_by(2).collect();
        check(what, &device, &logits, &some);
    }
}

/// Logits that overflow f32 when they are divided by a temperature. Both engines still draw the
/// likeliest token, because the distances between logits are large.
#[test]
fn great_logits_do_not_overflow() {
    let vocab = 4099;
    let kinds: [(&str, &dyn Fn(usize) -> f32); 5] = [
        ("of both signs", &|i| f32::MAX * (2.0 * uniform(i) - 1.0)),
        ("positive", &|i| f32::MAX * (0.5 + 0.5 * uniform(i))),
        ("negative", &|i| f32::MIN * (0.5 + 0.5 * uniform(i))),
        ("negative but one", &|i| if i == 2999 { f32::MAX } else { f32::MIN }),
        ("near a limit", &|i| 3e32 * (0.5 + uniform(i))),
    ];
    let temperatures = [1e-6, 0.25, 0.8, 1.0, 2.0, 100.0];
    for (what, kind) in kinds {
        let logits: Vec<f32> = (0..vocab).map(kind).collect();
        let likeliest = (0..vocab).max_by(|a, b| logits[*a].total_cmp(&logits[*b])).unwrap();
        let mut samplings = samplings(vocab);
        samplings.extend(temperatures.map(|temperature| Sampling { temperature, ..ALL }));
        if let Some(device) = gpu::device() {
            check(what, &device, &logits, &samplings);
        }
        let plan = plan(vocab);
        for device in gpu::devices() {
            let weights = Fixed { plan, logits: &logits };
            let model = Model::<Untyped>::from_plan(plan, &weights, &device).unwrap();
            for sampling in &samplings {
                let stop = Stop { tokens: Some(DRAWS as usize / 2), ..Stop::default() };
                let mut session = model.session().open().unwrap();
                let text = session.generate_tokens(&[0], sampling.clone(), stop).unwrap();
                let text: Vec<u32> = text.map(|id| id.unwrap()).collect();
                let name = device.name();
                assert_eq!(
                    text,
                    vec![likeliest as u32; text.len()],
                    "{what}: {sampling:?}, {name}"
                );
                assert_eq!(text.len(), DRAWS as usize / 2);
            }
        }
    }
}

#[test]
fn vocabularies_of_all_sizes() {
    let Some(device) = gpu::device() else { return };
    for vocab in [1, 2, 255, 2048, 2049] {
        let logits: Vec<f32> = (0..vocab).map(|i| 2.0 * normal(i)).collect();
        check(&format!("{vocab} tokens"), &device, &logits, &samplings(vocab));
    }
    // GPT-2's vocabulary, for which candidate lists have thousands of tokens.
    let vocab = 50_257;
    let logits: Vec<f32> = (0..vocab).map(normal).collect();
    let some = [
        Sampling::default(),
        ALL,
        Sampling { top_p: 0.95, ..ALL },
        Sampling { top_k: 20_000, top_p: 0.5, ..ALL },
    ];
    check("as many tokens as GPT-2 has", &device, &logits, &some);
}

/// NaN logits still yield a valid token.
#[test]
fn all_logits_are_nan() {
    let Some(device) = gpu::device() else { return };
    let logits = [f32::NAN; 70];
    let mut session = session(&device, &logits);
    for sampling in samplings(logits.len()) {
        let chosen = generate(&mut *session, &sampling, &[], DRAWS);
        assert!(chosen.iter().all(|id| *id < 70), "{sampling:?}: {chosen:?}");
    }
}

/// A seed determines a text, whatever the earlier texts and the number of tokens per submission. A
/// stop token ends the text.
#[test]
fn seeds_and_stops() {
    let Some(device) = gpu::device() else { return };
    let logits: Vec<f32> = (0..300).map(normal).collect();
    let mut session = session(&device, &logits);
    let sampling = Sampling { seed: 5, top_p: 0.9, ..ALL };
    let text = generate(&mut *session, &sampling, &[], DRAWS);
    let other = Sampling { seed: 6, ..sampling.clone() };
    assert_ne!(generate(&mut *session, &other, &[], DRAWS), text);
    assert_eq!(generate(&mut *session, &sampling, &[], DRAWS), text);
    for most in [1, 2, 7] {
        let some = generate(&mut *session, &sampling, &[], most);
        assert_eq!(some, text[..most as usize]);
    }
    for at in [0, 3, 17] {
        let first = text.iter().position(|id| *id == text[at]).unwrap();
        let stops = [299, text[at]];
        let end = text.iter().position(|id| stops.contains(id)).unwrap();
        assert!(end <= first);
        // Two stop tokens, and more of them than the device checks.
        let many: Vec<u32> = (0..20).map(|i| 10_000 + i).chain(stops).collect();
        for stops in [&stops[..], &many] {
            let stopped = generate(&mut *session, &sampling, stops, DRAWS);
            assert_eq!(stopped, text[..=end]);
            // Tokens submitted beyond the end do not affect the next text.
            assert_eq!(generate(&mut *session, &sampling, &[], DRAWS), text);
        }
    }
}
