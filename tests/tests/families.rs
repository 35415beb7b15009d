//! Runs a small model of each family from its files alone: the spec that `config.json` describes is
//! compiled at run time, and its logits are compared with those of transformers in f64 (written by
//! fixtures/families.py).

use gpt_plan::{
    Activation, Block, NormGroups, Pattern, Positions, QkNorm, Rope, RopeScaling, Spec,
};
use gpt_runtime::{Device, DeviceKind, DeviceOptions, weights};
use gpt_tests::families::of_transformers;
use gpt_tests::{gpu, specs};

/// Rotary angles and some norms of transformers are in f32, also in a model in f64.
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

/// What is trained can be saved with a `config.json`, from which its spec is read again.
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
    let changes: [(&str, &str, Change); 30] = [
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
        ("gemma2", "logit_softcap", |spec| spec.logit_softcap = Some(30.1)),
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
