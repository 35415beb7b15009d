//! Small vocabularies of every kind give the ids of the `tokenizers` library (written by
//! tests/fixtures/tokenizers/families.py), as `tokenizer.json` and as GGUF.

use std::path::Path;

use serde_json::{Value as Json, json};

use super::gguf::{gguf, value};
use super::*;

fn fixture(name: &str) -> Json {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/tokenizers");
    let text = std::fs::read_to_string(folder.join(format!("{name}.json"))).unwrap();
    serde_json::from_str(&text).unwrap()
}

pub fn lines() -> Vec<String> {
    serde_json::from_value(fixture("lines")).unwrap()
}

fn ids(json: &Json) -> Vec<Vec<u32>> {
    serde_json::from_value(json.clone()).unwrap()
}

/// A tokenizer of a fixture from its `tokenizer.json`.
pub fn tokenizer(name: &str) -> Tokenizer {
    source::from_json(&fixture(name)["tokenizer"]).unwrap()
}

/// The tokenizer of a GGUF with these values below `tokenizer.ggml`.
pub fn of_gguf(values: &Json) -> Tokenizer {
    let values = values.as_object().unwrap();
    let values = values.iter().map(|(key, json)| (format!("ggml.{key}"), value(json)));
    Tokenizer::from_gguf_metadata(&gguf(values)).unwrap().unwrap()
}

fn check(name: &str, tokenizer: &Tokenizer, expected: &Json) {
    check_some(name, tokenizer, expected, 1);
}

/// Checks every `step`th line.
fn check_some(name: &str, tokenizer: &Tokenizer, expected: &Json, step: usize) {
    let expected = ids(expected);
    let lines = lines();
    assert_eq!(lines.len(), expected.len());
    for (line, expected) in lines.iter().zip(&expected).step_by(step) {
        assert_eq!(&tokenizer.encode(line).unwrap(), expected, "{name}: {line:?}");
    }
}

#[test]
fn pre_tokenizers_cut_as_their_families_do() {
    let pairs = fixture("byte_pairs");
    let tokens: Vec<String> = serde_json::from_value(pairs["tokens"].clone()).unwrap();
    let merges: Vec<[String; 2]> = serde_json::from_value(pairs["merges"].clone()).unwrap();
    let vocab: serde_json::Map<String, Json> =
        (0..).zip(&tokens).map(|(id, token): (u32, _)| (token.clone(), id.into())).collect();
    let joined: Vec<String> = merges.iter().map(|pair| pair.join(" ")).collect();
    let families = fixture("families");
    for family in families.as_array().unwrap() {
        let names = family["names"].as_array().unwrap();
        let json = json!({
            "version": "1.0", "added_tokens": [], "normalizer": family["normalizer"],
            "pre_tokenizer": { "type": "Sequence", "pretokenizers": family["pre_tokenizer"] },
            "model": { "type": "BPE", "vocab": vocab, "merges": merges, "ignore_merges": family["ignore_merges"] },
        });
        check(&names[0].to_string(), &source::from_json(&json).unwrap(), &family["ids"]);
        for (at, name) in names.iter().enumerate() {
            let values =
                json!({ "model": "gpt2", "pre": name, "tokens": tokens, "merges": joined });
            // The names of a row give the same pre-tokenizer, so only the first is checked on every
            // line.
            let step = if at == 0 { 1 } else { 20 };
            check_some(&name.to_string(), &of_gguf(&values), &family["ids"], step);
        }
    }
    // The fixture tells families apart. Bailing's expression is written in another way,
    // and cuts the same words as Qwen 2's.
    for (at, family) in families.as_array().unwrap().iter().enumerate() {
        for other in &families.as_array().unwrap()[..at] {
            if family["names"][0] == "bailingmoe" && other["names"][0] == "hunyuan" {
                continue;
            }
            assert_ne!(family["ids"], other["ids"], "{} and {}", family["names"], other["names"]);
        }
    }
}

#[test]
fn whole_tokenizers_have_their_ids() {
    for name in ["llama", "gemma", "bert", "gpt1", "unigram"] {
        let fixture = fixture(name);
        let tokenizer = tokenizer(name);
        check(name, &tokenizer, &fixture["ids"]);
        let of_gguf = (!fixture["gguf"].is_null()).then(|| of_gguf(&fixture["gguf"]));
        if let Some(of_gguf) = &of_gguf {
            check(name, of_gguf, &fixture["ids"]);
        }
        for (line, expected) in lines().iter().zip(ids(&fixture["with_special"])) {
            for tokenizer in [Some(&tokenizer), of_gguf.as_ref()].into_iter().flatten() {
                let ids = tokenizer.encode_prompt(line).unwrap_or_default();
                assert_eq!(ids, expected, "{name}: {line:?}");
            }
        }
    }
}

/// Gemma 4's GGUF has merges, and characters in place of bytes.
#[test]
fn merges_of_characters_need_no_scores() {
    let fixture = fixture("gemma");
    let mut values = fixture["gguf"].clone();
    let merges = fixture["tokenizer"]["model"]["merges"].as_array().unwrap().iter();
    let merges: Vec<String> = merges
        .map(|pair| format!("{} {}", pair[0].as_str().unwrap(), pair[1].as_str().unwrap()))
        .collect();
    values["merges"] = merges.into();
    values["model"] = "gemma4".into();
    values["pre"] = "gemma4".into();
    check("gemma4", &of_gguf(&values), &fixture["ids"]);
    assert_eq!(of_gguf(&values).prefix(), [2]);
}
