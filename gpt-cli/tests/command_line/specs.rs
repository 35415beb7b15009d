//! Models that are not built into the binary: described by a file, or by the keys of `--spec`.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use gpt_runtime::weights::{RandomWeights, read_spec, save};
use gpt_runtime::{Device, Format, Model, Tokenizer, gpt_model};
use serde_json::{Value, json};

gpt_model! {
    /// The model of the file. `Wider` overrides one of its keys, and `Deeper` one of `Whole`'s.
    struct Whole { ..config("tests/tiny-llama.json") }
    struct Wider { embed: 48, ..config("tests/tiny-llama.json") }
    struct Deeper { layers: 3, ..Whole }
}

/// A base may be a file, for the macro as for the command line.
#[test]
fn a_file_is_a_base() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tiny-llama.json");
    let spec = read_spec(&file).unwrap();
    assert_eq!(Whole::PLAN.spec, spec);
    assert_eq!((Wider::EMBED, Wider::HEAD_DIM, Wider::HIDDEN, Wider::VOCAB), (48, 16, 40, 65));
    assert_eq!((Deeper::LAYERS, Deeper::EMBED), (3, 24));
    // A path of `--spec` is relative to the current folder.
    let keys = r#"layers: 5, ..config("tiny-llama.json")"#;
    let summary = succeeds(file.parent().unwrap(), &["inspect", "--spec", keys, "--json"]);
    let summary: Value = serde_json::from_str(summary.trim()).unwrap();
    assert_eq!(summary["spec"]["layers"], 5);
}

fn gpt(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gpt"));
    command.args(arguments).stdin(Stdio::null()).current_dir(folder);
    command.output().expect("the binary runs")
}

/// Standard output of a successful run.
#[track_caller]
fn succeeds(folder: &Path, arguments: &[&str]) -> String {
    let output = gpt(folder, arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// Standard error of a run that fails because of its arguments.
#[track_caller]
fn fails(folder: &Path, arguments: &[&str]) -> String {
    let output = gpt(folder, arguments);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {errors}");
    errors
}

fn configs() -> [(&'static str, Value); 4] {
    [
        (
            "gpt2",
            json!({
                "model_type": "gpt2", "vocab_size": 65, "n_positions": 32, "n_embd": 24,
                "n_layer": 2, "n_head": 3, "n_inner": 40, "activation_function": "relu",
            }),
        ),
        (
            "openai-gpt",
            json!({
                "model_type": "openai-gpt", "vocab_size": 65, "n_positions": 32, "n_embd": 24,
                "n_layer": 2, "n_head": 3,
            }),
        ),
        (
            "mistral",
            json!({
                "model_type": "mistral", "vocab_size": 65, "max_position_embeddings": 32,
                "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2,
                "num_attention_heads": 3, "num_key_value_heads": 1, "head_dim": 6,
            }),
        ),
        (
            "qwen2",
            json!({
                "model_type": "qwen2", "vocab_size": 65, "max_position_embeddings": 32,
                "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2,
                "num_attention_heads": 3, "num_key_value_heads": 1, "rope_theta": 1e6,
            }),
        ),
    ]
}

/// The logits that the command prints for a folder equal those of the model in this process.
#[test]
fn weights_say_what_model_they_are() {
    for (family, config) in configs() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("config.json"), config.to_string()).unwrap();
        let spec = read_spec(folder.path()).unwrap();
        let plan = Box::leak(Box::new(gpt_codegen::plan::plan("Spec", &spec)));
        let weights = RandomWeights::new(plan, 7, Format::F32);
        save(&path("model.safetensors"), plan, &weights).unwrap();
        let characters: String = ('0'..='p').take(65).collect();
        Tokenizer::characters(&characters).unwrap().save(&path("tokenizer.json")).unwrap();

        let model = Model::init_plan(plan, &Device::cpu().unwrap(), 7, Format::F32).unwrap();
        let mut session = model.session().open().unwrap();
        let expected = session.push(&[1, 2, 3]).unwrap();
        let shared = ["--weights", ".", "--device", "cpu"];
        let with = |arguments: &[&'static str]| [arguments, &shared].concat();
        let printed = with(&["logits", "--ids", "1,2,3", "--last", "--json"]);
        let printed = succeeds(folder.path(), &printed);
        let printed: Value = serde_json::from_str(printed.trim()).unwrap();
        let printed = printed["logits"][0].as_array().unwrap();
        assert_eq!(printed.len(), 65);
        for (a, b) in printed.iter().zip(expected.iter()) {
            let a = a.as_f64().unwrap() as f32;
            assert!((a - b).abs() < 1e-5, "{family}: {a} and {b}");
        }

        let text =
            succeeds(folder.path(), &with(&["generate", "--prompt", "abc", "--tokens", "4"]));
        assert!(text.chars().count() >= 4, "{family}: {text}");
        let bench = with(&["bench", "--prefill", "8", "--decode", "2", "--reps", "1", "--json"]);
        assert!(succeeds(folder.path(), &bench).contains("decode_tok_s"));
        assert!(
            succeeds(folder.path(), &["inspect", "--weights", "config.json"]).contains("layers")
        );

        // The printed declaration has the same spec.
        let printed = succeeds(folder.path(), &["spec", ".", "--json"]);
        let printed: Value = serde_json::from_str(printed.trim()).unwrap();
        assert_eq!(gpt_codegen::spec(printed["spec"].as_str().unwrap()).unwrap(), spec, "{family}");
    }
}

#[test]
fn a_declaration_is_printed() {
    let folder = tempfile::tempdir().unwrap();
    let (_, config) = configs().into_iter().find(|(family, _)| *family == "qwen2").unwrap();
    std::fs::create_dir(folder.path().join("tiny-qwen.2")).unwrap();
    std::fs::write(folder.path().join("tiny-qwen.2/config.json"), config.to_string()).unwrap();
    let expected = "gpt_model! {
    pub struct TinyQwen2 {
        vocab: 65, context: 32, layers: 2, heads: 3, kv_heads: 1, embed: 24,
        norm: RmsNorm { eps: 1e-6 }, mlp: Gated { hidden: 40 },
        positions: Rope { theta: 1_000_000.0 }, bias: false, qkv_bias: true, tie_embeddings: false
    }
}
";
    for file in ["tiny-qwen.2", "tiny-qwen.2/config.json"] {
        assert_eq!(succeeds(folder.path(), &["spec", file]), expected);
    }
}

/// A file that describes a built-in model selects that model, with its compiled activation.
#[test]
fn a_file_may_describe_a_built_in_model() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("config.json"), r#"{ "model_type": "gpt2" }"#).unwrap();
    let summary = succeeds(folder.path(), &["inspect", "--weights", "."]);
    assert!(summary.starts_with("Gpt2: 124 M parameters"), "{summary}");
    let bard = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/bard.gguf");
    let logits = ["logits", "--ids", "1", "--device", "cpu"];
    let embedded = succeeds(folder.path(), &logits);
    assert_eq!(succeeds(folder.path(), &[&logits[..], &["--weights", bard]].concat()), embedded);
}

