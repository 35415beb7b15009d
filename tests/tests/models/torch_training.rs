//! Compares training with PyTorch: gradients of all tensors, and losses of ten AdamW steps (written
//! by fixtures/training.py).
//!
//! PyTorch's gradients have the names and layouts of the weights, so the weight loader maps them to
//! the plan's tensors. The oracle is compared first, because all other tests rely on it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use gpt_plan::{Format, Plan, Recompute};
use gpt_runtime::__private::cpu::{ActivateWithSlopes, CpuDevice, CpuTrainer};
use gpt_runtime::__private::engine::{EngineTrainer, TensorState, Update};
use gpt_runtime::__private::gpu::GpuTrainer;
use gpt_runtime::Gpt;
use gpt_runtime::weights::{self, Checkpoint, Weights};
use gpt_tests::adamw::Moments;
use gpt_tests::gpu;
use gpt_tests::oracle::{self, Parameters, dequantise};
use gpt_tests::training::{Batch, learn, options, read};

use crate::{Gpt1, Gpt2, Llama, Sinusoidal};

/// PyTorch's results for one model.
struct Fixture {
    name: &'static str,
    plan: &'static Plan,
    activate: ActivateWithSlopes,
    weights: Checkpoint,
    batch: Batch,
    /// The gradients of the tensors, in the order of [`Plan::trained`].
    gradients: Vec<Vec<f64>>,
    /// The loss before each step, and after the last.
    losses: Vec<f64>,
    /// The gradient's norm at each step.
    norms: Vec<f64>,
}

impl Fixture {
    fn of<M: Gpt>(name: &'static str) -> Fixture {
        let plan = M::plan();
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
        let folder = fixtures.join(name);
        let open = |file: PathBuf| weights::open(&file, plan, Some(Format::F32)).unwrap();
        let gradients = open(folder.join("gradients.safetensors"));
        let gradient = |(id, layer)| dequantise(&gradients.tensor(id, layer).unwrap()).values;
        let json = std::fs::read_to_string(folder.join("training.json")).unwrap();
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        let read = |key: &str| flat(&json[key]);
        let ids = |key: &str| read(key).into_iter().map(|id| id as u32).collect();
        Fixture {
            name,
            plan,
            activate: M::activate,
            weights: open(folder.join("model.safetensors")),
            batch: Batch {
                inputs: ids("inputs"),
                targets: ids("targets"),
                tokens: json["inputs"][0].as_array().unwrap().len() as u32,
            },
            gradients: plan.trained().map(gradient).collect(),
            losses: read("losses"),
            norms: read("norms"),
        }
    }

    fn all() -> [Fixture; 4] {
        [
            Fixture::of::<Gpt2>("gpt2"),
            Fixture::of::<Gpt1>("gpt1"),
            Fixture::of::<Llama>("llama"),
            Fixture::of::<Sinusoidal>("sinusoidal"),
        ]
    }

    fn check_gradient(&self, tensor: usize, found: &[f64], bound: f64) {
        let expected = &self.gradients[tensor];
        let size =
            |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>().sqrt();
        let difference = &mut found.iter().zip(expected).map(|(a, b)| a - b);
        let error = size(difference) / size(&mut expected.iter().copied());
        let (id, layer) = self.plan.trained().nth(tensor).unwrap();
        let what = &self.plan.tensor(id).name;
        assert!(
            found.len() == expected.len() && error <= bound,
            "{}: the gradient of {what} in layer {layer} is off by {error:e}",
            self.name
        );
    }

    fn check_step(&self, step: usize, loss: f64, norm: Option<f64>, bound: f64) {
        let expected = (self.losses[step], norm.map(|_| self.norms[step]));
        let far = |a: f64, b: f64| (a - b).abs() > bound * b;
        assert!(
            !far(loss, expected.0) && !norm.zip(expected.1).is_some_and(|(a, b)| far(a, b)),
            "{}: after {step} steps loss and norm are {:?}, not {expected:?}",
            self.name,
            (loss, norm)
        );
    }
}

/// The numbers of an array, or of an array of arrays.
fn flat(json: &serde_json::Value) -> Vec<f64> {
    match json.as_array() {
        Some(values) => values.iter().flat_map(flat).collect(),
        None => vec![json.as_f64().expect("a number")],
    }
}

/// The settings of fixtures/training.py.
fn update(step: usize) -> Update {
    Update {
        step: step as u64,
        lr: 1e-3,
        beta1: 0.9,
        beta2: 0.95,
        eps: 1e-8,
        weight_decay: 0.1,
        clip: Some(1.0),
        scale: 1.0,
    }
}

