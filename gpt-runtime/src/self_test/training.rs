//! The self-test of training: the gradients of a batch, and a step of the optimizer.
//!
//! The engines share no intermediate outputs of the backward pass, but every kernel contributes to
//! the gradient of some parameter. So gradients are compared, from the last layer to the first: the
//! first failure is the nearest to the wrong kernel.

use gpt_plan::{Format, Plan, Recompute, TensorId, TrainShape};

use super::{Check, SEED, SelfTest, error};
use crate::engine::{
    EngineTrainer, Learn, Precision, Sequences, TensorState, TrainerOptions, Update,
};
use crate::truncated_plan::{some_tokens, truncate};
use crate::vtable::{Gpt, ModelVtable};
use crate::weights::unit_gain::UnitGain;
use crate::{Device, Error, Model};

/// Tokens of each sequence: two tiles of attention and one more.
const TOKENS: u32 = 33;
/// Sequences of the batch.
const SEQUENCES: u32 = 2;

/// The bound of errors: f32 arithmetic and a driver's `exp`, forward and backward through the first
/// layers.
const BOUND: f64 = 1e-9;

/// The mean square of a tensor's gradient counts as at least this share of the mean square of all
/// gradients, because some gradients cancel to nearly 0.
const CANCELS: f64 = 1e-3;

impl<M: Gpt> Model<M> {
    /// Trains the first layers of this model, at its own shapes, on a batch on `device`. Compares
    /// every gradient with that of the CPU engine's portable kernels; see [`self_test_training`].
    ///
    /// # Errors
    /// See [`self_test_training`].
    pub fn self_test_training(device: &Device) -> Result<SelfTest, Error> {
        self_test_training(M::plan(), device)
    }
}

/// Trains the first layers of `plan` on a batch on `device`, in f32, and compares the loss, the
/// gradient of every parameter and the step of AdamW with the CPU engine's portable kernels. A
/// device that computes wrongly is not an `Err`.
///
/// # Errors
/// Fails if the device has no memory for the first layers and the head, their gradients and
/// moments, or is lost.
pub fn self_test_training(plan: &'static Plan, device: &Device) -> Result<SelfTest, Error> {
    compare(plan, device, [SEED; 2])
}

/// Runs the self-test with weights of the first seed on the device and of the second for the
/// reference.
fn compare(plan: &'static Plan, device: &Device, seeds: [u64; 2]) -> Result<SelfTest, Error> {
    let portable = Device::portable()?;
    let plan = truncate(plan);
    let found = Learned::of(plan, device, seeds[0])?;
    let expected = Learned::of(plan, &portable, seeds[1])?;
    let check = |step, layer, error| Check {
        format: Format::F32,
        rows: found.rows,
        step,
        layer,
        error,
        bound: BOUND,
    };
    // With a vocabulary of one token the loss is 0.
    let mean = |learned: &Learned| (learned.loss / f64::from(learned.rows)) as f32;
    let loss = error(&[mean(&found)], &[mean(&expected)], 1e-4);
    let mut checks = vec![check("loss", 0, loss)];
    let typical = CANCELS * mean_square(&expected.gradients);
    for (i, &(id, layer)) in parameters(plan).iter().enumerate() {
        // Leaked like the truncated plan.
        let step = Box::leak(format!("d({})", plan.tensor(id).name).into_boxed_str());
        let error = error(&found.gradients[i], &expected.gradients[i], typical);
        checks.push(check(step, layer, error));
    }
    let typical = CANCELS * mean_square(&expected.moves);
    let moves = found.moves.iter().zip(&expected.moves);
    let worst = moves.map(|(found, expected)| error(found, expected, typical));
    checks.push(check("adamw", 0, worst.fold(0.0, f64::max)));
    Ok(SelfTest {
        device: device.name(),
        reference: portable.name(),
        checks,
        skipped_formats: Vec::new(),
    })
}

/// The results of a step of training.
struct Learned {
    rows: u32,
    loss: f64,
    /// The gradient of each of [`parameters`].
    gradients: Vec<Vec<f32>>,
    /// How far the optimizer moved each parameter.
    moves: Vec<Vec<f32>>,
}

impl Learned {
    fn of(plan: &'static Plan, device: &Device, seed: u64) -> Result<Learned, Error> {
        let tokens = TOKENS.min(plan.spec.context);
        let rows = SEQUENCES * tokens;
        let options = TrainerOptions {
            shape: TrainShape { batch: SEQUENCES, tokens, recompute: Recompute::Nothing },
            precision: Precision::F32,
        };
        let weights = UnitGain::new(plan, seed, Format::F32);
        let mut trainer = ModelVtable::of_plan(plan).trainer(device, &weights, options)?;
        let text = some_tokens(&plan.spec, rows + 1);
        let batch = Sequences { inputs: &text[..rows as usize], targets: &text[1..], tokens };
        let options = Learn { first: true, scale: 1.0, dropout: None };
        let loss = trainer.learn(&batch, &options)?;
        let read = |trainer: &mut dyn EngineTrainer, state| {
            let read = parameters(plan).into_iter().map(|(id, layer)| {
                let mut values = vec![0.0; plan.tensor(id).len() as usize];
                trainer.read(state, id, layer, &mut values)?;
                Ok(values)
            });
            read.collect::<Result<Vec<_>, Error>>()
        };
        let gradients = read(&mut *trainer, TensorState::Gradient)?;
        let mut moves = read(&mut *trainer, TensorState::Parameter)?;
        // With this large an `eps` a step follows its gradient. With a small one it is hardly more
        // than the gradient's sign, which is arbitrary near 0.
        trainer.update(&Update {
            step: 1,
            lr: 0.5,
            beta1: 0.9,
            beta2: 0.99,
            eps: 1.0,
            weight_decay: 0.1,
            clip: None,
            scale: 1.0,
        })?;
        let after = read(&mut *trainer, TensorState::Parameter)?;
        for (before, after) in moves.iter_mut().flatten().zip(after.iter().flatten()) {
            *before = after - *before;
        }
        Ok(Learned { rows, loss, gradients, moves })
    }
}

/// All trained tensors: those of the last layer first, as the backward pass computes their
/// gradients, and the model's own tensors at the end.
fn parameters(plan: &Plan) -> Vec<(TensorId, u32)> {
    let mut all: Vec<_> = plan.trained().collect();
    all.reverse();
    all
}

fn mean_square(tensors: &[Vec<f32>]) -> f64 {
    let all = tensors.iter().flatten();
    let count = tensors.iter().map(Vec::len).sum::<usize>().max(1);
    all.map(|x| f64::from(*x).powi(2)).sum::<f64>() / count as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::testing;

    #[test]
    fn weights_of_another_seed_are_seen_in_every_gradient() {
        let device = Device::cpu().unwrap();
        for plan in [testing::gpt2(), testing::llama()] {
            let same = compare(plan, &device, [1, 1]).unwrap();
            assert_eq!(same.first_failed(), None);
            assert_eq!(same.checks.len(), parameters(plan).len() + 2);
            let other = compare(plan, &device, [1, 2]).unwrap();
            let passed = other.checks.iter().find(|check| check.passed());
            assert_eq!(passed, None);
        }
    }
}
