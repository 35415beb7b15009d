//! A text of 2 GB, whose tokens a resumed run maps.
#![cfg(target_os = "linux")]

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::{Command, Stdio};

mod commands;
use commands::succeeds;

const GIB: u64 = 1 << 30;

/// The greatest memory that a command of this process took, in bytes.
fn most_memory() -> u64 {
    // SAFETY: zeros are a valid value, and the call fills it.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        assert_eq!(libc::getrusage(libc::RUSAGE_CHILDREN, &mut usage), 0);
        usage
    };
    1024 * usage.ru_maxrss as u64
}

fn write_text(path: &Path, bytes: u64) {
    let mut out = BufWriter::new(File::create(path).unwrap());
    let mut written = 0;
    for number in 0u64.. {
        let line = format!("line {number}: the cat sat on the mat, and the dog on the log.\n");
        out.write_all(line.as_bytes()).unwrap();
        written += line.len() as u64;
        if written >= bytes {
            return out.flush().unwrap();
        }
    }
}

#[test]
#[ignore = "encodes 2 GB of text; CI runs it"]
fn two_gigabytes_of_text_are_learned_from() {
    let folder = tempfile::tempdir().unwrap();
    let gpt = |arguments: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gpt"));
        command.args(arguments.split_whitespace()).args(["--device", "cpu", "--out", "run"]);
        command.current_dir(folder.path()).stdin(Stdio::null());
        command
    };
    write_text(&folder.path().join("text.txt"), 2 * GIB);
    let begin =
        "train --model nano --data text.txt --context 16 --batch 2 --eval-windows 2 --steps 2";
    succeeds(&mut gpt(begin));
    let most = most_memory();
    eprintln!("2 GiB of text take {} MiB of memory", most >> 20);
    assert!(most < 7 * GIB, "{most} bytes of memory");
    // The tokens are mapped, so the text is not needed.
    std::fs::remove_file(folder.path().join("text.txt")).unwrap();
    succeeds(&mut gpt("train --resume --steps 3"));
    let tokens = std::fs::metadata(folder.path().join("run/train.bin")).unwrap().len();
    assert!(tokens > 3 * GIB, "{tokens} bytes of tokens");
}
