//! Runs a small model of each architecture of llama.cpp from its GGUF alone, as llama.cpp's
//! converter writes it (fixtures/families_gguf.py): the spec that the metadata describe is compiled
//! at run time, and its logits are compared with those of transformers in f64.

use std::collections::BTreeSet;
use std::path::Path;

use gpt_plan::{Block, NormGroups, Pattern, Positions, QkNorm, Rope, RopeScaling, Spec};
use gpt_runtime::weights::{self, Weights};
use gpt_runtime::{Device, DeviceKind, DeviceOptions, Format};
use gpt_tests::families::{Fixture, of_gguf, of_transformers};
use gpt_tests::{gpu, specs};

/// transformers computes rotary angles and some norms in f32, even in a model in f64, and a GGUF
/// stores divisors of frequencies in f32.
const BOUND: f64 = 1e-11;

#[test]
fn every_architecture_on_the_cpu() {
    let device = Device::cpu().unwrap();
    for fixture in of_gguf() {
        let error = fixture.error(&fixture.spec(), &device);
        assert!(error < BOUND, "{}: NMSE {error:e}", fixture.name);
    }
}

#[test]
#[ignore = "long on a software adapter; CI runs it"]
fn every_architecture_on_a_gpu() {
    if gpu::device().is_none() {
        return;
    }
    let options = DeviceOptions { kind: DeviceKind::Gpu, ..DeviceOptions::default() };
    let device = Device::open(&options).unwrap();
    for fixture in of_gguf() {
        let error = fixture.error(&fixture.spec(), &device);
        assert!(error < BOUND, "{}: NMSE {error:e}", fixture.name);
    }
}

/// Each architecture that is read has a fixture.
#[test]
fn no_architecture_is_left_out() {
    let name = |fixture: &Fixture| {
        let metadata = weights::read_metadata(&fixture.weights).unwrap();
        metadata.text("general.architecture").unwrap().to_owned()
    };
    let found: BTreeSet<String> = of_gguf().iter().map(name).collect();
    let known: BTreeSet<String> = gpt_config::architectures().map(str::to_owned).collect();
    assert_eq!(found, known);
}

/// A GGUF of the same model describes the spec of its `config.json`, as far as files are compared
/// with specs, and has the same tensors: no row is in another place, and no norm is off by one.
#[test]
fn both_files_of_a_model_are_the_same() {
    let gguf = of_gguf();
    let mut compared = 0;
    for original in of_transformers() {
        let own = original.weights.join("gguf/expected.json");
        let Some(gguf) = gguf.iter().find(|gguf| gguf.name == original.name) else { continue };
        // BLOOM has no key for its context in a `config.json`.
        if own.exists() || original.name == "bloom" {
            continue;
        }
        let plan = specs::plan(&original.name, &original.spec());
        let open =
            |path: &Path| weights::open(path, plan, None).unwrap_or_else(|error| panic!("{error}"));
        let (original, gguf) = (open(&original.weights), open(&gguf.weights));
        for (id, layer) in plan.trained() {
            let [a, b] = [&original, &gguf].map(|file| file.tensor(id, layer).unwrap());
            assert!(a.data == b.data, "{} of layer {layer} of {}", plan.tensor(id).name, plan.name);
        }
        compared += 1;
    }
    assert!(compared > 10, "{compared} models");
}

