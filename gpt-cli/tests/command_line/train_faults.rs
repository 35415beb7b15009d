//! Faults that must not lose a training run: a kill, another trainer, a full disk, a file that
//! shrinks.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::commands::{errors, fails, succeeds};

const LINES: &str = "the cat sat on the mat and the dog sat on the log; a hat is on the cat.\n";

struct TestDir(tempfile::TempDir);

impl TestDir {
    /// A folder with a text of `lines` lines.
    fn new(lines: usize) -> TestDir {
        let dir = TestDir(tempfile::tempdir().unwrap());
        fs::write(dir.path("text.txt"), LINES.repeat(lines)).unwrap();
        dir
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// `gpt train` in the folder `run`, with the options `more`.
    fn train(&self, more: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gpt"));
        command.current_dir(self.0.path()).args(["train", "--device", "cpu", "--threads", "1"]);
        command.args(["--out", "run"]).args(more.split_whitespace()).stdin(Stdio::null());
        command
    }

    /// A new tiny run.
    fn begin(&self, more: &str) -> Command {
        let tiny = "--model nano --data text.txt --batch 2 --context 16 --warmup 2";
        self.train(&format!("{tiny} {more}"))
    }

    fn log(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.path("run/log.jsonl")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// Starts a run and waits for a line of standard error with `part`.
#[track_caller]
#[expect(clippy::zombie_processes, reason = "the caller kills it")]
fn until(command: &mut Command, part: &str) -> (Child, BufReader<std::process::ChildStderr>) {
    let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut reader = BufReader::new(child.stderr.take().unwrap());
    let mut all = String::new();
    loop {
        let before = all.len();
        if reader.read_line(&mut all).unwrap() == 0 {
            kill(child);
            panic!("{part} is not in: {all}");
        }
        if all[before..].contains(part) {
            return (child, reader);
        }
    }
}

#[track_caller]
fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

/// A checkpoint precedes the validation of its step. A resumed run performs a missing validation.
#[test]
fn a_run_killed_in_its_last_validation_is_whole() {
    let dir = TestDir::new(8_000);
    let (child, _stderr) = until(&mut dir.begin("--steps 3 --eval-every 3"), "step 3: saved");
    kill(child);
    assert!(dir.path("run/checkpoint-3").is_dir());
    assert!(dir.log().iter().all(|line| line["step"] != 3), "the validation was not interrupted");
    assert!(!dir.path("run/model.safetensors").exists());
    // A resumed run does not need the text.
    fs::remove_file(dir.path("text.txt")).unwrap();
    succeeds(&mut dir.train("--resume --eval-windows 2"));
    let lines = dir.log();
    let last = lines.last().unwrap();
    assert_eq!(last["step"], 3);
    assert!(last["val_loss"].as_f64().unwrap() > 0.0 && last["loss"].as_f64().unwrap() > 0.0);
    assert!(dir.path("run/model.safetensors").exists());
    assert!(fails(&mut dir.train("--resume"), 2).contains("has made all its steps (3)"));
}

#[test]
fn a_run_without_validation_leaves_its_newest_model() {
    let dir = TestDir::new(60);
    let output = succeeds(&mut dir.begin("--steps 3 --eval-windows 0"));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("the newest model, not validated, is in run"), "{text}");
    assert!(dir.path("run/model.safetensors").exists());
    assert!(dir.log().iter().all(|line| line["val_loss"].is_null()));
}

/// Replaces the embedding of the token `id` by NaN.
fn spoil(path: &Path, id: usize, width: usize) {
    let mut bytes = fs::read(path).unwrap();
    let data = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&bytes[8..data]).unwrap();
    let start = header["wte.weight"]["data_offsets"][0].as_u64().unwrap() as usize;
    let row = data + start + 4 * id * width;
    for value in bytes[row..row + 4 * width].as_chunks_mut().0 {
        *value = f32::NAN.to_le_bytes();
    }
    fs::write(path, bytes).unwrap();
}

/// A token that occurs only in the validation text makes the validation loss NaN. The weights of
/// the run are kept, and the run continues without validation.
#[test]
fn a_first_validation_loss_of_nan_loses_no_weights() {
    let dir = TestDir::new(60);
    let text = LINES.repeat(60) + &"zz zz\n".repeat(40);
    fs::write(dir.path("text.txt"), text).unwrap();
    let spec = "vocab: 18, context: 16, layers: 1, heads: 1, embed: 8, tie_embeddings: false";
    let begin = |more: &str| {
        let mut command = dir.train(&format!("--data text.txt --batch 2 {more} --spec"));
        command.arg(spec);
        command
    };
    succeeds(&mut begin("--steps 1 --eval-windows 2"));
    fs::rename(dir.path("run"), dir.path("start")).unwrap();
    let json: Value =
        serde_json::from_slice(&fs::read(dir.path("start/tokenizer.json")).unwrap()).unwrap();
    let id = json["model"]["vocab"]["z"].as_u64().unwrap() as usize;
    spoil(&dir.path("start/model.safetensors"), id, 8);
    let message = fails(&mut begin("--weights start --steps 4 --eval-every 2 --save-every 3"), 1);
    assert!(message.contains("the validation loss of step 2 is NaN"), "{message}");
    assert!(message.contains("step 2 is kept: run/checkpoint-2"), "{message}");
    assert!(dir.path("run/checkpoint-2/model.safetensors").exists());
    assert!(!dir.path("run/model.safetensors").exists());
    // It fails again, and the first checkpoint is not replaced by one of a later step.
    let message = fails(&mut dir.train("--resume"), 1);
    assert!(message.contains("the validation loss of step 2 is NaN"), "{message}");
    assert!(dir.path("run/checkpoint-2/model.safetensors").exists());
    succeeds(&mut dir.train("--resume --eval-windows 0"));
    assert!(dir.path("run/model.safetensors").exists());
    assert_eq!(dir.log().last().unwrap()["step"], 4);
    // The same holds if the loss of the last step is NaN.
    fs::remove_dir_all(dir.path("run")).unwrap();
    let message = fails(&mut begin("--weights start --steps 3 --eval-every 3"), 1);
    assert!(message.contains("step 3 is kept: run/checkpoint-3"), "{message}");
    let output = succeeds(&mut dir.train("--resume --eval-windows 0"));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("the newest model, not validated, is in run"), "{text}");
    assert!(dir.path("run/model.safetensors").exists());
}

