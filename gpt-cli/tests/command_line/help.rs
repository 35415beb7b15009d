//! Help fits on a screen, and its examples run (shortened, so that the test is quick).

use std::path::Path;
use std::process::{Command, Output};

const GPT: &str = env!("CARGO_BIN_EXE_gpt");

/// Runs a line of shell in `folder`, in which `gpt` is this binary.
fn shell(line: &str, folder: &Path) -> Output {
    let path = std::env::var("PATH").unwrap_or_default();
    let bin = Path::new(GPT).parent().unwrap().display().to_string();
    let mut command = Command::new("sh");
    command.args(["-c", line]).current_dir(folder);
    command.env("PATH", format!("{bin}:{path}"));
    command.env("HOME", folder).env("GPT_CACHE_DIR", folder);
    command.output().expect("a shell runs")
}

#[track_caller]
fn help(command: &str) -> String {
    let output = shell(&format!("gpt {command} --help"), Path::new("."));
    assert!(output.status.success(), "{command}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{command}");
    String::from_utf8(output.stdout).unwrap()
}

/// The names of all subcommands.
fn subcommands() -> Vec<String> {
    let overview = help("");
    let (_, list) = overview.split_once("Commands:\n").unwrap();
    let lines = list.lines().take_while(|line| line.starts_with("  "));
    let names = lines.map(|line| line.split_whitespace().next().unwrap().to_owned());
    names.collect()
}

fn examples(help: &str) -> Vec<&str> {
    let (_, examples) = help.split_once("\nExamples:\n").expect(help);
    examples.lines().map(str::trim).collect()
}

#[test]
fn help_fits_a_screen() {
    let mut commands = subcommands();
    assert!(commands.len() >= 12, "{commands:?}");
    commands.extend(["man".to_owned(), String::new()]);
    for command in commands {
        let help = help(&command);
        let lines = help.lines().count();
        // `gpt train` has the most options.
        assert!(lines <= 40, "{command}: {lines} lines");
        let widest = help.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(100), "{command}: {widest:?} columns");
        let examples = examples(&help);
        assert_eq!(examples.len(), 2, "{command}");
        for example in examples {
            assert!(example.starts_with("gpt "), "{command}: {example}");
        }
    }
}

#[test]
fn help_is_a_word_too() {
    let folder = Path::new(".");
    for (words, option) in [("gpt help", "gpt --help"), ("gpt help train", "gpt train --help")] {
        assert_eq!(shell(words, folder).stdout, shell(option, folder).stdout);
    }
    assert_eq!(shell("gpt help tain", folder).status.code(), Some(2));
}

/// An example, changed so that it is fast enough for a test: more options, or a smaller model.
fn in_short(example: &str) -> String {
    let cpu = "--device cpu --threads 1";
    let line = example.replace("--model gpt2", "--model nano").replace("--steps 4000", "--steps 6");
    // The binary contains no encoder; `gpt embed` pools the embedded model's hidden states, too.
    let line = line.replace(" --weights all-MiniLM-L6-v2", "");
    match example.split(' ').nth(1).unwrap() {
        "train" if line.contains("--resume") => format!("{line} {cpu}"),
        "train" => format!("{line} --steps 4 --batch 2 --eval-every 2 {cpu}"),
        "bench" => format!("{line} --reps 1 --decode 4 {cpu}"),
        "report" if !line.contains("--device") => format!("{line} --model nano --dtype f32 {cpu}"),
        "selftest" if !line.contains("--device") => format!("{line} {cpu}"),
        "plot" => line.replace("lr-3e-4 lr-1e-3", "run run/log.jsonl"),
        "embed" | "eval" | "explain" | "generate" | "logits" => format!("{line} {cpu}"),
        _ => line,
    }
}

#[test]
fn examples_run() {
    let folder = tempfile::tempdir().unwrap();
    let text = "ROMEO: the cat sat on the mat and the dog sat on the log; a hat is on the cat.\n";
    std::fs::write(folder.path().join("shakespeare.txt"), text.repeat(60)).unwrap();
    let mut commands = subcommands();
    // The folders that shells read completions from.
    for functions in [".local/share/bash-completion/completions", ".zfunc"] {
        std::fs::create_dir_all(folder.path().join(functions)).unwrap();
    }
    // `train` runs first, because other examples use what it writes.
    commands.sort_by_key(|command| command != "train");
    for command in commands {
        let help = help(&command);
        for example in examples(&help) {
            // A conversation and blanks need models that are not part of the binary, tuning takes a
            // GPU and minutes, and a download needs the hub; separate tests run them.
            if ["chat", "fill", "tune", "pull"].contains(&command.as_str()) {
                continue;
            }
            let line = in_short(example);
            let output = shell(&line, folder.path());
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{line}: {errors}");
            let all = [&output.stdout[..], &output.stderr[..]].concat();
            let control = all.iter().any(|byte| matches!(byte, 0x1b | b'\r'));
            assert!(!control, "{line} prints control codes to a pipe");
        }
    }
}

#[test]
fn man_pages_and_a_reference_are_written() {
    let folder = tempfile::tempdir().unwrap();
    let output = shell("gpt man --out man", folder.path());
    assert!(output.status.success());
    let man = folder.path().join("man");
    for name in subcommands() {
        let page = std::fs::read_to_string(man.join(format!("gpt-{name}.1"))).expect(&name);
        assert!(page.contains(".SH SYNOPSIS") && page.contains("Examples:"));
    }
    let reference = std::fs::read_to_string(man.join("commands.md")).unwrap();
    for name in subcommands() {
        assert!(reference.contains(&format!("## `gpt {name}`")), "{name}");
    }
    assert!(!reference.contains("gpt man"));
}
