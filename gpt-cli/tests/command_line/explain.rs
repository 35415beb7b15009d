//! `gpt explain` writes one page that needs no other file, with the numbers that the model
//! computes.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use gpt_runtime::weights::{RandomWeights, save};
use gpt_runtime::{Format, Gpt, Tokenizer, gpt_model};
use serde_json::Value;

gpt_model! {
    /// A copy of the binary's `nano`.
    struct Nano {
        vocab: 65, context: 64, layers: 4, heads: 4, embed: 128, bias: false, ..GPT2_SMALL
    }
}

fn gpt(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gpt"));
    command.args(arguments).stdin(Stdio::null());
    command.output().expect("the binary runs")
}

#[track_caller]
fn succeed(arguments: &[&str]) -> String {
    let output = gpt(arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs `gpt explain`. Returns the page and the JSON object in it.
#[track_caller]
fn explain(folder: &Path, arguments: &[&str]) -> (String, Value) {
    let out = folder.join("deep/er").display().to_string();
    let mut all = vec!["explain", "--device", "cpu", "--out", &out];
    all.extend(arguments);
    let printed = succeed(&all);
    assert!(printed.contains("explain.html"), "{printed}");
    let page = std::fs::read_to_string(folder.join("deep/er/explain.html")).unwrap();
    let (_, rest) = page.split_once("id=\"data\">").unwrap();
    let (data, _) = rest.split_once("</script>").unwrap();
    let data = serde_json::from_str(data).unwrap();
    (page, data)
}

/// Decodes the attention weights of a page, `[layers][heads][n][n]`.
fn weights(data: &Value) -> Vec<f64> {
    let digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bits, mut count, mut bytes) = (0u32, 0, Vec::new());
    for digit in data["attention"].as_str().unwrap().trim_end_matches('=').chars() {
        bits = bits << 6 | digits.find(digit).unwrap() as u32;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    let (mut weights, mut bytes) = (Vec::new(), bytes.into_iter());
    while let Some(byte) = bytes.next() {
        match byte {
            0 => weights.extend(vec![0.0; bytes.next().unwrap().into()]),
            byte => weights.push((f64::from(byte) / 255.0).powi(2)),
        }
    }
    weights
}

#[test]
fn a_page_needs_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let (page, data) = explain(folder.path(), &["--prompt", "Oh, no!\nTo be"]);
    for reference in ["http:", "https:", "url(", "@import", "src=", "<link"] {
        assert!(!page.contains(reference), "the page has {reference}");
    }
    assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>\n"));
    assert!(page.contains("<noscript>"));
    let labels: Vec<&str> = data["tokens"].as_array().unwrap().iter().map(label).collect();
    assert_eq!(labels.concat(), "Oh,␣no!⏎To␣be");
    // The page is a single file: nothing is left beside it.
    let files = std::fs::read_dir(folder.path().join("deep/er")).unwrap();
    assert_eq!(files.count(), 1);
}

fn label(token: &Value) -> &str {
    token["label"].as_str().unwrap()
}

/// The page has the numbers of `gpt logits`, and the rows of its attention weights sum to one.
#[test]
fn the_numbers_are_those_of_the_model() {
    let folder = tempfile::tempdir().unwrap();
    let (_, data) = explain(folder.path(), &["--prompt", "To be, or not", "--dtype", "f32"]);
    let tokens = data["tokens"].as_array().unwrap();
    let n = tokens.len();
    let ids: Vec<usize> = tokens.iter().map(|t| t["id"].as_u64().unwrap() as usize).collect();
    let list: Vec<String> = ids.iter().map(usize::to_string).collect();
    let printed = succeed(&[
        "logits",
        "--device",
        "cpu",
        "--dtype",
        "f32",
        "--json",
        "--ids",
        &list.join(","),
    ]);
    let logits: Value = serde_json::from_str(&printed).unwrap();
    let vocabulary = data["vocabulary"].as_array().unwrap();
    let lens = data["lens"].as_array().unwrap();
    assert_eq!((data["layers"].as_u64(), lens.len()), (Some(6), 7));
    assert!(tokens[0]["surprise"].is_null());
    for (position, row) in logits["logits"].as_array().unwrap().iter().enumerate() {
        let exponentials: Vec<f64> =
            row.as_array().unwrap().iter().map(|x| x.as_f64().unwrap().exp()).collect();
        let sum: f64 = exponentials.iter().sum();
        if let Some(next) = ids.get(position + 1) {
            let surprise = tokens[position + 1]["surprise"].as_f64().unwrap();
            assert!((surprise + (exponentials[*next] / sum).ln()).abs() < 1e-3);
        }
        // The lens of the last layer: five tokens by descending probability, the model's own.
        let best = lens[6][position].as_array().unwrap();
        assert_eq!(best.len(), 10);
        let mut sorted = exponentials.clone();
        sorted.sort_by(|a, b| b.total_cmp(a));
        for (pair, expected) in best.chunks(2).zip(sorted) {
            let id = &vocabulary[pair[0].as_u64().unwrap() as usize]["id"];
            let probability = pair[1].as_f64().unwrap();
            assert!((probability - expected / sum).abs() < 1e-3);
            assert!((probability - exponentials[id.as_u64().unwrap() as usize] / sum).abs() < 1e-3);
        }
    }
    let weights = weights(&data);
    assert_eq!(weights.len(), 6 * 6 * n * n);
    for (i, row) in weights.chunks(n).enumerate() {
        // Each weight is rounded by at most half a step of its square root.
        assert!((row.iter().sum::<f64>() - 1.0).abs() < 0.004 * n as f64);
        assert!(row[i % n + 1..].iter().all(|w| *w == 0.0), "row {i} sees the future");
    }
    let norms = data["norms"].as_array().unwrap();
    assert_eq!(norms.len(), 7);
    for row in norms {
        let row = row.as_array().unwrap();
        assert!(row.len() == n && row.iter().all(|x| x.as_f64() > Some(0.0)));
    }
}

#[test]
fn markup_in_a_prompt_is_text() {
    let folder = tempfile::tempdir().unwrap();
    let plan = <Nano as Gpt>::plan();
    let weights = folder.path().join("model.safetensors");
    save(&weights, plan, &RandomWeights::new(plan, 1, Format::F32)).unwrap();
    let characters: String = ('\u{22}'..='b').collect();
    let tokenizer = Tokenizer::characters(&characters).unwrap();
    tokenizer.save(&folder.path().join("tokenizer.json")).unwrap();
    let weights = weights.display().to_string();
    let prompt = "</SCRIPT><B>&\"";
    let arguments = ["--model", "nano", "--weights", &weights, "--prompt", prompt, "--json"];
    let (page, data) = explain(folder.path(), &arguments);
    let labels: Vec<&str> = data["tokens"].as_array().unwrap().iter().map(label).collect();
    assert_eq!(labels.concat(), prompt);
    let tags = |tag: &str| page.to_lowercase().matches(tag).count();
    assert_eq!((tags("<script"), tags("</script>")), (2, 2));
}

#[test]
fn bad_prompts_are_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().display().to_string();
    let long = "to be ".repeat(43);
    for (prompt, expected) in [
        ("", "the prompt is empty; give at least one character"),
        (
            &*long,
            "the prompt has 258 tokens, and a page of bard has room for 256; shorten the prompt",
        ),
        ("ü", "the text has the character 'ü', which the model's tokenizer has no token for"),
    ] {
        let output = gpt(&["explain", "--device", "cpu", "--prompt", prompt, "--out", &out]);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{errors}");
        assert_eq!(errors.lines().last(), Some(&*format!("error: {expected}")));
        assert!(output.stdout.is_empty());
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let inside = file.join("folder").display().to_string();
    let output = gpt(&["explain", "--device", "cpu", "--prompt", "to", "--out", &inside]);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains("error: cannot create the folder"), "{errors}");
}
