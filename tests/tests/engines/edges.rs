//! Edge cases: a vocabulary, a head and a context of 1, a prompt as long as the context and one
//! longer, a text of one character. Each has the right values on both engines, or an error of one
//! sentence.

use gpt_plan::{Format, Spec};
use gpt_runtime::train::{RandomWindows, Tokens};
use gpt_runtime::{
    AdamW, Ended, Error, Model, Sampling, Stop, Tokenizer, Trainer, TrainerSettings, Untyped,
};
use gpt_tests::compare::nmse;
use gpt_tests::oracle::Gpt;
use gpt_tests::unit_gain::UnitGain;
use gpt_tests::{gpu, specs};

fn spec(keys: &str) -> Spec {
    gpt_codegen::spec(keys).unwrap_or_else(|_| panic!("{keys}"))
}

fn tokens(spec: &Spec, count: u32) -> Vec<u32> {
    (0..count).map(|i| (i * 7 + 3) % spec.vocab).collect()
}

const SMALL: [(&str, &str); 6] = [
    ("a vocabulary of 1", "vocab: 1, context: 6, layers: 1, heads: 2, embed: 8"),
    ("a head", "vocab: 5, context: 6, layers: 1, heads: 1, embed: 8"),
    ("heads of width 1", "vocab: 5, context: 6, layers: 2, heads: 4, embed: 4"),
    ("a width of 1", "vocab: 5, context: 6, layers: 1, heads: 1, embed: 1"),
    ("a context of 1", "vocab: 5, context: 1, layers: 2, heads: 2, embed: 8"),
    (
        "a rotary context of 1",
        "vocab: 5, context: 1, layers: 1, heads: 2, embed: 8, bias: false, \
         norm: RmsNorm { eps: 1e-5 }, mlp: Gated { hidden: 8, activation: Silu }, \
         positions: Rope { theta: 10_000.0 }",
    ),
];

#[test]
fn small_models_have_the_values_of_the_oracle() {
    for (what, keys) in SMALL {
        let spec = spec(keys);
        let plan = specs::plan("Small", &spec);
        let weights = UnitGain::new(plan, 3, Format::F32);
        let ids = tokens(&spec, spec.context);
        let forward = Gpt::new(plan, &weights).unwrap().forward(&ids);
        let expected: Vec<f64> = forward.logits.iter_rows().flatten().copied().collect();
        for device in gpu::devices() {
            let model = Model::<Untyped>::from_plan(plan, &weights, &device).unwrap();
            let mut logits = Vec::new();
            let mut session = model.session().all_logits().open().unwrap();
            session.each_logits(&ids, |_, row| logits.extend_from_slice(row)).unwrap();
            let error = nmse(&logits, &expected);
            assert!(error < 1e-10, "{what} on {}: NMSE {error:e}", device.name());
        }
    }
}

/// One token follows a prompt that fills the context; a longer prompt is refused.
#[test]
fn prompts_as_long_as_the_context() {
    for (what, keys) in SMALL {
        let spec = spec(keys);
        let plan = specs::plan("Small", &spec);
        let weights = UnitGain::new(plan, 3, Format::F32);
        for device in gpu::devices() {
            let model = Model::<Untyped>::from_plan(plan, &weights, &device).unwrap();
            let ids = tokens(&spec, spec.context + 1);
            let (fitting, _) = ids.split_at(spec.context as usize);
            let mut session = model.session().open().unwrap();
            let mut generation =
                session.generate_tokens(fitting, Sampling::default(), Stop::default()).unwrap();
            let generated: Vec<u32> = generation.by_ref().map(Result::unwrap).collect();
            assert_eq!(generated.len(), 1, "{what} on {}", device.name());
            assert!(generated[0] < spec.vocab);
            assert_eq!(generation.ended(), Some(Ended::Full));
            let mut session = model.session().open().unwrap();
            let error = session.push(&ids).map(drop).unwrap_err();
            assert!(matches!(error, Error::Input(_)), "{what}: {error}");
            assert!(error.to_string().contains("tokens do not fit"), "{what}: {error}");
            // The session is unchanged.
            assert!(session.push(fitting).is_ok());
        }
    }
}

/// A model of one token has nothing to learn: its loss is 0, and so is its gradient.
#[test]
fn a_text_of_one_character() {
    let tokenizer = Tokenizer::characters(&"a".repeat(500)).unwrap();
    assert_eq!(tokenizer.vocab(), 1);
    let ids = tokenizer.encode(&"a".repeat(500)).unwrap();
    let spec = spec(SMALL[0].1);
    let plan = specs::plan("One", &spec);
    let data = RandomWindows::new(Tokens::from(ids), 2, 6, 1).unwrap();
    for device in gpu::devices() {
        let weights = UnitGain::new(plan, 3, Format::F32);
        let settings = TrainerSettings { batch: 2, ..AdamW::default().into() };
        let mut trainer = Trainer::<Untyped>::from_plan(plan, &device, &weights, settings).unwrap();
        for step in 0..3 {
            assert_eq!(trainer.step(&data.batch(step)).unwrap(), 0.0, "{}", device.name());
            assert_eq!(trainer.gradient_norm(), 0.0);
        }
    }
    let pairs = Tokenizer::byte_pairs(&"a".repeat(500), 260).unwrap();
    let encoded = pairs.encode(&"a".repeat(500)).unwrap();
    assert_eq!(pairs.decode(&encoded).unwrap(), "a".repeat(500));
}
