//! Compares the oracle's gradients with finite differences of its loss: all tensors of all odd
//! specs.

use gpt_plan::{Dropout, Format, Site, Spec};
use gpt_runtime::__private::engine::{IGNORED, Sequences};
use gpt_tests::oracle::{Gpt, Masks, Matrix, Parameters};
use gpt_tests::unit_gain::UnitGain;
use gpt_tests::{specs, tokens};

/// The step of a central difference. The error of the difference is about the square of the step,
/// plus 1e-16 divided by the step from rounding.
const STEP: f64 = 1e-5;

/// Adds `by` to element `index` of tensor `tensor`.
fn shift(parameters: &mut Parameters, tensor: usize, index: usize, by: f64) {
    let mut at = 0;
    parameters.visit(&mut |_, values| {
        if at == tensor {
            values[index] += by;
        }
        at += 1;
    });
}

fn flat(parameters: &mut Parameters) -> Vec<(String, Vec<f64>)> {
    let mut tensors = Vec::new();
    parameters.visit(&mut |name, values| tensors.push((name, values.to_vec())));
    tensors
}

/// Compares three elements of each gradient of `gpt` with finite differences.
fn check(name: &str, gpt: &mut Gpt, batch: &Sequences<'_>, dropout: Option<Dropout>) {
    let (loss, mut gradients) = gpt.batch_gradients(batch, dropout);
    assert_eq!(loss, gpt.batch_loss(batch, dropout), "{name}: the loss");
    // The rounding error of a difference of losses.
    let noise = 1e-15 * loss.max(1.0) / STEP;
    for (tensor, (what, gradient)) in flat(&mut gradients).iter().enumerate() {
        assert!(gradient.iter().all(|g| g.is_finite()), "{name}: {what}");
        let size = (gradient.iter().map(|g| g * g).sum::<f64>() / gradient.len() as f64).sqrt();
        // The embedding of a token in the batch, and others spread over the tensor.
        let first = if tensor == 0 { (batch.inputs[0] * gpt.spec.embed) as usize } else { 0 };
        for index in [first, gradient.len() / 3, gradient.len() - 1] {
            let mut loss = |by| {
                shift(&mut gpt.parameters, tensor, index, by);
                let loss = gpt.batch_loss(batch, dropout);
                shift(&mut gpt.parameters, tensor, index, -by);
                loss
            };
            let slope = (loss(STEP) - loss(-STEP)) / (2.0 * STEP);
            let error = (gradient[index] - slope).abs();
            assert!(
                error <= 1e-6 * slope.abs().max(size) + 100.0 * noise,
                "{name}: {what}, element {index}: {} is not {slope}",
                gradient[index]
            );
        }
    }
}

/// The model of `spec`, and `sequences` sequences of at most `tokens` tokens with their targets.
fn subject(name: &str, spec: &Spec, sequences: usize, tokens: u32) -> (Gpt, [Vec<u32>; 2], u32) {
    let plan = specs::plan(name, spec);
    let gpt = Gpt::new(plan, &UnitGain::new(plan, 11, Format::F32)).unwrap();
    let tokens = tokens.min(spec.context);
    let inputs = gpt_tests::tokens(spec.vocab, sequences * tokens as usize);
    let targets = inputs.iter().map(|t| (t * 7 + 3) % spec.vocab).collect();
    (gpt, [inputs, targets], tokens)
}

#[test]
fn gradients_match_finite_differences() {
    for (name, spec) in specs::odd() {
        let (mut gpt, [inputs, targets], tokens) = subject(name, &spec, 1, 6);
        let batch = Sequences { inputs: &inputs, targets: &targets, tokens };
        check(name, &mut gpt, &batch, None);
    }
}

/// Two sequences with a dropout of 0.3.
#[test]
fn gradients_with_dropout_match_finite_differences() {
    for (name, spec) in specs::odd() {
        let (mut gpt, [inputs, targets], tokens) = subject(name, &spec, 2, 3);
        let batch = Sequences { inputs: &inputs, targets: &targets, tokens };
        check(name, &mut gpt, &batch, Dropout::new(0.3, 5));
    }
}

/// Three sequences: one with two targets, one with a single target, and one without any.
#[test]
fn gradients_with_ignored_targets_match_finite_differences() {
    let names = ["encoder", "masked_words", "gpt2", "softcap"];
    for (name, spec) in specs::odd().into_iter().filter(|(name, _)| names.contains(name)) {
        let (mut gpt, [inputs, mut targets], tokens) = subject(name, &spec, 3, 4);
        for (row, target) in targets.iter_mut().enumerate() {
            if ![0, 3, 6].contains(&row) {
                *target = IGNORED;
            }
        }
        let batch = Sequences { inputs: &inputs, targets: &targets, tokens };
        check(name, &mut gpt, &batch, None);
        // The mean over the three targets.
        let sum =
            2.0 * gpt.loss(&inputs[..4], &targets[..4]) + gpt.loss(&inputs[4..8], &targets[4..8]);
        let loss = gpt.batch_loss(&batch, None);
        assert!((loss - sum / 3.0).abs() < 1e-14, "{name}: {loss} is not {}", sum / 3.0);
    }
}

