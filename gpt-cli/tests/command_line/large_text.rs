//! A text of 2.4 GB: more bytes than an `i32` counts, and tokens that take, in `train.bin` alone,
//! more bytes than a `u32` counts.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::commands::succeeds;

const LINE: &[u8] = b"the cat sat on the mat and the dog sat on the log; a hat is on the cat.\n";

/// Writes at least `bytes` bytes of lines, and returns how many.
fn write(path: &Path, bytes: u64) -> u64 {
    let block = LINE.repeat(10_000);
    let mut file = BufWriter::new(File::create(path).unwrap());
    let blocks = bytes.div_ceil(block.len() as u64);
    (0..blocks).for_each(|_| file.write_all(&block).unwrap());
    file.flush().unwrap();
    blocks * block.len() as u64
}

/// `gpt train` with at most `kib` KiB of address space, in `folder`.
fn train(folder: &Path, kib: u64, options: &str) -> Value {
    let script = format!(
        "ulimit -v {kib}; exec \"$0\" train --device cpu --threads 2 --out run --json {options}"
    );
    let mut command = Command::new("sh");
    command.args(["-c", &script, env!("CARGO_BIN_EXE_gpt")]).current_dir(folder);
    let output = succeeds(&mut command);
    let text = String::from_utf8(output.stdout).unwrap();
    serde_json::from_str(text.lines().last().unwrap()).unwrap()
}

/// A new run needs address space for the text, for two bytes per character, and half a GB for the
/// rest. A resumed run does not read the text, so it needs no space for the text. Returns the size
/// of `train.bin`.
fn check(bytes: u64) -> u64 {
    let folder = tempfile::tempdir().unwrap();
    let written = write(&folder.path().join("text.txt"), bytes);
    let rest = 512 << 10;
    let most = 3 * written / 1024 + rest;
    let options = "--batch 2 --context 16 --eval-windows 2 --steps";
    train(folder.path(), most, &format!("--model nano --data text.txt {options} 3"));
    let size = |name: &str| fs::metadata(folder.path().join("run").join(name)).unwrap().len();
    assert_eq!(size("train.bin") + size("val.bin"), 2 * written);
    let learned = size("train.bin");
    assert_eq!(learned, written * 9 / 10 * 2);
    fs::remove_file(folder.path().join("text.txt")).unwrap();
    let mapped = 2 * written / 1024 + rest;
    let figures = train(folder.path(), mapped, "--resume --steps 6");
    assert_eq!(figures["steps"], 6);
    assert!(figures["loss"].as_f64().unwrap().is_finite());
    learned
}

#[test]
fn a_text_takes_a_small_multiple_of_its_size() {
    check(32 << 20);
}

#[test]
#[ignore = "minutes, 8 GB of memory and of disk; `.ci/stress` runs it"]
fn a_text_of_two_gigabytes_is_trained_on() {
    assert!(check(2_400_000_000) > 1 << 32);
}
