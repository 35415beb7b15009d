//! Readers that close their pipe, and disks that are full.

use std::fs;
use std::process::{Command, Output};

fn shell(script: &str, folder: &std::path::Path) -> Output {
    let mut command = Command::new("bash");
    command.args(["-c", script, env!("CARGO_BIN_EXE_gpt")]).current_dir(folder);
    command.output().unwrap()
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let script = "\"$0\" generate --prompt A --tokens 3 --device cpu > /dev/full";
    let output = shell(script, folder.path());
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{errors}");
    let last = errors.lines().last().unwrap();
    assert!(last.starts_with("error: cannot write the result: No space left"), "{errors}");
}

#[test]
fn a_reader_may_go() {
    let folder = tempfile::tempdir().unwrap();
    // The reader of the text goes, then the reader of messages, then the reader of both.
    for redirection in ["| true", "2> >(true) > text", "2>&1 | true"] {
        let script = format!(
            "set -o pipefail; \"$0\" generate --prompt A --tokens 40 --device cpu {redirection}"
        );
        let output = shell(&script, folder.path());
        assert_eq!(output.status.code(), Some(0), "{redirection}");
    }
}

/// A run whose standard output and error are closed pipes continues and writes its model.
#[test]
fn a_run_goes_on_without_readers() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("text.txt"), "the cat sat on the mat; ".repeat(100)).unwrap();
    let script = "\"$0\" train --model nano --data text.txt --out run --device cpu --threads 1 \
        --batch 2 --context 16 --steps 4 --sample-every 1 --sample-tokens 2 2> >(true) | true";
    let output = shell(script, folder.path());
    assert_eq!(output.status.code(), Some(0));
    let run = folder.path().join("run");
    assert!(run.join("checkpoint-4").is_dir() && run.join("model.safetensors").exists());
}
