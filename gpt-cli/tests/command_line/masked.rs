//! `gpt train --objective masked` and `gpt fill`: an encoder learns a language of which every blank
//! can be computed, and fills blanks.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use gpt_runtime::weights::{RandomWeights, save, save_config};
use gpt_runtime::{Format, Gpt, gpt_model};
use serde_json::{Value, json};

use super::commands::{errors, fails, succeeds};

gpt_model! {
    /// BERT with its head for masked words, tiny.
    struct Bert {
        vocab: 10, context: 16, layers: 1, heads: 2, embed: 16, head_dense: true, head_bias: true, ..ALL_MINILM_L6
    }
}

/// A bidirectional model for the letters `abcd`, the digits `1234`, a blank and the mask token.
const SPEC: &str = "vocab: 10, context: 23, layers: 2, heads: 2, embed: 32, mask: Bidirectional";

struct TestDir(tempfile::TempDir);

impl TestDir {
    /// A folder with `words` words: a letter, its digit, and the letter again.
    fn new(words: u32) -> TestDir {
        let dir = TestDir(tempfile::tempdir().unwrap());
        let mut state = 1_u32;
        let mut text = String::new();
        for _ in 0..words {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            text.push_str(["a1a ", "b2b ", "c3c ", "d4d "][(state >> 30) as usize]);
        }
        fs::write(dir.path("text.txt"), text).unwrap();
        dir
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn gpt(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gpt"));
        command.args(arguments).args(["--device", "cpu", "--threads", "1"]);
        command.current_dir(self.0.path()).stdin(Stdio::null());
        command
    }

    /// A run into `out`; with `more`, arguments that blanks separate.
    fn train(&self, out: &str, more: &str) -> Command {
        let mut command = self.gpt(&["train", "--out", out]);
        if !more.contains("--resume") {
            command.args(["--spec", SPEC, "--data", "text.txt", "--batch", "16", "--lr", "3e-3"]);
        }
        command.args(more.split_whitespace());
        command
    }
}

#[test]
fn a_resumed_run_of_masked_tokens_equals_an_uninterrupted_one() {
    let dir = TestDir::new(600);
    let options = "--objective masked --schedule constant --eval-every 2 --eval-windows 20";
    succeeds(&mut dir.train("whole", &format!("{options} --steps 6")));
    succeeds(&mut dir.train("halves", &format!("{options} --steps 4")));
    succeeds(&mut dir.train("halves", "--resume --steps 6 --objective masked"));
    for name in ["checkpoint-6/model.safetensors", "checkpoint-6/moments.safetensors"] {
        let [whole, halves] =
            ["whole", "halves"].map(|run| fs::read(dir.path(run).join(name)).unwrap());
        assert!(whole == halves, "{name} differs");
    }
    let losses = |run: &str| -> Vec<Value> {
        let log = fs::read_to_string(dir.path(run).join("log.jsonl")).unwrap();
        let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.map(|line| line["val_loss"].clone()).filter(Value::is_number).collect()
    };
    assert_eq!(losses("whole").len(), 3);
    assert_eq!(losses("whole"), losses("halves"));
    let message = fails(&mut dir.train("halves", "--resume --steps 8 --objective next-token"), 2);
    assert!(message.contains("began with --objective masked"), "{message}");
    // The text again is encoded as before.
    succeeds(&mut dir.train("halves", "--resume --steps 7 --data text.txt"));
}

/// The name of the mask token in a text is text: the characters of the name are learned, and no
/// target is the mask token.
#[test]
fn a_text_may_have_the_name_of_the_mask_token() {
    let dir = TestDir::new(100);
    fs::write(dir.path("text.txt"), "a [MASK] is not a blank. ".repeat(30)).unwrap();
    let mut train = dir.gpt(&["train", "--out", "run", "--objective", "masked", "--steps", "1"]);
    let spec = SPEC.replace("vocab: 10", "vocab: 18");
    train.args(["--spec", &spec, "--data", "text.txt"]);
    let output = succeeds(&mut train);
    assert!(errors(&output).contains("75 to validate"), "{}", errors(&output));
    // 17 characters and `[MASK]`, which is no token of the text.
    let tokenizer = gpt_runtime::Tokenizer::from_path(&dir.path("run")).unwrap();
    assert_eq!((tokenizer.mask_token(), tokenizer.vocab()), (Some(("[MASK]", 17)), 18));
    let tokens = fs::read(dir.path("run/train.bin")).unwrap();
    assert_eq!(tokens.len(), 2 * 675);
    assert!(tokens.chunks(2).all(|token| u16::from_le_bytes([token[0], token[1]]) < 17));
}

#[test]
fn objectives_that_do_not_fit_are_a_sentence() {
    let dir = TestDir::new(100);
    let message = fails(&mut dir.train("run", "--objective masked --sample-every 2"), 2);
    assert!(message.contains("remove --sample-every"), "{message}");
    let message = fails(&mut dir.train("run", "--steps 2"), 2);
    assert!(message.contains("pass --objective masked"), "{message}");
    let mut causal = dir.gpt(&["train", "--out", "run", "--objective", "masked"]);
    causal.args(["--model", "nano", "--data", "text.txt"]);
    let message = fails(&mut causal, 2);
    assert!(message.contains("Nano is causal"), "{message}");
    // The mask token has no row.
    let mut small = dir.gpt(&["train", "--out", "run", "--objective", "masked"]);
    small.args(["--spec", &SPEC.replace("vocab: 10", "vocab: 9"), "--data", "text.txt"]);
    let message = fails(&mut small, 2);
    assert!(message.contains("10 tokens, with the mask token,"), "{message}");
    assert!(message.contains("at most 8 different characters"), "{message}");
    assert!(!dir.path("run").exists());
}

/// The lines that a command prints.
fn lines(command: &mut Command) -> Vec<String> {
    let output = succeeds(command);
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn an_encoder_learns_a_language_and_fills_its_blanks() {
    let dir = TestDir::new(3000);
    let more = "--objective masked --steps 500 --eval-every 500 --json";
    succeeds(&mut dir.train("run", more));
    let fill = |text: &str, more: &[&str]| {
        let mut command = dir.gpt(&["fill", "--spec", SPEC, "--weights", "run", text]);
        command.args(more);
        command
    };
    let found = lines(&mut fill("b2b [MASK]1a c[MASK]c", &["--top-k", "1"]));
    assert_eq!(found[2], "b2b a1a c3c");
    assert!(found[0].starts_with("blank 1: \"a\" 0."), "{found:?}");
    assert!(found[1].starts_with("blank 2: \"3\" 0."), "{found:?}");
    let found = lines(&mut fill("d[MASK]d a1a", &["--json"]));
    let found: Value = serde_json::from_str(&found[0]).unwrap();
    assert_eq!(found["text"], "d4d a1a");
    let blank = &found["blanks"][0];
    assert_eq!((&blank["position"], &blank["candidates"][0]["text"]), (&json!(1), &json!("4")));
    let probabilities = blank["candidates"].as_array().unwrap().iter();
    let probabilities: Vec<f64> =
        probabilities.map(|c| c["probability"].as_f64().unwrap()).collect();
    assert!(probabilities.is_sorted_by(|a, b| a >= b) && probabilities.len() == 5);
    assert!(probabilities[0] > 0.8 && probabilities.iter().sum::<f64>() <= 1.0001);
    for (mut command, part) in [
        (fill("b2b a1a", &[]), "write [MASK] where a token is missing"),
        (fill("[MASK]", &["--top-k", "0"]), "request at least 1"),
        (fill("[MASK]e", &[]), "has the character 'e'"),
        (fill(&"[MASK]".repeat(24), &[]), "23"),
        (dir.gpt(&["fill", "[MASK]"]), "Bard is causal"),
    ] {
        let message = fails(&mut command, 2);
        assert!(message.contains(part), "{part} is not in: {message}");
    }
}

/// The folder of a BERT: a tokenizer of words whose special tokens stand around a text.
#[test]
fn a_bert_fills_blanks_between_its_special_tokens() {
    let dir = TestDir::new(1);
    let plan = <Bert as Gpt>::plan();
    let folder = dir.path("bert");
    fs::create_dir(&folder).unwrap();
    let weights = RandomWeights::new(plan, 1, Format::F32);
    save(&folder.join("model.safetensors"), plan, &weights).unwrap();
    save_config(&folder.join("config.json"), plan).unwrap();
    let words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "sat", "##s", "mat"];
    let vocab: serde_json::Map<String, Value> =
        words.iter().zip(0u32..).map(|(word, id)| ((*word).to_owned(), id.into())).collect();
    let special = words[..5].iter().zip(0u32..).map(|(word, id)| {
        json!({ "id": id, "content": word, "special": true, "single_word": false,
            "lstrip": false, "rstrip": false, "normalized": false })
    });
    let added = |id: &str| json!({ "SpecialToken": { "id": id, "type_id": 0 } });
    let text = |id: &str| json!({ "Sequence": { "id": id, "type_id": 0 } });
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": special.collect::<Vec<_>>(),
        "normalizer": { "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
            "strip_accents": null, "lowercase": true },
        "pre_tokenizer": { "type": "BertPreTokenizer" },
        "post_processor": { "type": "TemplateProcessing",
            "single": [added("[CLS]"), text("A"), added("[SEP]")], "pair": [text("A"), text("B")],
            "special_tokens": {
                "[CLS]": { "id": "[CLS]", "ids": [2], "tokens": ["[CLS]"] },
                "[SEP]": { "id": "[SEP]", "ids": [3], "tokens": ["[SEP]"] },
            } },
        "decoder": { "type": "WordPiece", "prefix": "##", "cleanup": true },
        "model": { "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": vocab },
    });
    fs::write(folder.join("tokenizer.json"), tokenizer.to_string()).unwrap();
    let mut fill =
        dir.gpt(&["fill", "--weights", "bert", "The [MASK] sat", "--top-k", "10", "--json"]);
    let found: Value = serde_json::from_str(&lines(&mut fill)[0]).unwrap();
    assert_eq!(found["blanks"][0]["position"], 2);
    // The logits of the same tokens.
    let mut logits = dir.gpt(&["logits", "--weights", "bert", "--ids", "2,5,4,7,3", "--json"]);
    let logits: Value = serde_json::from_str(&lines(&mut logits)[0]).unwrap();
    let row: Vec<f64> =
        logits["logits"][2].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect();
    let sum: f64 = row.iter().map(|x| x.exp()).sum();
    let candidates = found["blanks"][0]["candidates"].as_array().unwrap();
    // All tokens but the mask token.
    assert_eq!(candidates.len(), words.len() - 1);
    for candidate in candidates {
        let token = candidate["token"].as_u64().unwrap() as usize;
        let error = candidate["probability"].as_f64().unwrap() / (row[token].exp() / sum) - 1.0;
        assert!(error.abs() < 1e-5, "{candidate}: {error}");
        assert_eq!(candidate["text"], words[token]);
    }
}
