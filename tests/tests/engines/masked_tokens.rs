//! Masked tokens on both engines: the loss is the oracle's mean over the hidden tokens, blanks have
//! the oracle's probabilities, and a trained model knows what it can know of a small language.

use gpt_plan::{Format, Mask, Pattern, Plan, Spec};
use gpt_runtime::__private::engine::Sequences;
use gpt_runtime::train::{Batch, Masking, Objective, RandomWindows, Schedule, Tokens};
use gpt_runtime::weights::RandomWeights;
use gpt_runtime::{
    AdamW, Device, DeviceKind, DeviceOptions, Model, Tokenizer, Trainer, TrainerSettings,
};
use gpt_tests::oracle::{Gpt, softmax};
use gpt_tests::unit_gain::UnitGain;
use gpt_tests::{gpu, specs, tokens};

fn spec_of(name: &str) -> Spec {
    let odd = specs::odd().into_iter().find(|(other, _)| *other == name);
    odd.expect("an odd spec").1
}

fn settings(masking: Masking) -> TrainerSettings {
    TrainerSettings {
        batch: 2,
        objective: Objective::Masked(masking),
        ..TrainerSettings::from(AdamW { lr: 1e-2, ..AdamW::default() })
    }
}

/// Batches of three sequences, of which a pass takes two.
#[test]
fn losses_are_means_over_hidden_tokens() {
    for device in gpu::devices() {
        for name in ["encoder", "masked_words", "modern_encoder"] {
            let plan = specs::plan(name, &spec_of(name));
            let weights = UnitGain::new(plan, 5, Format::F32);
            let gpt = Gpt::new(plan, &weights).unwrap();
            let masking = Masking { token: 3, vocab: plan.spec.vocab, seed: 9 };
            let mut trainer =
                Trainer::from_plan(plan, &device, &weights, settings(masking)).unwrap();
            let text = tokens(plan.spec.vocab, 3 * 18);
            let batch = Batch::next_tokens(&text, 17).unwrap().masked(&masking, 4);
            // 15 % of 17, rounded.
            assert_eq!((batch.rows(), batch.counted()), (51, 3 * 3));
            let sequences =
                Sequences { inputs: batch.inputs(), targets: batch.targets(), tokens: 17 };
            let expected = gpt.batch_loss(&sequences, None);
            let what = format!("{name} on {}", device.name());
            let loss = trainer.loss(&batch).unwrap();
            assert!((loss / expected - 1.0).abs() < 3e-6, "{what}: {loss} is not {expected}");
            let loss = trainer.step(&batch).unwrap();
            assert!((loss / expected - 1.0).abs() < 3e-6, "{what}: {loss} is not {expected}");
        }
    }
}

/// A model with a tokenizer of characters and a mask token.
fn model_of(plan: &'static Plan, device: &Device, tokenizer: &Tokenizer) -> Model {
    let weights = UnitGain::new(plan, 5, Format::F32);
    let trainer = Trainer::from_plan(plan, device, &weights, AdamW::default()).unwrap();
    trainer.tokenizer(Some(tokenizer.clone())).model().unwrap()
}

#[test]
fn blanks_have_the_probabilities_of_the_oracle() {
    let tokenizer = Tokenizer::characters("abcdefgh ").unwrap().with_mask_token().unwrap();
    let (name, mask) = tokenizer.mask_token().unwrap();
    for device in gpu::devices() {
        for spec in ["encoder", "masked_words"] {
            let plan = specs::plan(spec, &spec_of(spec));
            let gpt = Gpt::new(plan, &UnitGain::new(plan, 5, Format::F32)).unwrap();
            let model = model_of(plan, &device, &tokenizer);
            let text = format!("ab{name}de f{name}{name}");
            let filled = model.fill(&text, usize::MAX).unwrap();
            let ids = tokenizer.encode(&text).unwrap();
            let logits = gpt.forward(&ids).logits;
            let mut best = ids.clone();
            let positions: Vec<usize> = filled.blanks.iter().map(|b| b.position).collect();
            assert_eq!(positions, [2, 7, 8]);
            for blank in &filled.blanks {
                assert_eq!(ids[blank.position], mask);
                let expected = softmax(logits.row(blank.position));
                // The model has more rows than the tokenizer has tokens.
                assert_eq!(blank.candidates.len(), tokenizer.vocab() - 1);
                assert!(blank.candidates.iter().all(|candidate| candidate.token != mask));
                for candidate in &blank.candidates {
                    let expected = expected[candidate.token as usize];
                    let error = f64::from(candidate.probability) / expected - 1.0;
                    assert!(error.abs() < 1e-4, "{spec} on {}: {error}", device.name());
                }
                let sorted = blank.candidates.is_sorted_by(|a, b| a.probability >= b.probability);
                assert!(sorted, "{spec}");
                best[blank.position] = blank.candidates[0].token;
            }
            assert_eq!(filled.text, tokenizer.decode(&best).unwrap());
            assert_eq!(model.fill(&text, 2).unwrap().blanks[1].candidates.len(), 2);
            for (text, candidates, part) in [
                ("ab", 1, "the text has no [MASK]".to_owned()),
                (text.as_str(), 0, "request at least 1".to_owned()),
                (&"[MASK]".repeat(1 + plan.spec.context as usize), 1, "positions".to_owned()),
            ] {
                let error = model.fill(text, candidates).unwrap_err();
                assert!(error.is_input(), "{error}");
                assert!(error.to_string().contains(&part), "{part} is not in: {error}");
            }
        }
    }
}

