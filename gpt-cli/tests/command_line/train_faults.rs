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
        let desk = TestDir(tempfile::tempdir().unwrap());
        fs::write(desk.path("text.txt"), LINES.repeat(lines)).unwrap();
        desk
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

    /// A tiny run that begins.
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
    let desk = TestDir::new(8_000);
    let (child, _stderr) = until(&mut desk.begin("--steps 3 --eval-every 3"), "step 3: saved");
    kill(child);
    assert!(desk.path("run/checkpoint-3").is_dir());
    assert!(desk.log().iter().all(|line| line["step"] != 3), "the validation was not interrupted");
    assert!(!desk.path("run/model.safetensors").exists());
    // The text is not needed.
    fs::remove_file(desk.path("text.txt")).unwrap();
    succeeds(&mut desk.train("--resume --eval-windows 2"));
    let lines = desk.log();
    let last = lines.last().unwrap();
    assert_eq!(last["step"], 3);
    assert!(last["val_loss"].as_f64().unwrap() > 0.0 && last["loss"].as_f64().unwrap() > 0.0);
    assert!(desk.path("run/model.safetensors").exists());
    assert!(fails(&mut desk.train("--resume"), 2).contains("has made its 3 steps"));
}

#[test]
fn a_run_without_validation_leaves_its_newest_model() {
    let desk = TestDir::new(60);
    let output = succeeds(&mut desk.begin("--steps 3 --eval-windows 0"));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("the newest model, not validated, is in run"), "{text}");
    assert!(desk.path("run/model.safetensors").exists());
    assert!(desk.log().iter().all(|line| line["val_loss"].is_null()));
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

/// A token that only the validation has makes its loss NaN. The weights of the run stay, and it
/// continues without validation.
#[test]
fn a_first_validation_loss_of_nan_loses_no_weights() {
    let desk = TestDir::new(60);
    let text = LINES.repeat(60) + &"zz zz\n".repeat(40);
    fs::write(desk.path("text.txt"), text).unwrap();
    let spec = "vocab: 18, context: 16, layers: 1, heads: 1, embed: 8, tie_embeddings: false";
    let begin = |more: &str| {
        let mut command = desk.train(&format!("--data text.txt --batch 2 {more} --spec"));
        command.arg(spec);
        command
    };
    succeeds(&mut begin("--steps 1 --eval-windows 2"));
    fs::rename(desk.path("run"), desk.path("start")).unwrap();
    let json: Value =
        serde_json::from_slice(&fs::read(desk.path("start/tokenizer.json")).unwrap()).unwrap();
    let id = json["model"]["vocab"]["z"].as_u64().unwrap() as usize;
    spoil(&desk.path("start/model.safetensors"), id, 8);
    let message = fails(&mut begin("--weights start --steps 4 --eval-every 2 --save-every 3"), 1);
    assert!(message.contains("the validation loss of step 2 is NaN"), "{message}");
    assert!(message.contains("step 2 is kept: run/checkpoint-2"), "{message}");
    assert!(desk.path("run/checkpoint-2/model.safetensors").exists());
    assert!(!desk.path("run/model.safetensors").exists());
    // The same again, and the first checkpoint is not replaced by one of a later step.
    let message = fails(&mut desk.train("--resume"), 1);
    assert!(message.contains("the validation loss of step 2 is NaN"), "{message}");
    assert!(desk.path("run/checkpoint-2/model.safetensors").exists());
    succeeds(&mut desk.train("--resume --eval-windows 0"));
    assert!(desk.path("run/model.safetensors").exists());
    assert_eq!(desk.log().last().unwrap()["step"], 4);
    // In the last step, too.
    fs::remove_dir_all(desk.path("run")).unwrap();
    let message = fails(&mut begin("--weights start --steps 3 --eval-every 3"), 1);
    assert!(message.contains("step 3 is kept: run/checkpoint-3"), "{message}");
    let output = succeeds(&mut desk.train("--resume --eval-windows 0"));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("the newest model, not validated, is in run"), "{text}");
    assert!(desk.path("run/model.safetensors").exists());
}

#[test]
fn another_batch_goes_on_after_the_last_window() {
    let desk = TestDir::new(60);
    succeeds(&mut desk.begin("--steps 3 --eval-windows 2"));
    let output = succeeds(&mut desk.train("--resume --steps 5 --batch 4 --json"));
    let text = String::from_utf8(output.stdout).unwrap();
    let figures: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(figures["tokens"], (3 * 2 + 2 * 4) * 16);
    // Windows of another length have no place in the pass that was begun.
    let output = succeeds(&mut desk.train("--resume --steps 6 --context 8"));
    assert!(errors(&output).contains("starts a new pass over the text"));
}

