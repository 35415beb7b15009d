//! The contract of the command line for scripts: one JSON object on the last line and, for a
//! failure, one sentence and an exit status.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use gpt_runtime::Format;
use gpt_runtime::weights::{RandomWeights, save};
use gpt_runtime::{Gpt, Tokenizer, gpt_model};
use serde_json::Value;

use super::gpu::there_is_a_gpu;

fn gpt(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gpt"));
    command.args(arguments).stdin(Stdio::null());
    command.output().expect("the binary runs")
}

/// The JSON of a successful run.
#[track_caller]
fn json(arguments: &[&str]) -> Value {
    let output = gpt(arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    let text = String::from_utf8(output.stdout).unwrap();
    let last = text.lines().last().expect("a line of output");
    serde_json::from_str(last).unwrap_or_else(|e| panic!("{arguments:?} printed {last}: {e}"))
}

/// The message of a run that fails with `status`.
#[track_caller]
fn failure(arguments: &[&str], status: i32) -> String {
    let output = gpt(arguments);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(status), "{arguments:?}: {errors}");
    assert!(output.stdout.is_empty(), "{arguments:?} printed to standard output");
    let sentences: Vec<&str> = errors.lines().filter(|l| l.starts_with("error: ")).collect();
    let last = sentences.last().unwrap_or_else(|| panic!("{arguments:?}: {errors}"));
    assert!(!errors.contains("panicked"), "{errors}");
    last.strip_prefix("error: ").unwrap().to_owned()
}

gpt_model! {
    /// A copy of the binary's `nano`.
    struct Model { vocab: 65, context: 64, layers: 4, heads: 4, embed: 128, bias: false, ..GPT2_SMALL }
}

/// A folder with weights for `nano` and a tokenizer of its 65 characters.
struct Nano(tempfile::TempDir);

impl Nano {
    fn new() -> Nano {
        let folder = tempfile::tempdir().unwrap();
        let plan = <Model as Gpt>::plan();
        let weights = RandomWeights::new(plan, 1, Format::F32);
        save(&folder.path().join("model.safetensors"), plan, &weights).unwrap();
        let characters: String = ('0'..='p').take(65).collect();
        let tokenizer = Tokenizer::characters(&characters).unwrap();
        tokenizer.save(&folder.path().join("tokenizer.json")).unwrap();
        Nano(folder)
    }

    fn weights(&self) -> String {
        self.0.path().join("model.safetensors").display().to_string()
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path: PathBuf = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }
}

#[test]
fn devices_are_listed() {
    let devices = json(&["devices", "--json"]);
    assert!(devices["cpu"].as_str().unwrap().contains("thread"));
    assert!(devices["adapters"].is_array());
    assert!(!devices["auto"]["reason"].as_str().unwrap().is_empty());
}

/// Without Wayland, Mesa's device selection layer prints an error for each instance.
#[test]
fn listing_devices_prints_no_error_of_a_driver() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gpt"));
    command.arg("devices").env_remove("XDG_RUNTIME_DIR");
    let output = command.output().expect("the binary runs");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn a_self_test_says_whether_a_device_can_be_trusted() {
    let found = json(&["selftest", "--model", "nano", "--device", "cpu", "--json"]);
    assert_eq!(found["trusted"], true);
    // A prompt and a token, each with two layers of five steps, embedding and head, in each format.
    let checks = found["checks"].as_array().unwrap();
    assert_eq!(checks.len(), Format::ALL.len() * 2 * 12);
    assert!(checks.iter().all(|check| check["passed"] == true));
    let output = gpt(&["selftest", "--model", "nano", "--device", "cpu", "--dtype", "q4"]);
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("can be trusted with nano: 24 steps agree"), "{text}");
    assert!(text.contains("mlp_down"), "{text}");
    let train = "selftest --model nano --device cpu --dtype f32 --train --json";
    let found = json(&train.split(' ').collect::<Vec<_>>());
    assert_eq!(found["trusted"], true);
    let checks = found["checks"].as_array().unwrap();
    assert_eq!(checks.last().unwrap()["step"], "adamw");
}

/// Runs the program with its own cache folder and returns the JSON that it prints last.
fn json_with_cache(folder: &std::path::Path, arguments: &str) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gpt"));
    let output = command.env("GPT_CACHE_DIR", folder).args(arguments.split(' ')).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments}: {errors}");
    let text = String::from_utf8(output.stdout).unwrap();
    serde_json::from_str(text.lines().last().unwrap()).unwrap()
}