/// The loss and gradients of a batch are the means over its sequences.
#[test]
fn a_batch_is_the_mean_of_its_sequences() {
    let (gpt, [inputs, targets], tokens) = subject("smollm2", &specs::smollm2(), 3, 5);
    let batch = Sequences { inputs: &inputs, targets: &targets, tokens };
    let (loss, mut gradients) = gpt.batch_gradients(&batch, None);
    let mut mean_loss = 0.0;
    let mut sum = gpt.parameters.zeros();
    for (inputs, targets) in inputs.chunks(5).zip(targets.chunks(5)) {
        mean_loss += gpt.loss(inputs, targets) / 3.0;
        sum.add(gpt.gradients(inputs, targets));
    }
    assert!((loss - mean_loss).abs() < 1e-14, "{loss} is not {mean_loss}");
    for ((what, found), (_, sum)) in flat(&mut gradients).iter().zip(flat(&mut sum)) {
        let pairs = found.iter().zip(&sum);
        let error = pairs.map(|(a, b)| (a - b / 3.0).abs()).fold(0.0, f64::max);
        assert!(error < 1e-14, "{what}: {error}");
    }
}

/// Elements are numbered across the whole batch, as in engines.
#[test]
fn dropout_follows_the_masks() {
    let spec = specs::gpt2();
    let dropout = Dropout::new(0.25, 3).unwrap();
    let masks = Masks { dropout: Some(dropout), sequence: 1 };
    let ones = |rows, columns| Matrix::from_fn(rows, columns, |_, _| 1.0);
    let factors = |site, layer, first: u32, n: usize| -> Vec<f64> {
        let key = Dropout::site_key(dropout.key, site, layer);
        let numbers = (0..n as u32).map(|i| first + i);
        numbers.map(|i| f64::from(dropout.factor(key, i))).collect()
    };
    // The second sequence, after forty rows.
    let rows = masks.of_rows(Site::MlpDown, 1, &ones(40, 64));
    let expected = factors(Site::MlpDown, 1, 40 * 64, 40 * 64);
    assert_eq!(rows.values, expected);
    // After four heads of the first sequence and two of this one.
    let weights = masks.of_weights(&spec, 1, 2, &ones(40, 40));
    let expected = factors(Site::Attention, 1, (4 + 2) * 40 * 40, 40 * 40);
    assert_eq!(weights.values, expected);
}

/// The initial loss is about the logarithm of the vocabulary's size. With a tied head the stream
/// resembles the input token, so an untrained model tends to repeat it.
#[test]
fn an_untrained_model_guesses() {
    use gpt_runtime::weights::RandomWeights;
    let spec = specs::gpt2();
    let plan = specs::plan("gpt2", &spec);
    let gpt = Gpt::new(plan, &RandomWeights::new(plan, 1, Format::F32)).unwrap();
    let inputs = tokens(spec.vocab, 20);
    let loss = gpt.loss(&inputs[..19], &inputs[1..]);
    let guess = f64::from(spec.vocab).ln();
    assert!((loss - guess).abs() < 0.5, "{loss} is far from {guess}");
}

/// A small step along the negative gradient reduces the loss by the predicted amount.
#[test]
fn a_small_step_downhill() {
    for (name, spec) in
        [("gpt2", specs::gpt2()), ("smollm2", specs::smollm2()), ("gpt1", specs::gpt1())]
    {
        let plan = specs::plan(name, &spec);
        let mut gpt = Gpt::new(plan, &UnitGain::new(plan, 2, Format::F32)).unwrap();
        let inputs = tokens(spec.vocab, 12);
        let before = gpt.loss(&inputs[..11], &inputs[1..]);
        let gradients = flat(&mut gpt.gradients(&inputs[..11], &inputs[1..]));
        let square: f64 = gradients.iter().flat_map(|(_, g)| g).map(|g| g * g).sum();
        let rate = 1e-4 / square;
        let mut tensors = gradients.iter();
        gpt.parameters.visit(&mut |_, values| {
            let (_, gradient) = tensors.next().unwrap();
            for (value, g) in values.iter_mut().zip(gradient) {
                *value -= rate * g;
            }
        });
        let fell = before - gpt.loss(&inputs[..11], &inputs[1..]);
        assert!((fell / 1e-4 - 1.0).abs() < 0.02, "{name}: the loss fell by {fell}, not 1e-4");
    }
}
