//! The oracle's gradients against finite differences of its loss: every tensor of every odd spec.

use gpt_plan::Format;
use gpt_tests::lively::Lively;
use gpt_tests::oracle::{Gpt, Parameters};
use gpt_tests::{specs, tokens};

/// Half the distance of a central difference. Its own error is about its square, and 1e-16 over it from rounding.
const STEP: f64 = 1e-5;

/// Element `index` of tensor `tensor`, shifted by `by`.
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

#[test]
fn gradients_are_the_slopes_of_the_loss() {
    for (name, spec) in specs::odd() {
        let plan = specs::plan(name, &spec);
        let mut gpt = Gpt::new(plan, &Lively::new(plan, 11, Format::F32)).unwrap();
        let n = 6.min(spec.context as usize);
        let inputs = tokens(spec.vocab, n);
        let targets: Vec<u32> = inputs.iter().map(|t| (t * 7 + 3) % spec.vocab).collect();
        let gradients = flat(&mut gpt.gradients(&inputs, &targets));
        // What is left to rounding in a difference of losses.
        let noise = 1e-15 * gpt.loss(&inputs, &targets).max(1.0) / STEP;
        for (tensor, (what, gradient)) in gradients.iter().enumerate() {
            assert!(gradient.iter().all(|g| g.is_finite()), "{name}: {what}");
            let size = (gradient.iter().map(|g| g * g).sum::<f64>() / gradient.len() as f64).sqrt();
            // The embedding of a token that occurs, and others spread over the tensor.
            let first = if tensor == 0 {
                inputs[0] as usize * spec.embed as usize
            } else {
                0
            };
            for index in [first, gradient.len() / 3, gradient.len() - 1] {
                let mut loss = |by| {
                    shift(&mut gpt.parameters, tensor, index, by);
                    let loss = gpt.loss(&inputs, &targets);
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
}

/// A loss before learning is that of guessing: the logarithm of the vocabulary.
#[test]
fn an_untrained_model_guesses() {
    use gpt_runtime::weights::RandomWeights;
    let spec = specs::gpt2();
    let plan = specs::plan("gpt2", &spec);
    let gpt = Gpt::new(plan, &RandomWeights::new(plan, 1, Format::F32)).unwrap();
    let inputs = tokens(spec.vocab, 20);
    let loss = gpt.loss(&inputs[..19], &inputs[1..]);
    let guess = f64::from(spec.vocab).ln();
    assert!((loss - guess).abs() < 0.1, "{loss} is far from {guess}");
}

/// Following the gradient downhill makes the loss smaller, by what the gradient promises.
#[test]
fn a_small_step_downhill() {
    for (name, spec) in [
        ("gpt2", specs::gpt2()),
        ("smollm2", specs::smollm2()),
        ("article", specs::article()),
    ] {
        let plan = specs::plan(name, &spec);
        let mut gpt = Gpt::new(plan, &Lively::new(plan, 2, Format::F32)).unwrap();
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
        assert!(
            (fell / 1e-4 - 1.0).abs() < 0.02,
            "{name}: the loss fell by {fell}, not 1e-4"
        );
    }
}