#[test]
fn keys_are_a_model() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let text = "the cat sat on the mat and the dog sat on the log; a hat is on the cat.\n";
    std::fs::write(folder.join("text.txt"), text.repeat(60)).unwrap();
    // transformers has no name for the activation, so the run has no config.json.
    let closure = "vocab: 280, context: 16, layers: 1, heads: 2, embed: 16, mlp: Dense { activation: |x| x * tanh(x) }";
    let plain = "vocab: 280, context: 16, layers: 1, heads: 2, embed: 16";
    for (out, keys) in [("closure", closure), ("plain", plain)] {
        let cpu = ["--device", "cpu", "--threads", "1"];
        let start = ["train", "--spec", keys, "--tokenizer", "bpe:280", "--data", "text.txt"];
        let rest = ["--out", out, "--steps", "2", "--batch", "2", "--eval-every", "2"];
        let report = succeeds(folder, &[&start[..], &rest, &cpu].concat());
        let (model, named) = match out {
            "plain" => (String::new(), Vec::new()),
            _ => {
                let written = gpt_codegen::declaration(&gpt_codegen::spec(keys).unwrap());
                (format!("--spec '{}' ", written.replace('\n', " ")), vec!["--spec", keys])
            }
        };
        let advice = format!("gpt generate {model}--weights {out} --prompt TEXT");
        assert!(report.contains(&advice), "{report}");
        // The checkpoint remembers the keys.
        let resume = ["train", "--resume", "--out", out, "--steps", "3"];
        succeeds(folder, &[&resume[..], &cpu].concat());
        let generate = ["generate", "--weights", out, "--prompt", "the", "--tokens", "3"];
        succeeds(folder, &[&generate[..], &named, &cpu].concat());
        let bench = ["bench", "--prefill", "8", "--decode", "2", "--reps", "1", "--train", "1x8"];
        succeeds(folder, &[&bench[..], &["--spec", keys], &cpu].concat());
    }
    // The weights also determine the model that is trained.
    let tune = ["train", "--weights", "plain", "--data", "text.txt", "--out", "tuned"];
    let rest = ["--steps", "1", "--batch", "2", "--device", "cpu"];
    succeeds(folder, &[&tune[..], &rest].concat());
    let unnamed = fails(folder, &["generate", "--weights", "closure", "--prompt", "the"]);
    assert!(unnamed.contains("does not say what model it is"), "{unnamed}");
}

#[test]
fn errors_point_at_their_cause() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let keys = "vocab: 65, context: 32,\n    layers: 2, heads: 3, embd: 64";
    let shown = fails(folder, &["inspect", "--spec", keys]);
    let expected = "error: unknown key `embd`
  |
2 |     layers: 2, heads: 3, embd: 64
  |                          ^^^^
  = help: did you mean `embed`?
";
    assert!(shown.starts_with(expected), "{shown}");
    let both = fails(folder, &["inspect", "--spec", "vocab: 3", "--model", "nano"]);
    assert!(both.contains("cannot be used with"), "{both}");

    for (config, part) in [
        (
            json!({ "model_type": "gpt2", "windows": 2 }),
            "the key windows of config.json is unknown",
        ),
        (
            json!({ "model_type": "gemma3" }),
            "the model_type gemma3 of config.json is not supported",
        ),
        (json!({ "model_type": "llama", "num_key_value_heads": 5 }), "(32 and 5)"),
        (json!({ "model_type": "gpt2", "n_layer": 4_000_000_000_u32 }), "n_layer is 4000000000"),
    ] {
        std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
        let message = fails(folder, &["inspect", "--weights", "."]);
        assert!(message.contains("describes a model that cannot be run:"), "{message}");
        assert!(message.contains(part), "{part}: {message}");
    }
    std::fs::write(folder.join("config.json"), "[".repeat(10_000)).unwrap();
    assert!(fails(folder, &["spec", "."]).contains("config.json is not JSON"));
    assert!(fails(folder, &["spec", "none.gguf"]).contains("none.gguf"));
}
