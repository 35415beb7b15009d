//! Runs a small model of each family from its files alone. The spec that `config.json` describes is
//! compiled at run time. The logits, or the hidden states of an encoder, are compared with those of
//! transformers in f64 (written by fixtures/families.py).

use std::collections::BTreeMap;
use std::sync::Arc;

use gpt_plan::{
    Activation, Block, Format, Mask, NormGroups, Pattern, Plan, Positions, QkNorm, Recompute, Rope,
    RopeScaling, Spec, TensorId,
};
use gpt_runtime::__private::cpu::{CpuDevice, CpuTrainer};
use gpt_runtime::__private::engine::{EngineTrainer, Sequences, TensorState};
use gpt_runtime::weights::{HostTensor, Weights};
use gpt_runtime::{Device, DeviceKind, DeviceOptions, Error, weights};
use gpt_simd::Isa;
use gpt_tests::families::{Fixture, of_transformers, weight};
use gpt_tests::{gpu, specs, training};
use safetensors::SafeTensors;

/// transformers computes rotary angles and some norms in f32, even in a model in f64.
const BOUND: f64 = 1e-11;

#[test]
fn every_family_on_the_cpu() {
    let device = Device::cpu().unwrap();
    for fixture in of_transformers() {
        let error = fixture.error(&fixture.spec(), &device);
        assert!(error < BOUND, "{}: NMSE {error:e}", fixture.name);
    }
}

#[test]
#[ignore = "long on a software adapter; CI runs it"]
fn every_family_on_a_gpu() {
    if gpu::device().is_none() {
        return;
    }
    let options = DeviceOptions { kind: DeviceKind::Gpu, ..DeviceOptions::default() };
    let device = Device::open(&options).unwrap();
    for fixture in of_transformers() {
        let error = fixture.error(&fixture.spec(), &device);
        assert!(error < BOUND, "{}: NMSE {error:e}", fixture.name);
    }
}

/// Gradients as the weights of a model, so that they can be saved with the names and the order of a
/// file.
struct Gradients {
    plan: &'static Plan,
    values: Vec<Vec<f32>>,
}

impl Weights for Gradients {
    fn tensor(&self, id: TensorId, layer: u32) -> Result<HostTensor<'_>, Error> {
        let tensor = self.plan.tensor(id);
        let at = self.plan.trained().position(|trained| trained == (id, layer)).unwrap();
        // A file may store a scale minus 1; its gradient is the same.
        let offset = tensor.sources[0].hf_offset;
        let bytes = self.values[at].iter().flat_map(|g| (g + offset).to_le_bytes());
        Ok(HostTensor {
            format: Format::F32,
            rows: tensor.rows as usize,
            columns: tensor.columns as usize,
            data: bytes.collect(),
        })
    }

    fn format(&self, _: TensorId, _: u32) -> Format {
        Format::F32
    }
}

/// The loss and the gradients of every parameter match PyTorch's.
#[test]
fn every_gradient_on_the_cpu() {
    for fixture in of_transformers() {
        // Encoders without a head have only hidden states.
        let Some(expected) = fixture.loss else { continue };
        let plan = specs::plan(&fixture.name, &fixture.spec());
        let file = weights::open(&fixture.weights, plan, None).unwrap();
        let tokens = fixture.ids.len() - 1;
        let (inputs, targets) = (&fixture.ids[..tokens], &fixture.ids[1..]);
        let options = training::options(1, tokens as u32, Recompute::Nothing);
        let device = Arc::new(CpuDevice::with_isa(Isa::available()[0], Some(2)).unwrap());
        let mut trainer = CpuTrainer::new(device, plan, None, &file, options).unwrap();
        let batch = Sequences { inputs, targets, tokens: tokens as u32 };
        let loss = trainer.learn(&batch, &training::learn(true, tokens as u32)).unwrap();
        let loss = loss / tokens as f64;
        assert!((loss - expected).abs() < 1e-5 * expected, "{}: {loss}", fixture.name);
        let values = training::read(plan, &mut trainer, TensorState::Gradient);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gradients.safetensors");
        weights::save(&path, plan, &Gradients { plan, values }).unwrap();
        check_gradients(&fixture, &std::fs::read(path).unwrap());
    }
}

fn check_gradients(fixture: &Fixture, file: &[u8]) {
    let found = SafeTensors::deserialize(file).unwrap();
    let trunk = |name: &str| {
        let rest = name.strip_prefix("model.").or_else(|| name.strip_prefix("transformer."));
        rest.unwrap_or(name).to_owned()
    };
    let ours: BTreeMap<String, _> = found.iter().map(|(name, view)| (trunk(name), view)).collect();
    assert_eq!(ours.len(), fixture.gradients.len(), "{}: tensors", fixture.name);
    let largest = fixture.gradients.values().map(|[norm, _]| *norm).fold(0.0, f64::max);
    for (name, [norm, sum]) in &fixture.gradients {
        let view = ours.get(&trunk(name)).unwrap_or_else(|| panic!("{}: {name}", fixture.name));
        let (values, _) = view.data().as_chunks::<4>();
        let values = values.iter().map(|bytes| f64::from(f32::from_le_bytes(*bytes)));
        let values: Vec<f64> = values.collect();
        let own_norm = values.iter().map(|g| g * g).sum::<f64>().sqrt();
        let own_sum: f64 = values.iter().enumerate().map(|(i, g)| weight(i) * g).sum();
        // A gradient whose terms cancel has the rounding errors of the terms.
        let bound = 1e-5 * norm.max(1e-2 * largest);
        let far = (own_norm - norm).abs() > bound || (own_sum - sum).abs() > bound;
        let (at, f) = (&fixture.name, [own_norm, own_sum]);
        assert!(!far, "{at}, {name}: norm and sum are {f:?}, expected [{norm}, {sum}]");
    }
}

