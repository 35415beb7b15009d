//! A second Ctrl-C ends the program at once, with status 130, and loses nothing but the steps since
//! the last checkpoint.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use super::commands::{errors, succeeds};
use super::gpu::there_is_a_gpu;

fn interrupt(child: &Child) {
    // SAFETY: no one has waited for the child yet, so no other process has its id.
    let sent = unsafe { libc::kill(child.id() as libc::pid_t, libc::SIGINT) };
    assert_eq!(sent, 0, "{}", std::io::Error::last_os_error());
}

/// Interrupts the program until it has ended, and returns its status.
fn interrupt_until_it_ends(mut child: Child) -> Option<i32> {
    loop {
        interrupt(&child);
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
    }
}

/// The devices to run on.
fn devices() -> Vec<&'static str> {
    if there_is_a_gpu() { vec!["cpu", "gpu"] } else { vec!["cpu"] }
}

/// The first Ctrl-C waits for the end of a step, which takes seconds here.
#[test]
fn a_second_ctrl_c_ends_a_step_and_keeps_the_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let line = "the cat sat on the mat and the dog sat on the log; a hat is on the cat.\n";
    std::fs::write(folder.path().join("text.txt"), line.repeat(800)).unwrap();
    let gpt = |arguments: &str, device: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gpt"));
        command.args(arguments.split_whitespace()).args(["--device", device, "--out", "run"]);
        command.current_dir(folder.path()).stdin(Stdio::null());
        command
    };
    let begin =
        "train --model nano --data text.txt --context 16 --batch 2 --eval-windows 2 --steps 2";
    succeeds(&mut gpt(begin, "cpu"));
    for (device, steps) in devices().into_iter().zip(3..) {
        let long = "train --resume --steps 1000000 --batch 512 --context 32";
        let mut child = gpt(long, device).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut text = String::new();
        while !text.contains("running on") {
            assert_ne!(stderr.read_line(&mut text).unwrap(), 0, "{text}");
        }
        let status = interrupt_until_it_ends(child);
        stderr.read_to_string(&mut text).unwrap();
        assert_eq!(status, Some(130), "{device}: {text}");
        assert!(!text.contains("panicked"), "{text}");
        let names = std::fs::read_dir(folder.path().join("run")).unwrap();
        let names: Vec<_> =
            names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        assert!(names.iter().all(|name| !name.contains(".new")), "{names:?}");
        let resume = format!("train --resume --batch 2 --context 16 --steps {steps}");
        let output = succeeds(&mut gpt(&resume, "cpu"));
        assert!(!errors(&output).contains("panicked"));
    }
}

/// The first Ctrl-C ends the answer, and the next one ends the conversation.
#[test]
fn ctrl_c_ends_an_answer_and_then_the_chat() {
    let folder = tempfile::tempdir().unwrap();
    let characters: String = ('\n'..='\n').chain(' '..='`').take(65).collect();
    let tokenizer = gpt_runtime::Tokenizer::characters(&characters).unwrap();
    tokenizer.save(&folder.path().join("tokenizer.json")).unwrap();
    let template = "{% for m in messages %}{{ m.content }}\n{% endfor %}";
    std::fs::write(folder.path().join("chat_template.jinja"), template).unwrap();
    for device in devices() {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gpt"));
        command.args(["chat", "--tokens", "200", "--tokenizer", "tokenizer.json", "--device"]);
        command.arg(device).current_dir(folder.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // The pipe stays open, so only a signal ends the program.
        let mut messages = child.stdin.take().unwrap();
        std::io::Write::write_all(&mut messages, b"HELLO\n").unwrap();
        let (mut stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        stdout.read_exact(&mut [0]).unwrap();
        let status = interrupt_until_it_ends(child);
        let mut text = String::new();
        stderr.read_to_string(&mut text).unwrap();
        assert_eq!(status, Some(130), "{device}: {text}");
        assert!(!text.contains("panicked"), "{text}");
        drop(messages);
    }
}
