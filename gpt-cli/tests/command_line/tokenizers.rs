//! A tokenizer and a chat template are needed only where they are used, and a text begins with one
//! BOS.

use std::process::{Command, Output, Stdio};

use gpt_runtime::weights::{RandomWeights, save};
use gpt_runtime::{
    Device, DeviceKind, DeviceOptions, Format, Gpt, Model, Sampling, Stop, gpt_model,
};
use serde_json::{Value, json};

gpt_model! {
    /// A copy of the binary's `nano`.
    struct Nano { vocab: 65, context: 64, layers: 4, heads: 4, embed: 128, bias: false, ..GPT2_SMALL }
}

/// A folder with weights for `nano`.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        let folder = tempfile::tempdir().unwrap();
        let plan = <Nano as Gpt>::plan();
        let weights = RandomWeights::new(plan, 1, Format::F32);
        save(&folder.path().join("model.safetensors"), plan, &weights).unwrap();
        Folder(folder)
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// Writes a tokenizer of characters with the BOS token `0`.
    fn write_tokenizer(&self) {
        let characters = ('0'..='p').take(65).zip(0u32..);
        let vocab: serde_json::Map<String, Value> =
            characters.map(|(c, id)| (c.to_string(), id.into())).collect();
        let bos = json!({ "SpecialToken": { "id": "0", "type_id": 0 } });
        let text = |id: &str| json!({ "Sequence": { "id": id, "type_id": 0 } });
        let tokenizer = json!({
            "version": "1.0", "added_tokens": [], "decoder": { "type": "Fuse" },
            "post_processor": {
                "type": "TemplateProcessing", "single": [bos, text("A")], "pair": [text("A"), text("B")],
                "special_tokens": { "0": { "id": "0", "ids": [0], "tokens": ["0"] } },
            },
            "model": { "type": "BPE", "vocab": vocab, "merges": [] },
        });
        self.write("tokenizer.json", &tokenizer.to_string());
    }

    fn gpt(&self, command: &str, more: &[&str]) -> Output {
        let mut gpt = Command::new(env!("CARGO_BIN_EXE_gpt"));
        gpt.args([command, "--model", "nano", "--device", "cpu", "--threads", "1", "--weights"]);
        gpt.arg(self.0.path()).args(more).stdin(Stdio::null());
        gpt.output().unwrap()
    }

    /// The JSON of a successful run.
    #[track_caller]
    fn json(&self, command: &str, more: &[&str]) -> Value {
        let output = self.gpt(command, &[more, &["--json"]].concat());
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command}: {errors}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The message of a run that fails.
    #[track_caller]
    fn failure(&self, command: &str, more: &[&str]) -> String {
        let output = self.gpt(command, more);
        assert_eq!(output.status.code(), Some(2), "{command}");
        let errors = String::from_utf8(output.stderr).unwrap();
        errors.lines().last().unwrap().to_owned()
    }
}

const BENCH: [&str; 6] = ["--prefill", "4", "--decode", "2", "--reps", "1"];
const GENERATE: [&str; 4] = ["--prompt", "abc", "--tokens", "2"];

#[test]
fn a_tokenizer_that_cannot_be_read_is_an_error_where_it_is_used() {
    let folder = Folder::new();
    folder.write("tokenizer.json", "{}");
    assert_eq!(folder.json("logits", &["--ids", "1,2"])["logits"].as_array().unwrap().len(), 2);
    folder.json("bench", &BENCH);
    for (command, more) in [("generate", &GENERATE[..]), ("chat", &[])] {
        let message = folder.failure(command, more);
        assert!(message.contains("is not a tokenizer that can be read"), "{message}");
    }
    // A tokenizer that is named has to be readable.
    let path = folder.write("other.json", "{}");
    let message = folder.failure("generate", &["--prompt", "a", "--tokenizer", &path]);
    assert!(message.contains("other.json"), "{message}");
}

#[test]
fn a_chat_template_that_cannot_be_read_is_an_error_of_chat() {
    let folder = Folder::new();
    folder.write_tokenizer();
    folder.write("chat_template.jinja", "{% frobnicate %}");
    folder.json("logits", &["--ids", "1,2"]);
    folder.json("bench", &BENCH);
    assert_eq!(folder.json("generate", &GENERATE)["tokens"], 2);
    let message = folder.failure("chat", &[]);
    assert!(message.contains("frobnicate"), "{message}");
    folder.write(
        "chat_template.jinja",
        "{% generation %}{{ messages[0].content }}{% endgeneration %}",
    );
    assert!(folder.gpt("chat", &[]).status.success());
}

#[test]
fn each_window_of_a_text_begins_with_bos() {
    let folder = Folder::new();
    folder.write_tokenizer();
    assert_eq!(folder.json("generate", &GENERATE)["prompt_tokens"], 4);
    let text = folder.write("text.txt", "abcdefghijklmnop");
    let eval = folder.json("eval", &["--context", "8", "--data", &text]);
    // Seventeen tokens, BOS and `a` (49) to `p`, are two windows. In the second one, BOS replaces
    // its first token, `h`.
    let mut nll = 0.0;
    for window in ["0,49,50,51,52,53,54,55", "0,57,58,59,60,61,62,63"] {
        let logits = folder.json("logits", &["--ids", window])["logits"].take();
        let rows: Vec<Vec<f64>> = serde_json::from_value(logits).unwrap();
        let ids: Vec<usize> = window.split(',').map(|id| id.parse().unwrap()).collect();
        for (row, next) in rows[4..7].iter().zip(&ids[5..]) {
            let sum: f64 = row.iter().map(|x| x.exp()).sum();
            nll -= row[*next] - sum.ln();
        }
    }
    assert_eq!(eval["tokens"], 6);
    assert!((eval["nll"].as_f64().unwrap() - nll / 6.0).abs() < 1e-4, "{eval} and {}", nll / 6.0);
}

#[test]
fn a_session_that_goes_on_has_one_bos() {
    let folder = Folder::new();
    folder.write_tokenizer();
    let device = DeviceOptions { kind: DeviceKind::Cpu, ..DeviceOptions::default() };
    let device = Device::open(&device).unwrap();
    let model: Model<Nano> = Model::load(folder.0.path(), &device).unwrap();
    let mut session = model.session().open().unwrap();
    for (prompt, expected) in [("0ab", &[0, 49, 50][..]), ("cd", &[51, 52])] {
        let before = session.tokens().len();
        let stop = Stop { tokens: Some(1), ..Stop::default() };
        let generation = session.generate(prompt, Sampling::greedy(), stop).unwrap();
        generation.for_each(|piece| drop(piece.unwrap()));
        assert_eq!(&session.tokens()[before..], expected);
    }
}
