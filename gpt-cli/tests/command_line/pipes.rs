//! Readers that close their pipe, disks that are full, and pipes and devices in place of files.

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

/// A device has no end, and a pipe cannot be mapped. The limit of memory ends a command that reads
/// `/dev/zero`; a command that opens the pipe `p` waits for a writer.
#[cfg(target_os = "linux")]
#[test]
fn devices_and_pipes_are_no_files() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &str| {
        let script = format!("ulimit -v 8000000; [ -e p ] || mkfifo p; \"$0\" {arguments}");
        let output = shell(&script, folder.path());
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let text = |path: &str| {
        [
            format!("generate --prompt A --tokenizer {path} --device cpu"),
            format!("eval --data {path} --device cpu"),
            format!("embed --file {path} --device cpu"),
            format!("train --model nano --data {path} --out run --device cpu"),
        ]
    };
    let weights = |path: &str| {
        [
            format!("spec {path}"),
            format!("inspect --weights {path}"),
            format!("generate --prompt A --weights {path} --device cpu"),
            format!("convert --weights {path} --out a.gguf"),
            format!("train --weights {path} --data text --out run --device cpu"),
        ]
    };
    fs::write(folder.path().join("text"), "AAAA").unwrap();
    let devices = text("/dev/zero").into_iter().chain(weights("/dev/zero"));
    let devices = devices.map(|arguments| (arguments, "/dev/zero: it is a device, not a file"));
    let pipes =
        weights("p").into_iter().map(|arguments| (arguments, "p: it is a pipe, not a file"));
    for (arguments, expected) in devices.chain(pipes) {
        let (status, errors) = run(&arguments);
        assert_eq!(status, Some(2), "{arguments}: {errors}");
        let last = errors.lines().last().unwrap();
        assert_eq!(last, format!("error: cannot read {expected}"), "{arguments}");
    }
    // A text may come from a pipe.
    let (status, errors) = run("embed --file <(echo AB) --device cpu --json");
    assert_eq!(status, Some(0), "{errors}");
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
