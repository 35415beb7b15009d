//! The command line on GPUs: profiles, features, pipelines on disk, reports.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

/// Runs `gpt` with its caches in `cache`.
fn gpt(arguments: &[&str], cache: &Path, variables: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_gpt"))
        .args(arguments)
        .env("GPT_CACHE_DIR", cache)
        .envs(variables.iter().copied())
        .output()
        .unwrap()
}

fn json(output: &Output) -> Value {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    serde_json::from_str(text.lines().last().unwrap()).unwrap()
}

/// Whether there is an adapter. Without one, prints that the test did not run, or panics if
/// `GPT_REQUIRE_GPU=1` is set.
pub fn there_is_a_gpu() -> bool {
    let devices = gpt(&["devices", "--json"], Path::new(""), &[]);
    let adapters = json(&devices)["adapters"].as_array().unwrap().clone();
    let found = adapters.iter().any(|a| a["usable"] == true);
    let required = std::env::var("GPT_REQUIRE_GPU").is_ok_and(|v| v != "0" && !v.is_empty());
    assert!(found || !required, "GPT_REQUIRE_GPU is set, but there is no adapter");
    if !found {
        eprintln!("NOT RUN, as there is no GPU");
    }
    found
}

const BENCH: [&str; 14] = [
    "bench",
    "--model",
    "nano",
    "--prefill",
    "5",
    "--decode",
    "2",
    "--train",
    "2x8",
    "--reps",
    "2",
    "--profile",
    "--json",
    "--device",
];

/// Asserts that each step has a time and a share, and that some have the right FLOPs and bytes.
fn check_profile(bench: &Value, device: &str) {
    let profile = &bench["profile"];
    let passes = profile["passes"].as_array().unwrap();
    let names: Vec<_> = passes.iter().map(|p| (&p["pass"], &p["tokens"], &p["position"])).collect();
    assert_eq!(names[0], (&"prefill".into(), &5.into(), &0.into()), "{device}");
    assert_eq!(names[1], (&"decode".into(), &1.into(), &4.into()), "{device}");
    let number = |step: &Value, what: &str| step[what].as_f64().unwrap();
    let training = &passes[2];
    assert_eq!((&training["pass"], &training["tokens"]), (&"train".into(), &16.into()));
    let steps = training["steps"].as_array().unwrap();
    let shares: f64 = steps.iter().map(|s| number(s, "share")).sum();
    assert!((shares - 1.0).abs() < 1e-9);
    let last = if device == "gpu" { "adamw" } else { "update" };
    for (name, times) in [("attention", Some(4)), ("cross_entropy", Some(1)), (last, None)] {
        let step = steps.iter().find(|s| s["step"] == name).expect(name);
        assert!(number(step, "ms") > 0.0, "{device}: {step}");
        assert!(times.is_none_or(|times| step["times"] == times), "{step}");
    }
    for pass in &passes[..2] {
        let steps = pass["steps"].as_array().unwrap();
        let names: Vec<_> = steps.iter().map(|s| s["step"].as_str().unwrap()).collect();
        let mut expected =
            vec!["embed", "qkv", "attention", "attention_out", "mlp_up", "mlp_down", "head"];
        // A GPU also samples the next token.
        if device == "gpu" && pass["tokens"] == 1 {
            expected.extend(["greatest", "count", "collect", "draw"]);
        }
        assert_eq!(names, expected, "{device}");
        let sum = |what| steps.iter().map(|s| number(s, what)).sum::<f64>();
        assert!((sum("share") - 1.0).abs() < 1e-9);
        assert!((sum("ms") / number(pass, "ms") - 1.0).abs() < 1e-9);
        assert!(steps.iter().all(|s| number(s, "ms") > 0.0), "{device}: {pass}");
        for (step, times) in steps.iter().zip([1, 4, 4, 4, 4, 4, 1, 1, 1, 1, 1]) {
            assert_eq!(step["times"], times);
        }
        let rows = pass["tokens"].as_u64().unwrap();
        // nano: 128 wide, a hidden layer of 512, a vocabulary of 65; f32.
        assert_eq!(steps[3]["flops"], 4 * rows * 2 * 128 * 128);
        assert_eq!(steps[3]["bytes"], 4 * (4 * 128 * 128 + rows * 4 * 3 * 128));
        assert_eq!(steps[6]["flops"], 2 * 65 * 128);
        // The last row sees five keys; five rows see one to five.
        let pairs = if rows == 1 { 5 } else { 15 };
        assert_eq!(steps[2]["flops"], 4 * 4 * pairs * 128);
    }
}

#[test]
fn steps_are_timed() {
    let arguments = [&BENCH[..], &["cpu"]].concat();
    let bench = json(&gpt(&arguments, Path::new(""), &[]));
    check_profile(&bench, "cpu");
    if !there_is_a_gpu() {
        return;
    }
    let arguments = [&BENCH[..], &["gpu"]].concat();
    let bench = json(&gpt(&arguments, Path::new(""), &[]));
    check_profile(&bench, "gpu");
    let limits = &bench["profile"]["limits"];
    assert!(limits["gb_s"].as_f64().unwrap() > 0.0 && limits["gflop_s"].as_f64().unwrap() > 0.0);
    for step in bench["profile"]["passes"][0]["steps"].as_array().unwrap() {
        assert!(step["roofline_ms"].as_f64().unwrap() > 0.0, "{step}");
    }
}

