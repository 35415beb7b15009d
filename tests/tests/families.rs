//! Runs a small model of each family from its files alone: the spec that `config.json` describes is
//! compiled at run time, and its logits (of an encoder, its hidden states) are compared with those of
//! transformers in f64 (written by fixtures/families.py).

use std::path::{Path, PathBuf};

use gpt_plan::{
    Activation, Block, Mask, NormGroups, Pattern, Positions, QkNorm, Rope, RopeScaling, Spec,
};
use gpt_runtime::{Device, DeviceKind, DeviceOptions, Model, Untyped, weights};
use gpt_tests::compare::nmse;
use gpt_tests::{gpu, specs};

/// Rotary angles and some norms of transformers are in f32, also in a model in f64.
const BOUND: f64 = 1e-11;

/// A fixture: its folder, its tokens and the expected logits or hidden states.
struct Fixture {
    name: String,
    folder: PathBuf,
    ids: Vec<u32>,
    expected: Vec<f64>,
    /// Whether hidden states are expected.
    is_encoder: bool,
}

fn fixtures() -> Vec<Fixture> {
    let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/families");
    let folders = std::fs::read_dir(all).unwrap().map(|entry| entry.unwrap().path());
    let mut fixtures: Vec<Fixture> = folders.map(Fixture::read).collect();
    fixtures.sort_by(|a, b| a.name.cmp(&b.name));
    fixtures
}

impl Fixture {
    fn read(folder: PathBuf) -> Fixture {
        let text = std::fs::read_to_string(folder.join("expected.json")).unwrap();
        let expected: serde_json::Value = serde_json::from_str(&text).unwrap();
        let numbers = |value: &serde_json::Value| -> Vec<f64> {
            value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
        };
        let rows = expected.get("logits").or(expected.get("hidden")).unwrap();
        Fixture {
            name: folder.file_name().unwrap().to_string_lossy().into_owned(),
            ids: numbers(&expected["ids"]).into_iter().map(|x| x as u32).collect(),
            expected: rows.as_array().unwrap().iter().flat_map(numbers).collect(),
            is_encoder: expected.get("hidden").is_some(),
            folder,
        }
    }

    fn spec(&self) -> Spec {
        weights::read_spec(&self.folder).unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }

    /// The NMSE of the logits or hidden states of `spec` on `device`, with the weights of the file. The prompt is read
    /// in chunks of seven tokens.
    fn error(&self, spec: &Spec, device: &Device) -> f64 {
        let file = weights::open(&self.folder, specs::plan(&self.name, &self.spec()), None);
        let file = file.unwrap_or_else(|error| panic!("{}: {error}", self.name));
        let plan = specs::plan(&self.name, spec);
        let model = Model::<Untyped>::from_plan(plan, &file, device).unwrap();
        if self.is_encoder {
            let hidden = model.session().open().unwrap().hidden(&self.ids).unwrap();
            return nmse(&hidden, &self.expected);
        }
        let mut logits = Vec::new();
        let mut session = model.session().all_logits().chunk(7).open().unwrap();
        session.each_logits(&self.ids, |_, row| logits.extend_from_slice(row)).unwrap();
        nmse(&logits, &self.expected)
    }
}

#[test]
fn every_family_on_the_cpu() {
    let device = Device::cpu().unwrap();
    for fixture in fixtures() {
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
    for fixture in fixtures() {
        let error = fixture.error(&fixture.spec(), &device);
        assert!(error < BOUND, "{}: NMSE {error:e}", fixture.name);
    }
}

/// What is trained can be saved with a `config.json`, from which its spec is read again.
#[test]
fn every_config_is_written() {
    for fixture in fixtures() {
        let spec = fixture.spec();
        let path = fixture.folder.join("config.json");
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
    let changes: [(&str, &str, Change); 33] = [
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
        ("bert", "activation", |spec| spec.mlp.activation = Activation::GeluTanh),
        ("roberta", "eps", |spec| spec.norm.eps = 1e-3),
        ("distilbert", "mask", |spec| spec.mask = Pattern::all(Mask::Causal)),
        ("nemotron", "activation", |spec| spec.mlp.activation = Activation::Relu),
    ];
    let device = Device::cpu().unwrap();
    let fixtures = fixtures();
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