#[test]
fn another_batch_goes_on_after_the_last_window() {
    let dir = TestDir::new(60);
    succeeds(&mut dir.begin("--steps 3 --eval-windows 2"));
    let output = succeeds(&mut dir.train("--resume --steps 5 --batch 4 --json"));
    let text = String::from_utf8(output.stdout).unwrap();
    let figures: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(figures["tokens"], (3 * 2 + 2 * 4) * 16);
    // Windows of another length cannot continue the pass over the text.
    let output = succeeds(&mut dir.train("--resume --steps 6 --context 8"));
    assert!(errors(&output).contains("starts a new epoch"));
}

#[test]
fn a_folder_has_one_trainer() {
    let dir = TestDir::new(60);
    let options = "--steps 1000000 --eval-every 5 --eval-windows 2";
    let (child, _stderr) = until(&mut dir.begin(options), "step 10: saved");
    for mut other in [dir.begin("--steps 3"), dir.train("--resume")] {
        let message = fails(&mut other, 2);
        assert!(message.contains("another gpt train is writing into run"), "{message}");
    }
    // Nothing is left behind by a run that is killed.
    kill(child);
    let steps = dir.log().last().unwrap()["step"].as_u64().unwrap() + 20;
    succeeds(&mut dir.train(&format!("--resume --steps {steps}")));
}