/// Plain kernels and variants generate the same text; an unknown feature is rejected.
#[test]
fn features_can_be_chosen() {
    if !there_is_a_gpu() {
        return;
    }
    let arguments = [
        "generate",
        "--device",
        "gpu",
        "--prompt",
        "ROMEO:",
        "--tokens",
        "5",
        "--temperature",
        "0",
        "--json",
    ];
    let write = |features| json(&gpt(&arguments, Path::new(""), &[("GPT_GPU_FEATURES", features)]));
    assert_eq!(write("")["text"], write("subgroups")["text"]);
    let refused = gpt(&arguments, Path::new(""), &[("GPT_GPU_FEATURES", "magic")]);
    assert_eq!(refused.status.code(), Some(2));
    let errors = String::from_utf8(refused.stderr).unwrap();
    assert!(errors.contains("`magic`") && errors.contains("subgroups"), "{errors}");
}

/// Pipelines are cached on disk, and damaged files are ignored.
#[test]
fn pipelines_are_cached() {
    if !there_is_a_gpu() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("caches");
    let arguments = [
        "generate",
        "--device",
        "gpu",
        "--prompt",
        "ROMEO:",
        "--tokens",
        "3",
        "--temperature",
        "0",
        "--json",
    ];
    let write = || json(&gpt(&arguments, &cache, &[]))["text"].clone();
    let text = write();
    let files = || -> Vec<_> {
        let files = std::fs::read_dir(&cache).into_iter().flatten();
        files.map(|file| file.unwrap().path()).collect()
    };
    let [file] = &files()[..] else {
        return eprintln!("NOT RUN, as the backend has no pipeline caches");
    };
    let good = std::fs::read(file).unwrap();
    assert_eq!(write(), text);
    assert_eq!(std::fs::read(file).unwrap(), good, "known pipelines were written again");
    for bad in [&b"garbage"[..], &good[..good.len() - 1], &[]] {
        std::fs::write(file, bad).unwrap();
        assert_eq!(write(), text);
        assert!(std::fs::read(file).unwrap().starts_with(&good[..8]));
        assert_eq!(files().len(), 1);
    }
}

/// A report has every section, as Markdown in a file and as JSON. An unwritable file is an error
/// before any model is measured.
#[test]
fn a_report_has_every_section() {
    if !there_is_a_gpu() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.md");
    let report = ["report", "--model", "nano", "--dtype", "q8", "--device", "gpu", "--no-tune"];
    let arguments = [&report[..], &["--json", "--out", file.to_str().unwrap()]].concat();
    let object = json(&gpt(&arguments, Path::new(""), &[("GPT_GPU_FEATURES", "subgroups")]));
    let rows = |section: &str| object[section].as_array().unwrap().clone();
    let number = |row: &Value, key: &str| row[key].as_f64().unwrap_or_else(|| panic!("{row}"));
    let named = |section: &str, what: &str| {
        rows(section)
            .into_iter()
            .find(|row| row["what"] == what)
            .unwrap_or_else(|| panic!("{what}"))
    };

    assert!(named("machine", "maxStorageBufferBindingSize")["value"].as_u64() >= Some(128 << 20));
    assert_eq!(named("machine", "GPT_GPU_FEATURES")["value"], "subgroups");
    for what in
        ["a dispatch that depends on the previous one", "a submission and reading its result"]
    {
        assert!(number(&named("limits", what), "value") > 0.0);
    }
    for what in ["q8", "training"] {
        let row = named("selftest", what);
        assert_eq!(row["result"], "agrees");
        assert!(number(&row, "nmse") <= number(&row, "bound"));
    }
    let [speed] = &rows("speed")[..] else { panic!("{object}") };
    assert_eq!((&speed["model"], &speed["prompt"]), (&"nano".into(), &64.into()));
    // Four layers of five steps, the embedding and the head.
    assert_eq!(speed["dispatches"], 22);
    for key in ["prefill_tok_s", "decode_tok_s", "generate_tok_s", "decode_of_peak"] {
        assert!(number(speed, key) > 0.0, "{speed}");
    }
    assert!(rows("training").iter().all(|row| number(row, "train_tok_s") > 0.0));
    assert!(rows("tuning").is_empty());

    let text = std::fs::read_to_string(&file).unwrap();
    for part in ["# Report of gpt ", "\n## Machine\n", "\n## Self-test\n", "| nano | q8 | "] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("## Tuning"));

    let nowhere = folder.path().join("none").join("report.md");
    let arguments = [&report[..], &["--out", nowhere.to_str().unwrap()]].concat();
    let refused = gpt(&arguments, Path::new(""), &[]);
    assert_eq!(refused.status.code(), Some(2));
    let errors = String::from_utf8(refused.stderr).unwrap();
    assert!(errors.contains("report.md"), "{errors}");
    assert!(refused.stdout.is_empty());
}