/// Every spec can be written as a `config.json` and read from it again.
#[test]
fn every_config_is_written() {
    for fixture in of_transformers() {
        let spec = fixture.spec();
        let path = fixture.weights.join("config.json");
        let folder = tempfile::tempdir().unwrap();
        let copy = folder.path().join("config.json");
        let plan = specs::plan(&fixture.name, &spec);
        assert!(weights::save_config(&copy, plan).unwrap(), "{}: not written", path.display());
        let read = weights::read_spec(&copy).unwrap();
        let kinds = |spec: &Spec| (spec.scores(1), spec.rotary_tables(), spec.block, spec.names);
        assert_eq!(kinds(&read), kinds(&spec), "{}", fixture.name);
    }
}

/// A spec that differs in one value has other logits, so the fixtures would show a mistake.
#[test]
fn mistakes_are_found() {
    type Change = fn(&mut Spec);
    let changes: [(&str, &str, Change); 39] = [
        ("llama_linear", "factor", |spec| {
            rope(spec).scaling = Pattern::all(RopeScaling::Linear { factor: 3.1 });
        }),
        ("llama_llama3", "scaling", |spec| rope(spec).scaling = Pattern::all(RopeScaling::None)),
        ("llama_yarn", "attention_factor", |spec| {
            let RopeScaling::Yarn { attention_factor, .. } = &mut rope(spec).scaling.0.to_mut()[0]
            else {
                panic!("not YaRN");
            };
            *attention_factor = Some(1.0);
        }),
        ("llama_biases", "theta", |spec| rope(spec).theta = Pattern::all(Some(10_100.0))),
        ("mistral", "window", |spec| spec.window = Pattern::all(Some(10))),
        ("qwen2", "window of the first layer", |spec| spec.window = Pattern::all(Some(7))),
        ("gemma", "embedding_scale", |spec| spec.embedding_scale = None),
        ("granite", "residual_scale", |spec| spec.residual_scale = Some(0.41)),
        ("granite", "attention_scale", |spec| spec.attention_scale = None),
        ("granite", "logit_scale", |spec| spec.logit_scale = Some(0.3)),
        ("smollm3", "rotation by layer", |spec| rope(spec).theta = Pattern::all(Some(2e6))),
        ("olmo", "eps", |spec| spec.norm.eps = 1e-3),
        ("stablelm", "dims", |spec| rope(spec).dims += 2),
        ("qwen3", "eps of the norm of queries and keys", |spec| qk_norm(spec).norm.eps = 1e-3),
        ("qwen3", "first layer with a window", |spec| {
            spec.window = Pattern(vec![None, Some(7), Some(7)].into());
        }),
        ("gemma2", "pattern of windows", |spec| spec.window.0.to_mut().reverse()),
        ("gemma2", "attention_softcap", |spec| spec.attention_softcap = Some(20.0)),
        ("gemma2", "logit_softcap", |spec| spec.logit_softcap = Some(25.0)),
        ("gemma3", "base of layers with a window", |spec| {
            rope(spec).theta = Pattern::all(Some(1e6));
        }),
        ("olmo2", "groups of the norm", |spec| qk_norm(spec).over = NormGroups::EachHead),
        ("phi", "dims", |spec| rope(spec).dims += 2),
        ("phi3", "window", |spec| spec.window = Pattern::all(Some(12))),
        ("cohere", "logit_scale", |spec| spec.logit_scale = Some(0.26)),
        ("gpt_neox", "order of the halves", |spec| spec.block = Block::PreNorm),
        ("gptj", "dims", |spec| rope(spec).dims += 2),
        ("gpt_neo", "scale", |spec| spec.attention_scale = None),
        ("falcon", "activation", |spec| spec.mlp.activation = Activation::GeluTanh),
        ("bloom", "slopes", |spec| spec.positions = Positions::Alibi { max_bias: 7.9 }),
        ("mpt", "activation", |spec| spec.mlp.activation = Activation::GeluTanh),
        ("bert", "activation", |spec| spec.mlp.activation = Activation::GeluTanh),
        ("roberta", "eps", |spec| spec.norm.eps = 1e-3),
        ("distilbert", "mask", |spec| spec.mask = Pattern::all(Mask::Causal)),
        ("bert_masked_words", "activation", |spec| spec.mlp.activation = Activation::GeluTanh),
        ("roberta_masked_words", "eps", |spec| spec.norm.eps = 1e-3),
        ("distilbert_masked_words", "mask", |spec| spec.mask = Pattern::all(Mask::Causal)),
        ("modernbert", "window", |spec| spec.window.0.to_mut()[1] = Some(4)),
        ("modernbert", "base of layers with a window", |spec| {
            rope(spec).theta = Pattern::all(Some(160_000.0));
        }),
        ("modernbert_masked_words", "pattern of windows", |spec| spec.window.0.to_mut().reverse()),
        ("nemotron", "activation", |spec| spec.mlp.activation = Activation::Relu),
    ];
    let device = Device::cpu().unwrap();
    let fixtures = of_transformers();
    for (name, what, change) in changes {
        let fixture = fixtures.iter().find(|fixture| fixture.name == name).unwrap();
        let mut spec = fixture.spec();
        change(&mut spec);
        let error = fixture.error(&spec, &device);
        assert!(error > 100.0 * BOUND, "{name}, {what}: NMSE {error:e}");
    }
}

fn qk_norm(spec: &mut Spec) -> &mut QkNorm {
    spec.qk_norm.as_mut().expect("a norm of queries and keys")
}

fn rope(spec: &mut Spec) -> &mut Rope {
    match &mut spec.positions {
        Positions::Rope(rope) => rope,
        _ => panic!("no rotary model"),
    }
}