#[test]
fn models_without_blanks_are_refused() {
    let device = Device::cpu().unwrap();
    let plain = Tokenizer::characters("abcdefgh").unwrap();
    let masked = plain.with_mask_token().unwrap();
    let error = model_of(specs::plan("gpt2", &specs::gpt2()), &device, &masked)
        .fill("a[MASK]", 1)
        .unwrap_err();
    assert!(error.to_string().contains("gpt2 is causal"), "{error}");
    let error = model_of(specs::plan("encoder", &spec_of("encoder")), &device, &plain)
        .fill("a[MASK]", 1)
        .unwrap_err();
    assert!(error.to_string().contains("has no mask token"), "{error}");
}

/// The words of a language, which follow each other at random, one as likely as another.
const WORDS: [&str; 4] = ["a1a ", "b2b ", "c3c ", "d4d "];

fn language() -> String {
    let mut state = 1_u32;
    let words = (0..3000).map(|_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        WORDS[(state >> 30) as usize]
    });
    words.collect()
}

/// A small model that learns the language: 700 steps of 16 windows. Returns it with the validation
/// loss. A window of 23 tokens is no multiple of a word, so words begin at every position.
fn learned(mask: Mask, tokenizer: &Tokenizer) -> (Trainer, f64) {
    let spec = Spec {
        vocab: tokenizer.vocab() as u32,
        context: 23,
        embed: 32,
        heads: 2,
        kv_heads: 2,
        head_dim: 16,
        mlp: gpt_plan::Mlp { hidden: 128, ..specs::gpt2().mlp },
        mask: Pattern::all(mask),
        ..specs::gpt2()
    };
    let plan = specs::plan("Learner", &spec);
    let text = tokenizer.without_special_tokens().encode(&language()).unwrap();
    let (train, rest) = Tokens::from(text).split_at(10_800);
    let (_, token) = tokenizer.mask_token().unwrap();
    let masking = Masking { token, vocab: spec.vocab, seed: 1 };
    let random = RandomWindows::new(train, 16, 23, 1).unwrap();
    let (objective, data) = match mask {
        Mask::Bidirectional => (Objective::Masked(masking), random.masked(masking)),
        Mask::Causal => (Objective::NextToken, random),
    };
    let settings = TrainerSettings {
        batch: 16,
        schedule: Schedule::cosine(50, 700, 3e-4),
        objective,
        ..TrainerSettings::from(AdamW { lr: 3e-3, ..AdamW::default() })
    };
    let weights = RandomWeights::new(plan, 1, Format::F32);
    // Tasks of so small a model are shorter than the hand-over to another thread.
    let options = DeviceOptions { kind: DeviceKind::Cpu, threads: Some(1), ..Default::default() };
    let device = Device::open(&options).unwrap();
    let trainer = Trainer::from_plan(plan, &device, &weights, settings).unwrap();
    let mut trainer = trainer.tokenizer(Some(tokenizer.clone()));
    for number in 0..700 {
        trainer.step(&data.batch(number)).unwrap();
    }
    let loss = trainer.evaluate(&rest).unwrap();
    (trainer, loss)
}

/// Every blank can be computed: a digit is that of the letters around it, a letter is that of the
/// digit, and a word without any is one of four.
#[test]
fn a_language_is_learned_and_its_blanks_are_right() {
    let tokenizer = Tokenizer::characters(&language()).unwrap().with_mask_token().unwrap();
    let (mut trainer, masked_loss) = learned(Mask::Bidirectional, &tokenizer);
    let model = trainer.model().unwrap();
    let around = ["b2b d4d ", " a1a c3c"];
    for word in WORDS.map(str::trim) {
        for hidden in 0..3 {
            let blank = format!("{}[MASK]{}", &word[..hidden], &word[hidden + 1..]);
            let text = |word: &str| format!("{}{word}{}", around[0], around[1]);
            let filled = model.fill(&text(&blank), 1).unwrap();
            assert_eq!(filled.text, text(word));
            let found = &filled.blanks[0].candidates[0];
            assert_eq!(found.text, word[hidden..=hidden]);
            assert!(found.probability > 0.5, "{blank}: {}", found.probability);
        }
    }
    let unknown = format!("{}[MASK][MASK][MASK]{}", around[0], around[1]);
    let filled = model.fill(&unknown, 4).unwrap();
    for blank in [&filled.blanks[0], &filled.blanks[2]] {
        let mut letters: Vec<&str> = blank.candidates.iter().map(|c| c.text.as_str()).collect();
        letters.sort_unstable();
        assert_eq!(letters, ["a", "b", "c", "d"]);
        // About a quarter each; few windows of the training hide a whole word.
        let probabilities = blank.candidates.iter().map(|c| c.probability);
        assert!(probabilities.clone().sum::<f32>() > 0.9);
        for probability in probabilities {
            assert!((0.03..0.6).contains(&probability), "{probability}");
        }
    }
    // A causal model cannot know which word begins: a quarter of the tokens cost it ln 4.
    let (_, causal_loss) = learned(Mask::Causal, &tokenizer);
    let least = 4f64.ln() / 4.0;
    assert!((0.95 * least..1.3 * least).contains(&causal_loss), "{causal_loss}");
    assert!(masked_loss < 0.75 * least, "{masked_loss}");
}