#[test]
fn a_folder_has_one_trainer() {
    let desk = TestDir::new(60);
    let options = "--steps 1000000 --eval-every 5 --eval-windows 2";
    let (child, _stderr) = until(&mut desk.begin(options), "step 10: saved");
    for mut other in [desk.begin("--steps 3"), desk.train("--resume")] {
        let message = fails(&mut other, 2);
        assert!(message.contains("another gpt train is writing into run"), "{message}");
    }
    // Nothing is left behind by a run that is killed.
    kill(child);
    let steps = desk.log().last().unwrap()["step"].as_u64().unwrap() + 20;
    succeeds(&mut desk.train(&format!("--resume --steps {steps}")));
}

#[test]
fn texts_of_several_files_and_systems() {
    let desk = TestDir::new(30);
    fs::create_dir(desk.path("more")).unwrap();
    let windows = format!("\u{feff}{}", LINES.repeat(30).replace('\n', "\r\n"));
    fs::write(desk.path("more/windows.txt"), windows).unwrap();
    let options = "--model nano --batch 2 --context 16 --steps 2 --eval-windows 2";
    let data = "--data text.txt more";
    let output = succeeds(&mut desk.train(&format!("{options} {data}")));
    let note = "note: the text has a byte order mark, and \\r at the ends of lines";
    assert!(errors(&output).contains(note), "{}", errors(&output));
    let vocab = |folder: &str| {
        let text = fs::read_to_string(desk.path(folder).join("tokenizer.json")).unwrap();
        let json: Value = serde_json::from_str(&text).unwrap();
        json["model"]["vocab"].as_object().unwrap().len()
    };
    let odd = vocab("run");
    fs::rename(desk.path("run"), desk.path("odd")).unwrap();
    succeeds(&mut desk.train(&format!("{options} {data} --normalize-newlines")));
    assert_eq!(vocab("run"), odd - 2);
    // A resumed run reads a text that is named again as it did before.
    succeeds(&mut desk.train(&format!("--resume --steps 3 {data}")));
    // The vocabulary is too small by the odd characters.
    fs::remove_dir_all(desk.path("run")).unwrap();
    let spec = format!("vocab: {}, context: 16, layers: 1, heads: 1, embed: 8", odd - 1);
    let mut small = desk.train("--batch 2 --steps 1 --data text.txt more --spec");
    let message = fails(small.arg(spec), 2);
    assert!(
        message.contains("a byte order mark, and \\r") && message.contains("--normalize-newlines"),
        "{message}"
    );
    fs::write(desk.path("odd.txt"), ('a'..='\u{300}').collect::<String>()).unwrap();
    let message = fails(&mut desk.train("--model nano --data odd.txt"), 2);
    assert!(message.contains("its rarest are 'a' (1), 'b' (1)"), "{message}");
}

#[cfg(unix)]
#[test]
fn tokens_that_shrink_end_a_run_with_a_sentence() {
    let desk = TestDir::new(60);
    succeeds(&mut desk.begin("--steps 2 --eval-windows 2"));
    let resume = "--resume --steps 1000000 --save-every 5 --eval-every 1000000";
    let (mut child, mut stderr) = until(&mut desk.train(resume), "saved");
    fs::OpenOptions::new().write(true).truncate(true).open(desk.path("run/train.bin")).unwrap();
    let mut text = String::new();
    std::io::Read::read_to_string(&mut stderr, &mut text).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1), "{text}");
    assert!(text.contains("error: a file was truncated while it was read"), "{text}");
}

/// A disk that is full, as a limit of the size of files: an error names the file, and the last
/// checkpoint stays.
#[cfg(unix)]
#[test]
fn a_full_disk_keeps_the_last_checkpoint() {
    let desk = TestDir::new(60);
    succeeds(&mut desk.begin("--steps 2 --eval-windows 2"));
    let mut limited = Command::new("sh");
    let script =
        "trap '' XFSZ; ulimit -f 2000; exec \"$0\" train --resume --steps 4 --device cpu --out run";
    limited.args(["-c", script, env!("CARGO_BIN_EXE_gpt")]).current_dir(desk.0.path());
    let message = fails(&mut limited, 1);
    assert!(message.starts_with("cannot write run/checkpoint-4"), "{message}");
    let names = fs::read_dir(desk.path("run")).unwrap();
    let names: Vec<String> =
        names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(names.iter().all(|name| !name.contains(".new")), "{names:?}");
    succeeds(&mut desk.train("--resume --steps 3"));
}

#[cfg(target_os = "linux")]
#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let desk = TestDir::new(60);
    // Not even root may create a folder there.
    let mut command = Command::new(env!("CARGO_BIN_EXE_gpt"));
    command.args(["train", "--model", "nano", "--device", "cpu", "--context", "16", "--data"]);
    command.arg(desk.path("text.txt")).args(["--out", "/sys/gpt-run"]);
    let message = fails(&mut command, 2);
    assert!(message.starts_with("cannot create /sys/gpt-run"), "{message}");
}
