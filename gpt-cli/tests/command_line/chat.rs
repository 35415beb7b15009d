//! `gpt chat` in a pipe: answers on standard output, everything else on standard error.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use gpt_runtime::Tokenizer;

/// A folder with a tokenizer for `bard` that has a chat template.
struct ChatFolder(tempfile::TempDir);

impl ChatFolder {
    fn new() -> ChatFolder {
        let chat_folder = ChatFolder(tempfile::tempdir().unwrap());
        let characters: String = ('\n'..='\n').chain(' '..='`').take(65).collect();
        let tokenizer = Tokenizer::characters(&characters).unwrap();
        tokenizer.save(&chat_folder.path("tokenizer.json")).unwrap();
        let template = "{% for m in messages %}{{ m.content }}\n{% endfor %}";
        fs::write(chat_folder.path("chat_template.jinja"), template).unwrap();
        chat_folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs `gpt chat` on `input`, with answers of three tokens.
    fn chat(&self, input: &[u8], more: &[&str]) -> Output {
        let tokenizer = self.path("tokenizer.json");
        let mut command = Command::new(env!("CARGO_BIN_EXE_gpt"));
        command.args(["chat", "--device", "cpu", "--threads", "1", "--tokens", "3"]);
        command.args(["--temperature", "0", "--tokenizer"]);
        command.arg(tokenizer).args(more).current_dir(self.0.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        child.wait_with_output().unwrap()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Role and content of each message of a saved conversation.
fn contents(path: &Path) -> Vec<(String, String)> {
    let json: serde_json::Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let messages = json.as_array().unwrap().iter();
    let field = |m: &serde_json::Value, key: &str| m[key].as_str().unwrap().to_owned();
    messages.map(|m| (field(m, "role"), field(m, "content"))).collect()
}

#[test]
fn a_conversation_is_saved_loaded_and_reset() {
    let chat_folder = ChatFolder::new();
    let input =
        b"HELLO\n/save one.json\n/system BE SHORT\n/reset\nTWO\\\nLINES\n\n/save two.json\n";
    let output = chat_folder.chat(input, &[]);
    let errors = text(&output.stderr);
    assert!(output.status.success(), "{errors}");
    assert!(errors.contains("saved 2 messages in one.json"), "{errors}");
    // Nothing but answers.
    let answers = text(&output.stdout);
    assert!(!answers.contains("HELLO") && !answers.contains("saved"));
    assert!(!answers.contains('\x1b') && !errors.contains('\x1b'));
    let one = contents(&chat_folder.path("one.json"));
    assert_eq!(one[0], ("user".to_owned(), "HELLO".to_owned()));
    assert_eq!(one[1].0, "assistant");
    assert_eq!(answers.lines().next().unwrap().trim(), one[1].1);
    let two = contents(&chat_folder.path("two.json"));
    assert_eq!(two[0], ("system".to_owned(), "BE SHORT".to_owned()));
    assert_eq!(two[1], ("user".to_owned(), "TWO\nLINES".to_owned()));
    assert_eq!(two.len(), 3);

    // The next question follows the loaded conversation.
    let output = chat_folder.chat(b"/load two.json\nMORE\n/save all.json\n", &[]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let all = contents(&chat_folder.path("all.json"));
    assert_eq!(all[..3], two[..]);
    assert_eq!(all[3], ("user".to_owned(), "MORE".to_owned()));
    let output = chat_folder.chat(b"/system\n/save none.json\n", &["--system", "BE KIND"]);
    assert!(output.status.success());
    assert!(contents(&chat_folder.path("none.json")).is_empty());
}

#[test]
fn bytes_that_are_not_utf8_are_replaced() {
    let chat_folder = ChatFolder::new();
    let output = chat_folder.chat(b"/system \xff\nHELLO\n/reset\n", &[]);
    let errors = text(&output.stderr);
    // The tokenizer has no token for the replacement character. A script learns it from the status.
    assert_eq!(output.status.code(), Some(2), "{errors}");
    let note = "note: line 1 of standard input is not UTF-8; its invalid bytes were replaced";
    assert!(errors.contains(note), "{errors}");
    let output = chat_folder.chat(b"/system \xff\n/system\nHELLO\n", &[]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(!output.stdout.is_empty());
}

/// A GGUF, and safetensors made from it, have the chat template and the end tokens of their source.
#[test]
fn a_converted_model_chats_as_its_source() {
    let chat_folder = ChatFolder::new();
    fs::write(chat_folder.path("generation_config.json"), "{ \"eos_token_id\": [0] }").unwrap();
    let expected = chat_folder.chat(b"HELLO\nAND YOU\n", &[]);
    assert!(expected.status.success(), "{}", text(&expected.stderr));
    let bard = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/bard.gguf");
    let convert = |from: &str, to: &str, more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gpt"));
        command.args(["convert", "--weights", from, "--out", to]).args(more);
        let output = command.current_dir(chat_folder.0.path()).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
    };
    fs::create_dir(chat_folder.path("folder")).unwrap();
    convert(bard, "model.gguf", &["--tokenizer", "tokenizer.json"]);
    convert("model.gguf", "folder/model.safetensors", &[]);
    convert("folder", "again.gguf", &[]);
    for weights in ["model.gguf", "folder", "again.gguf"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gpt"));
        command.args(["chat", "--device", "cpu", "--threads", "1", "--tokens", "3"]);
        command.args(["--temperature", "0", "--weights", weights]);
        command.current_dir(chat_folder.0.path()).stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(b"HELLO\nAND YOU\n").unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{weights}: {}", text(&output.stderr));
        assert_eq!(text(&output.stdout), text(&expected.stdout), "{weights}");
    }
}

#[test]
fn a_failed_command_ends_a_script() {
    let chat_folder = ChatFolder::new();
    fs::write(chat_folder.path("bad.json"), "[{\"role\": \"assistant\", \"content\": \"A\"}]")
        .unwrap();
    for (input, part) in [
        ("/load no.json\n", "no.json"),
        ("/load bad.json\n", "must alternate"),
        ("/load chat_template.jinja\n", "is not a conversation"),
        ("/save\n", "takes the name of a file"),
        ("/rest\n", "there is no command /rest"),
    ] {
        let output = chat_folder.chat(format!("{input}HELLO\n").as_bytes(), &[]);
        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{input}: {errors}");
        let last = errors.lines().last().unwrap();
        assert!(last.starts_with("error: ") && last.contains(part), "{last}");
        assert_eq!(text(&output.stdout), "", "{input}");
    }
}

#[test]
fn sampling_out_of_range_is_refused_before_loading() {
    let chat_folder = ChatFolder::new();
    let output = chat_folder.chat(b"", &["--top-p", "-1"]);
    assert_eq!(output.status.code(), Some(2));
    let errors = text(&output.stderr);
    assert_eq!(errors.lines().count(), 1, "{errors}");
    assert!(errors.starts_with("error: ") && errors.contains("-1"), "{errors}");
}