/// All values of `parameters`, and whether they decay.
fn tensors(parameters: &mut Parameters) -> Vec<(Vec<f64>, bool)> {
    let mut tensors = Vec::new();
    parameters.visit(&mut |name, values| {
        let is_vector = ["gamma", "beta", "bias"].iter().any(|v| name.starts_with(v));
        tensors.push((values.to_vec(), !is_vector));
    });
    tensors
}

/// The bounds differ because the files hold gradients in f32, but losses and norms in f64.
#[test]
fn the_oracle_matches_pytorch() {
    for fixture in Fixture::all() {
        let Fixture { plan, batch, .. } = &fixture;
        let mut gpt = oracle::Gpt::new(plan, &fixture.weights).unwrap();
        let (_, gradients) = gpt.batch_gradients(&batch.sequences(), None);
        for (tensor, (id, layer)) in plan.trained().enumerate() {
            let found = gradients.tensor(&plan.spec, &plan.tensor(id).name, layer);
            fixture.check_gradient(tensor, &found, 1e-7);
        }

        let mut moments: Vec<Moments> = Vec::new();
        for (parameter, _) in tensors(&mut gpt.parameters) {
            moments.push(Moments {
                first: vec![0.0; parameter.len()],
                second: vec![0.0; parameter.len()],
                parameter,
            });
        }
        for step in 0..fixture.norms.len() {
            let (loss, mut gradients) = gpt.batch_gradients(&batch.sequences(), None);
            let gradients = tensors(&mut gradients);
            let squares = gradients.iter().flat_map(|(values, _)| values);
            let norm = squares.map(|g| g * g).sum::<f64>().sqrt();
            fixture.check_step(step, loss, Some(norm), 1e-12);
            for ((gradient, decays), moments) in gradients.iter().zip(&mut moments) {
                // PyTorch adds a small constant against a division by zero.
                let factor = (1.0 / (norm + 1e-6)).min(1.0);
                let clipped: Vec<f64> = gradient.iter().map(|g| g * factor).collect();
                moments.step(&clipped, &update(step + 1), *decays);
            }
            let mut moved = moments.iter();
            gpt.parameters.visit(&mut |_, values| {
                values.copy_from_slice(&moved.next().expect("a tensor for each").parameter);
            });
        }
        let loss = gpt.batch_loss(&batch.sequences(), None);
        fixture.check_step(fixture.norms.len(), loss, None, 1e-12);
    }
}

/// Compares an engine's gradients and ten steps, with the documented bounds.
fn check(fixture: &Fixture, trainer: &mut dyn EngineTrainer) {
    let Fixture { plan, batch, .. } = fixture;
    let rows = batch.rows();
    for step in 0..=fixture.norms.len() {
        let loss = trainer.learn(&batch.sequences(), &learn(true, rows));
        let loss = loss.unwrap() / f64::from(rows);
        if step == 0 {
            for (tensor, found) in read(plan, trainer, TensorState::Gradient).iter().enumerate() {
                let found: Vec<f64> = found.iter().copied().map(f64::from).collect();
                fixture.check_gradient(tensor, &found, 1e-5);
            }
        }
        if step == fixture.norms.len() {
            fixture.check_step(step, loss, None, 1e-5);
            break;
        }
        let norm = trainer.update(&update(step + 1)).unwrap();
        fixture.check_step(step, loss, Some(norm), 1e-5);
    }
}

#[test]
fn the_cpu_engine_matches_pytorch() {
    let device = Arc::new(CpuDevice::new(Some(2)).unwrap());
    for fixture in Fixture::all() {
        let options = options(2, fixture.batch.tokens, Recompute::Nothing);
        let Fixture { plan, weights, .. } = &fixture;
        let activate = Some(fixture.activate);
        let trainer = CpuTrainer::new(device.clone(), plan, activate, weights, options);
        check(&fixture, &mut trainer.unwrap());
    }
}

#[test]
fn the_gpu_engine_matches_pytorch() {
    let Some(device) = gpu::device() else { return };
    for fixture in Fixture::all() {
        let options = options(2, fixture.batch.tokens, Recompute::Nothing);
        let Fixture { plan, weights, .. } = &fixture;
        let trainer = GpuTrainer::new(device.clone(), plan, weights, options);
        check(&fixture, &mut trainer.unwrap());
    }
}