/// The number of kernels in the file that `gpt tune` has saved.
fn kept_kernels(found: &Value) -> usize {
    let kept = std::fs::read_to_string(found["kept"].as_str().unwrap()).unwrap();
    let kept: Value = serde_json::from_str(&kept).unwrap();
    kept["kernels"].as_array().unwrap().len()
}

/// Tuning saves its choices, and the chosen kernels compute the right results.
#[test]
fn tuning_saves_the_fastest_kernels() {
    if !there_is_a_gpu() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let found = json_with_cache(folder.path(), "tune --model nano --dtype q8 --json");
    let choices = found["choices"].as_array().unwrap();
    // Five products and attention, for a prompt and for a token; the embedding has no variants.
    assert_eq!(choices.len(), 12, "{choices:?}");
    for choice in choices {
        assert!(choice["ms"].as_f64().unwrap() > 0.0, "{choice}");
        assert!(choice["ms"].as_f64() <= choice["default_ms"].as_f64(), "{choice}");
    }
    assert_eq!(kept_kernels(&found), choices.len());
    let selftest = "selftest --device gpu --model nano --dtype q8 --json";
    assert_eq!(json_with_cache(folder.path(), selftest)["trusted"], true);
    // Without a folder to save to, tuning fails before the measurements.
    let output = Command::new(env!("CARGO_BIN_EXE_gpt"))
        .env("GPT_CACHE_DIR", "")
        .args(["tune", "--model", "nano"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("no folder for the result"), "{errors}");
}

#[test]
#[ignore = "long on a software adapter; CI runs it"]
fn tuning_of_training_saves_the_fastest_kernels() {
    if !there_is_a_gpu() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let found = json_with_cache(folder.path(), "tune --model nano --train --json");
    let choices = found["choices"].as_array().unwrap();
    let mut names: Vec<_> = choices.iter().map(|c| c["kernel"].as_str().unwrap()).collect();
    for name in ["attention", "mlp_up_512_128", "weight_384_128", "through_128_512"] {
        assert!(names.contains(&name), "{name}: {names:?}");
    }
    names.sort();
    assert!(names.windows(2).all(|two| two[0] != two[1]), "{names:?}");
    assert_eq!(kept_kernels(&found), choices.len());
    let bench =
        "bench --model nano --device gpu --prefill 1 --decode 1 --train 1x8 --reps 1 --json";
    let bench = json_with_cache(folder.path(), bench);
    assert!(bench["train_tok_s"]["median"].as_f64().unwrap() > 0.0);
}

#[test]
fn inspect_knows_every_model() {
    for (model, params) in [
        ("bard", 2_669_184u64),
        ("nano", 804_096),
        ("gpt2", 124_439_808),
        ("gpt2-medium", 354_823_168),
        ("gpt2-large", 774_030_080),
        ("gpt2-xl", 1_557_611_200),
        ("smollm2-135m", 134_515_008),
    ] {
        let inspected = json(&["inspect", "--model", model, "--json"]);
        assert_eq!(inspected["params"], params, "{model}");
        let layers = inspected["spec"]["layers"].as_u64().unwrap();
        for phase in ["decode", "prefill"] {
            assert_eq!(inspected[phase]["dispatches"], 5 * layers + 2, "{model} {phase}");
        }
    }
    // A GPU also dispatches the steps of sampling, and split attention.
    let smollm2 = json(&["inspect", "--model", "smollm2-135m", "--json"]);
    let steps = |key: &str| smollm2[key].as_array().unwrap().len();
    assert_eq!((steps("sampling"), steps("sampling_truncated")), (2, 4));
    assert_eq!(smollm2["split_attention_from"], 1025);
    assert_eq!(smollm2["split_attention"][0]["times"], 30);
    let gpt2 = json(&["inspect", "--model", "gpt2", "--json"]);
    assert!(gpt2["split_attention_from"].is_null());
    let output = gpt(&["inspect", "--model", "gpt2"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let memory = |batch: &str| {
        let nano = json(&["inspect", "--model", "nano", "--batch", batch, "--json"]);
        let parts = &nano["train_bytes"]["recompute_nothing"];
        let less = &nano["train_bytes"]["recompute_block"];
        assert!(less["total"].as_u64() < parts["total"].as_u64());
        (parts["parameters"].clone(), parts["activations"].as_u64().unwrap())
    };
    let (one, two) = (memory("12"), memory("24"));
    assert_eq!(one.0, two.0);
    assert!(one.1 < two.1);
    for part in [
        "training, 12 sequences of 1024 tokens",
        "124 M parameters",
        "attn.qkv.weight",
        "62 dispatches a token",
        "kv_cache",
    ] {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
}

#[test]
fn shaders_are_written() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("new/folder");
    let written = json(&["shaders", "--model", "nano", "--out", out.to_str().unwrap(), "--json"]);
    let files = written["files"].as_array().unwrap();
    assert!(files.len() > 50);
    let names: BTreeSet<&str> = files.iter().map(|file| file.as_str().unwrap()).collect();
    assert_eq!(names.len(), files.len(), "two kernels have the same name");
    for file in names {
        let text = std::fs::read_to_string(Path::new(file)).unwrap();
        assert!(text.contains("// Nano") && text.contains("@compute"), "{file}");
        assert!(!text.starts_with("enable subgroups;"), "{file}");
    }
    let web = folder.path().join("web");
    let web = ["--out", web.to_str().unwrap(), "--features", "subgroups", "--web", "--json"];
    let written = json(&[&["shaders", "--model", "nano"], &web[..]].concat());
    let mut kinds = [0, 0];
    for file in written["files"].as_array().unwrap() {
        let file = file.as_str().unwrap();
        let text = std::fs::read_to_string(Path::new(file)).unwrap();
        let enabled =
            text.starts_with("enable subgroups;\ndiagnostic(off, subgroup_uniformity);\n");
        assert_eq!(enabled, file.ends_with(".subgroups.wgsl"), "{file}");
        kinds[usize::from(text.contains("// Nano, training: "))] += 1;
    }
    assert!(kinds[0] > 0 && kinds[1] > 0, "{kinds:?}: inference and training");
}

#[test]
fn generate_logits_and_eval() {
    let nano = Nano::new();
    let weights = nano.weights();
    let base = ["--model", "nano", "--weights", &weights, "--device", "cpu"];
    let with = |command: &'static str, more: &[&'static str]| -> Vec<String> {
        let all = [command].into_iter().chain(base).chain(more.iter().copied());
        all.map(str::to_owned).collect()
    };
    let run =
        |arguments: Vec<String>| json(&arguments.iter().map(String::as_str).collect::<Vec<_>>());

    let generate = |more: &[&'static str]| {
        let mut arguments = with("generate", &["--prompt", "abc", "--json"]);
        arguments.extend(more.iter().map(|s| (*s).to_owned()));
        run(arguments)
    };
    let first = generate(&["--tokens", "9", "--seed", "4"]);
    assert_eq!((&first["prompt_tokens"], &first["tokens"]), (&3.into(), &9.into()));
    assert_eq!(first["text"].as_str().unwrap().chars().count(), 9);
    assert_eq!(first["ended"], "length");
    assert_eq!(generate(&["--tokens", "9", "--seed", "4"])["text"], first["text"]);
    assert_eq!(generate(&["--temperature", "0"])["ended"], "context_full");

    let logits = run(with("logits", &["--ids", "1,2,3", "--json"]));
    let rows = logits["logits"].as_array().unwrap();
    assert_eq!((rows.len(), rows[0].as_array().unwrap().len()), (3, 65));
    let last = run(with("logits", &["--ids", "1,2,3", "--last", "--json"]));
    assert_eq!(last["logits"].as_array().unwrap().len(), 1);
    let number = |v: &Value| v.as_f64().unwrap();
    let (a, b) = (number(&rows[2][7]), number(&last["logits"][0][7]));
    assert!((a - b).abs() < 1e-4, "{a} and {b}");

    let text = nano.file("text.txt", &"abcdefghij".repeat(20));
    let mut arguments = with("eval", &["--context", "50", "--json", "--data"]);
    arguments.push(text);
    let eval = run(arguments);
    assert_eq!(eval["tokens"], 4 * 24);
    let (nll, perplexity) = (number(&eval["nll"]), number(&eval["perplexity"]));
    assert!((nll.exp() / perplexity - 1.0).abs() < 1e-9);

    let bench = run(vec![
        "bench",
        "--model",
        "nano",
        "--device",
        "cpu",
        "--prefill",
        "8",
        "--decode",
        "4",
        "--reps",
        "2",
        "--train",
        "2x8",
        "--json",
    ]
    .into_iter()
    .map(str::to_owned)
    .collect());
    for figure in ["prefill_tok_s", "decode_tok_s", "train_tok_s"] {
        assert!(number(&bench[figure]["min"]) > 0.0);
        assert!(number(&bench[figure]["median"]) <= number(&bench[figure]["max"]));
    }
}

/// `gpt` without arguments generates text with the embedded weights.
#[test]
fn the_embedded_model_generates_text() {
    let output = gpt(&[]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.chars().count() > 200, "{text}");
    assert!(text.lines().last().unwrap().contains("gpt train"), "{text}");
    let prompt = ["generate", "--device", "cpu", "--prompt", "ROMEO:", "--tokens", "9", "--json"];
    assert_eq!(json(&prompt)["tokens"], 9);
    let message = failure(&["generate", "--model", "nano", "--prompt", "a"], 2);
    assert!(message.contains("only the weights of bard"), "{message}");
}

#[test]
fn failures_are_one_sentence() {
    let nano = Nano::new();
    let weights = nano.weights();
    let base = ["--model", "nano", "--weights", &weights, "--device", "cpu"];
    let with = |command: &'static str, more: &[&'static str]| -> String {
        let all: Vec<&str> =
            [command].into_iter().chain(base).chain(more.iter().copied()).collect();
        failure(&all, 2)
    };
    let message = failure(
        &["generate", "--model", "nano", "--weights", "no/such/file.gguf", "--prompt", "a"],
        2,
    );
    assert!(message.contains("no/such/file.gguf"), "{message}");
    let message = failure(&["inspect", "--model", "gpt3"], 2);
    assert!(message.contains("gpt3"), "{message}");
    let message = failure(&["logits", "--model", "gpt2", "--weights", &weights, "--ids", "1"], 2);
    assert!(message.contains("model.safetensors"), "{message}");
    for (message, part) in [
        (with("generate", &["--prompt", ""]), "the prompt is empty"),
        (with("generate", &["--prompt", "abc", "--top-p", "0"]), "top-p is 0"),
        (with("logits", &["--ids", "65"]), "token 65 is not in the vocabulary of Nano"),
        (with("logits", &["--ids", "1,x"]), "invalid value"),
        (failure(&["bench", "--train", "4*64"], 2), "4x64"),
        (failure(&["inspect", "--context", "257"], 2), "at most 256"),
        (with("eval", &["--data", "no/such/text"]), "no/such/text"),
        (with("chat", &[]), "chat template"),
        (with("generate", &["--prompt", "a", "--adapter", "x"]), "the device is `cpu`"),
        (
            with("generate", &["--prompt", "a", "--dtype", "f8"]),
            "f32, f16, bf16, q8, q6_k, q5, q5_k, q4, q4_k",
        ),
        (with("generate", &["--prompt", "a", "--threads", "0"]), "0 threads"),
        (with("generate", &["--prompt", "a", "--temperature", "-1"]), "the temperature is -1"),
        (
            with("generate", &["--prompt", "a", "--tokens", "-1"]),
            "invalid value '-1' for '--tokens <N>': expected a whole number",
        ),
        (
            with("generate", &["--promt", "a"]),
            "a similar argument exists: '--prompt'; see `gpt generate --help`",
        ),
    ] {
        assert!(message.contains(part), "{part} is not in: {message}");
    }
    let message = failure(&["bench", "--model", "nano", "--device", "cpu", "--prefill", "65"], 2);
    assert!(message.contains("the context of 64 tokens"), "{message}");
}

#[test]
fn no_adapter_is_a_failure_with_a_reason() {
    let output = Command::new(env!("CARGO_BIN_EXE_gpt"))
        .args(["bench", "--model", "nano", "--device", "gpu"])
        .env("WGPU_ADAPTER_NAME", "an adapter of the future")
        .output()
        .unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{errors}");
    let last = errors.lines().last().unwrap();
    let reason = last.contains("no adapter matches") || last.contains("no GPU adapter was found");
    assert!(reason, "{last}");
}
