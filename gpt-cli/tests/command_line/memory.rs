//! Runs commands under rising address-space limits. Every failure prints one error and has status
//! 1; no checkpoint is half written.

use std::path::Path;
use std::process::{Command, Output};

use super::commands::errors;
use super::gpu::there_is_a_gpu;

/// Runs `gpt` with at most `kib` KiB of address space.
fn limited(folder: &Path, kib: u64, arguments: &str) -> Output {
    let script = format!("ulimit -v {kib}; exec \"$0\" {arguments}");
    let mut command = Command::new("sh");
    command.args(["-c", &script, env!("CARGO_BIN_EXE_gpt")]).current_dir(folder);
    command.output().unwrap()
}

/// The least address space in which the program starts, in KiB.
fn least(folder: &Path) -> u64 {
    let begins = |kib: u64| limited(folder, kib, "--version").status.success();
    let (mut fails, mut works) = (0, 1 << 22);
    assert!(begins(works), "gpt --version needs 4 GiB");
    while works - fails > 64 {
        let middle = (fails + works) / 2;
        *(if begins(middle) { &mut works } else { &mut fails }) = middle;
    }
    works
}

/// Runs a command with ever more memory until it succeeds. Returns the number of failures.
fn sweep(folder: &Path, arguments: &str, step: u64, after: impl Fn()) -> usize {
    let mut kib = least(folder);
    let (mut failed, mut by_glibc) = (0, 0);
    loop {
        let output = limited(folder, kib, arguments);
        let text = errors(&output);
        after();
        if output.status.success() {
            return failed;
        }
        failed += 1;
        assert!(failed < 10_000, "{arguments} never succeeds");
        let what = format!("{arguments} in {kib} KiB");
        kib += step;
        // glibc ends the process if it cannot register a thread-local destructor, which no program
        // can prevent. It allocates only a few bytes for one, so this happens at few limits.
        if text.contains("Fatal glibc error: failed to register TLS destructor") {
            by_glibc += 1;
            assert!(by_glibc <= 3, "{what}: {text}");
            continue;
        }
        assert_eq!(output.status.code(), Some(1), "{what}: {text}");
        let last = text.lines().last().unwrap_or_default();
        assert!(last.starts_with("error: "), "{what}: {text}");
        assert!(!text.contains("panicked"), "{what}: {text}");
    }
}

fn check(step: u64) {
    let folder = tempfile::tempdir().unwrap();
    let generate = "generate --device cpu --threads 2 --tokens 4 --prompt A";
    assert!(sweep(folder.path(), generate, step, || ()) > 1);

    let line = "the cat sat on the mat and the dog sat on the log; a hat is on the cat.\n";
    std::fs::write(folder.path().join("text.txt"), line.repeat(400)).unwrap();
    let run = folder.path().join("run");
    let train = "train --model nano --data text.txt --out run --steps 2 --batch 2 --context 16 \
                 --eval-windows 2 --device cpu --threads 2";
    let failed = sweep(folder.path(), train, step, || {
        let left = std::fs::read_dir(&run).into_iter().flatten();
        for entry in left {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(!name.contains(".new"), "{name} is half written");
        }
        let whole = run.join("checkpoint-2").exists();
        if !whole {
            let _ = std::fs::remove_dir_all(&run);
        }
    });
    assert!(failed > 1);
    assert!(run.join("model.safetensors").exists());
}

#[test]
fn too_little_memory_is_a_sentence() {
    check(24 << 10);
}

#[test]
#[ignore = "many limits; CI runs it"]
fn too_little_memory_is_a_sentence_at_every_limit() {
    check(1 << 10);
}

/// If a GPU driver refuses a buffer, the error names the tensor and its size. A software adapter
/// takes buffers from the address space, so a limit in which it just opens is too small for half a
/// GB of weights.
#[test]
fn a_driver_that_refuses_memory_is_a_sentence() {
    if !there_is_a_gpu() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let bench = "bench --device gpu --reps 1 --prefill 1 --decode 1 --spec";
    let spec = |width: u32| {
        format!(
            "{bench} 'vocab: 256, context: 8, layers: 10, heads: {}, embed: {width}'",
            width / 8
        )
    };
    let most = 4 << 20;
    let mut kib = least(folder.path());
    let step = 128 << 10;
    while !limited(folder.path(), kib, &spec(8)).status.success() {
        kib += step;
        if kib > most {
            // The driver of a hardware adapter reserves more address space than buffers take.
            return eprintln!("NOT RUN, as the adapter does not open in {most} KiB");
        }
    }
    let output = limited(folder.path(), kib + step, &spec(1152));
    let text = errors(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    let last = text.lines().last().unwrap_or_default();
    assert!(last.starts_with("error: ") && last.contains(" cannot hold "), "{text}");
    assert!(last.contains(" MiB): it is out of memory"), "{text}");
    assert!(!text.contains("panicked"), "{text}");
}
