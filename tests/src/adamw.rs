//! AdamW in f64 as in PyTorch's documentation, compared with an engine's steps.

use gpt_plan::{Plan, TensorKind};
use gpt_runtime::__private::engine::{EngineTrainer, TensorState, Update};

use crate::training::{Batch, check_same, check_tensors, first, learn, read, update};

/// A tensor's values and moments.
#[derive(Clone, Debug)]
pub struct Moments {
    pub parameter: Vec<f64>,
    pub first: Vec<f64>,
    pub second: Vec<f64>,
}

impl Moments {
    /// Takes one step with the clipped `gradient`. `decays` is true for matrices and tables.
    pub fn step(&mut self, gradient: &[f64], update: &Update, decays: bool) {
        let number = |x: f32| f64::from(x);
        let (beta1, beta2) = (number(update.beta1), number(update.beta2));
        let corrected = |beta: f64| 1.0 - beta.powi(update.step as i32);
        let (lr, eps) = (number(update.lr), number(update.eps));
        for (i, &g) in gradient.iter().enumerate() {
            let parameter = &mut self.parameter[i];
            if decays {
                *parameter -= lr * number(update.weight_decay) * *parameter;
            }
            self.first[i] = beta1 * self.first[i] + (1.0 - beta1) * g;
            self.second[i] = beta2 * self.second[i] + (1.0 - beta2) * g * g;
            let mean = self.first[i] / corrected(beta1);
            let deviation = (self.second[i] / corrected(beta2)).sqrt();
            *parameter -= lr * mean / (deviation + eps);
        }
    }
}

/// Checks three steps, the second of them clipped, then one with a NaN gradient, which must change
/// nothing.
#[track_caller]
pub fn check(name: &str, plan: &Plan, trainer: &mut dyn EngineTrainer, batch: &Batch) {
    let wide = |values: Vec<Vec<f32>>| -> Vec<Vec<f64>> {
        let wide = |tensor: Vec<f32>| tensor.into_iter().map(f64::from).collect();
        values.into_iter().map(wide).collect()
    };
    let mut tensors: Vec<Moments> = wide(read(plan, trainer, TensorState::Parameter))
        .into_iter()
        .map(|parameter| Moments {
            first: vec![0.0; parameter.len()],
            second: vec![0.0; parameter.len()],
            parameter,
        })
        .collect();
    for step in 1..4 {
        trainer.learn(&batch.sequences(), &learn(true, batch.rows())).unwrap();
        // The engine's own gradient, which other tests compare with the oracle's: near zero, a
        // gradient of another sign would change the result by a whole step.
        let mut gradients = wide(read(plan, trainer, TensorState::Gradient));
        let square: f64 = gradients.iter().flatten().map(|g| g * g).sum();
        let norm = square.sqrt();
        let mut update = update(step);
        if step == 2 {
            update.clip = Some((norm / 3.0) as f32);
            let factor = (1.0f64 / 3.0).min(1.0);
            gradients
                .iter_mut()
                .flatten()
                .for_each(|g| *g *= if norm > 0.0 { factor } else { 1.0 });
        }
        let found = trainer.update(&update).unwrap();
        assert!(
            (found - norm).abs() <= 1e-5 * norm,
            "{name}: the gradient's norm is {found}, not {norm}"
        );
        for ((moments, gradient), (id, _)) in tensors.iter_mut().zip(&gradients).zip(plan.trained())
        {
            let decays = plan.tensor(id).kind != TensorKind::Vector;
            moments.step(gradient, &update, decays);
        }
        type Part = fn(&Moments) -> Vec<f64>;
        let parts: [(TensorState, Part); 3] = [
            (TensorState::FirstMoment, |m| m.first.clone()),
            (TensorState::SecondMoment, |m| m.second.clone()),
            (TensorState::Parameter, |m| m.parameter.clone()),
        ];
        for (state, part) in parts {
            let what = format!("{name}, {state:?} after step {step}");
            let expected: Vec<Vec<f64>> = tensors.iter().map(part).collect();
            check_tensors(&what, plan, &read(plan, trainer, state), &expected, 1e-5);
        }
    }
    nothing_changes(name, plan, trainer);
}

/// Asserts that a NaN gradient is reported and changes nothing.
#[track_caller]
fn nothing_changes(name: &str, plan: &Plan, trainer: &mut dyn EngineTrainer) {
    let states = [TensorState::Parameter, TensorState::FirstMoment, TensorState::SecondMoment];
    let before = states.map(|state| read(plan, trainer, state));
    let (id, layer) = first(plan);
    let mut gradient = vec![0.0; plan.tensor(id).len() as usize];
    *gradient.last_mut().expect("a tensor has elements") = f32::NAN;
    trainer.write(TensorState::Gradient, id, layer, &gradient).unwrap();
    let norm = trainer.update(&update(4)).unwrap();
    assert!(!norm.is_finite(), "{name}: a norm of {norm}");
    for (state, before) in states.into_iter().zip(before) {
        let what = format!("{name}, {state:?} after a gradient that is not a number");
        check_same(&what, plan, &before, &read(plan, trainer, state));
    }
}