/// The writer and the reader have one table: what is read from a GGUF or a `config.json` is written
/// as a GGUF of the same model, if llama.cpp has an architecture for it.
#[test]
fn every_architecture_is_written() {
    let device = Device::cpu().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let (mut written, mut others) = (BTreeSet::new(), BTreeSet::new());
    for mut fixture in of_gguf().into_iter().chain(of_transformers()) {
        let spec = fixture.spec();
        let plan = specs::plan(&fixture.name, &spec);
        let file = weights::open(&fixture.weights, plan, None).unwrap();
        if weights::save_gguf(&path, plan, &file, Format::F32, None).is_err() {
            // A model that was read from a GGUF can be written as one.
            assert!(fixture.weights.is_dir(), "{} is refused", fixture.name);
            others.insert(fixture.name);
            continue;
        }
        fixture.weights = path.clone();
        let read = fixture.spec();
        assert!(gpt_config::same(&read, &spec), "{}: {read:#?} {spec:#?}", fixture.name);
        let error = fixture.error(&read, &device);
        assert!(error < BOUND, "{}: NMSE {error:e}", fixture.name);
        let metadata = weights::read_metadata(&path).unwrap();
        written.insert(metadata.text("general.architecture").unwrap().to_owned());
    }
    let known: BTreeSet<String> = gpt_config::architectures().map(str::to_owned).collect();
    let missing: Vec<&String> = known.difference(&written).collect();
    // A Qwen 2 is a Llama with a bias of queries, keys and values, in GGUF as here.
    assert_eq!(missing, ["qwen2"]);
    assert!(others.contains("gptj") && !others.contains("mistral"), "{others:?}");
}

/// A spec that differs in one value has other logits, so the fixtures would show a mistake.
#[test]
fn mistakes_are_found() {
    type Change = fn(&mut Spec);
    let changes: [(&str, &str, Change); 15] = [
        ("llama_llama3", "scaling", |spec| rope(spec).scaling = Pattern::all(RopeScaling::None)),
        ("llama_yarn", "factor", |spec| {
            let RopeScaling::Yarn { factor, .. } = &mut rope(spec).scaling.0.to_mut()[0] else {
                panic!("not YaRN");
            };
            *factor = 5.0;
        }),
        ("gemma", "embedding_scale", |spec| spec.embedding_scale = None),
        ("gemma2", "pattern of windows", |spec| spec.window.0.to_mut().reverse()),
        ("gemma2", "attention_scale", |spec| spec.attention_scale = Some(0.25)),
        ("gemma3", "pattern of windows", |spec| spec.window = Pattern::all(Some(9))),
        ("gemma3", "base of layers with a window", |spec| {
            rope(spec).theta = Pattern::all(Some(1e6));
        }),
        ("granite", "logit_scale", |spec| spec.logit_scale = Some(3.0)),
        ("cohere", "logit_scale", |spec| spec.logit_scale = Some(0.26)),
        ("smollm3", "rotation by layer", |spec| rope(spec).theta = Pattern::all(Some(2e6))),
        ("olmo2", "groups of the norm", |spec| qk_norm(spec).over = NormGroups::EachHead),
        ("phi3", "window", |spec| spec.window = Pattern::all(None)),
        ("stablelm", "dims", |spec| rope(spec).dims += 2),
        ("gpt_neox", "order of the halves", |spec| spec.block = Block::PreNorm),
        ("mpt", "slopes", |spec| spec.positions = Positions::Alibi { max_bias: 7.9 }),
    ];
    let device = Device::cpu().unwrap();
    let fixtures = of_gguf();
    for (name, what, change) in changes {
        let fixture = fixtures.iter().find(|fixture| fixture.name == name).unwrap();
        let mut spec = fixture.spec();
        change(&mut spec);
        let error = fixture.error(&spec, &device);
        assert!(error > 100.0 * BOUND, "{name}, {what}: NMSE {error:e}");
    }
}

/// Files of Qwen 2 and of Llama order the rows of queries and keys in two ways. A file under the
/// other's name has other logits.
#[test]
fn the_order_of_rows_matters() {
    let device = Device::cpu().unwrap();
    let mut fixture = of_gguf().into_iter().find(|fixture| fixture.name == "qwen2").unwrap();
    let mut bytes = std::fs::read(&fixture.weights).unwrap();
    for at in 0..bytes.len() - 5 {
        if &bytes[at..at + 5] == b"qwen2" {
            bytes[at..at + 5].copy_from_slice(b"llama");
        }
    }
    let folder = tempfile::tempdir().unwrap();
    fixture.weights = folder.path().join("model.gguf");
    std::fs::write(&fixture.weights, bytes).unwrap();
    let error = fixture.error(&fixture.spec(), &device);
    assert!(error > 100.0 * BOUND, "NMSE {error:e}");
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