#[test]
fn texts_of_several_files_and_systems() {
    let dir = TestDir::new(30);
    fs::create_dir(dir.path("more")).unwrap();
    let windows = format!("\u{feff}{}", LINES.repeat(30).replace('\n', "\r\n"));
    fs::write(dir.path("more/windows.txt"), windows).unwrap();
    let options = "--model nano --batch 2 --context 16 --steps 2 --eval-windows 2";
    let data = "--data text.txt more";
    let output = succeeds(&mut dir.train(&format!("{options} {data}")));
    let note = "note: the text has a byte order mark, and \\r at the ends of lines";
    assert!(errors(&output).contains(note), "{}", errors(&output));
    let vocab = |folder: &str| {
        let text = fs::read_to_string(dir.path(folder).join("tokenizer.json")).unwrap();
        let json: Value = serde_json::from_str(&text).unwrap();
        json["model"]["vocab"].as_object().unwrap().len()
    };
    let odd = vocab("run");
    fs::rename(dir.path("run"), dir.path("odd")).unwrap();
    succeeds(&mut dir.train(&format!("{options} {data} --normalize-newlines")));
    assert_eq!(vocab("run"), odd - 2);
    // If the text is named again, a resumed run normalises it as before.
    succeeds(&mut dir.train(&format!("--resume --steps 3 {data}")));
    // Only the odd characters make the vocabulary too small.
    fs::remove_dir_all(dir.path("run")).unwrap();
    let spec = format!("vocab: {}, context: 16, layers: 1, heads: 1, embed: 8", odd - 1);
    let mut small = dir.train("--batch 2 --steps 1 --data text.txt more --spec");
    let message = fails(small.arg(spec), 2);
    assert!(
        message.contains("a byte order mark, and \\r") && message.contains("--normalize-newlines"),
        "{message}"
    );
    fs::write(dir.path("odd.txt"), ('a'..='\u{300}').collect::<String>()).unwrap();
    let message = fails(&mut dir.train("--model nano --data odd.txt"), 2);
    assert!(message.contains("the rarest of this one are 'a' (1), 'b' (1)"), "{message}");
}

#[cfg(unix)]
#[test]
fn tokens_that_shrink_end_a_run_with_a_sentence() {
    let dir = TestDir::new(60);
    succeeds(&mut dir.begin("--steps 2 --eval-windows 2"));
    let resume = "--resume --steps 1000000 --save-every 5 --eval-every 1000000";
    let (mut child, mut stderr) = until(&mut dir.train(resume), "saved");
    fs::OpenOptions::new().write(true).truncate(true).open(dir.path("run/train.bin")).unwrap();
    let mut text = String::new();
    std::io::Read::read_to_string(&mut stderr, &mut text).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1), "{text}");
    assert!(text.contains("error: a file was truncated while it was read"), "{text}");
}

/// A full disk, simulated by a limit on the size of files: the error names the file, and the last
/// checkpoint is kept.
#[cfg(unix)]
#[test]
fn a_full_disk_keeps_the_last_checkpoint() {
    let dir = TestDir::new(60);
    succeeds(&mut dir.begin("--steps 2 --eval-windows 2"));
    let mut limited = Command::new("sh");
    let script =
        "trap '' XFSZ; ulimit -f 2000; exec \"$0\" train --resume --steps 4 --device cpu --out run";
    limited.args(["-c", script, env!("CARGO_BIN_EXE_gpt")]).current_dir(dir.0.path());
    let message = fails(&mut limited, 1);
    assert!(message.starts_with("cannot write run/checkpoint-4"), "{message}");
    let names = fs::read_dir(dir.path("run")).unwrap();
    let names: Vec<String> =
        names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(names.iter().all(|name| !name.contains(".new")), "{names:?}");
    succeeds(&mut dir.train("--resume --steps 3"));
}

#[cfg(target_os = "linux")]
#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let dir = TestDir::new(60);
    // Not even root may create a folder there.
    let mut command = Command::new(env!("CARGO_BIN_EXE_gpt"));
    command.args(["train", "--model", "nano", "--device", "cpu", "--context", "16", "--data"]);
    command.arg(dir.path("text.txt")).args(["--out", "/sys/gpt-run"]);
    let message = fails(&mut command, 2);
    assert!(message.starts_with("cannot create /sys/gpt-run"), "{message}");
}
