//! `gpt train --objective masked` and `gpt fill`: an encoder learns a language of which every blank
//! can be computed, and fills blanks.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::commands::{errors, fails, succeeds};

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
    let losses = |run: &str| -> Vec<serde_json::Value> {
        let log = fs::read_to_string(dir.path(run).join("log.jsonl")).unwrap();
        let lines =
            log.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        lines.map(|line| line["val_loss"].clone()).filter(|loss| loss.is_number()).collect()
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
