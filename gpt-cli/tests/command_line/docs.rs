//! Runs the shell commands of two READMEs, CONTRIBUTING.md and the book with this build of `gpt`.
//!
//! The blocks of a page run in order, in a temporary folder for the page, which has a text,
//! `shakespeare.txt`. A comment before a block, `<!-- test-args train: --steps 9 -->`, adds
//! arguments to a subcommand, so that the test is quick. A block whose info string is `sh no_run`
//! needs the network or takes minutes, and is not run.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A shell block of a page.
#[derive(Debug, Default, PartialEq)]
struct Block {
    line: usize,
    commands: String,
    runs: bool,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut appended = Vec::new();
    let mut open: Option<Block> = None;
    for (number, line) in page.lines().enumerate() {
        match &mut open {
            Some(block) if line.starts_with("```") => {
                appended.clear();
                blocks.push(std::mem::take(block));
                open = None;
            }
            Some(block) => {
                writeln!(block.commands, "{}", command(line, &appended)).unwrap();
            }
            None => {
                let arguments = line.strip_prefix("<!-- test-args ");
                if let Some(arguments) = arguments.and_then(|a| a.strip_suffix(" -->")) {
                    let (subcommand, arguments) = arguments.split_once(": ").unwrap();
                    appended.push((subcommand.to_owned(), arguments.to_owned()));
                } else if line == "```sh" || line == "```sh no_run" {
                    open =
                        Some(Block { line: number + 1, runs: line == "```sh", ..Block::default() });
                }
            }
        }
    }
    assert!(open.is_none(), "the last block is not closed");
    blocks
}

/// A line of a block with `gpt` instead of `cargo run --release --`, and with the arguments that
/// the test adds.
fn command(line: &str, appended: &[(String, String)]) -> String {
    let run = "cargo run --release";
    let mut line = line.replace(&format!("{run} -- "), "gpt ").replace(run, "gpt");
    for (subcommand, arguments) in appended {
        let prefix = format!("gpt {subcommand} ");
        if let Some(rest) = line.strip_prefix(&prefix) {
            line = format!("{prefix}{arguments} {rest}");
        }
    }
    line
}

/// Every page: two READMEs, CONTRIBUTING.md, and the Markdown files of the book.
fn pages() -> Vec<PathBuf> {
    let mut pages = ["README.md", "CONTRIBUTING.md", "gpt-cli/README.md"]
        .map(|name| root().join(name))
        .to_vec();
    let mut folders = vec![root().join("docs/src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "md") {
                pages.push(path);
            }
        }
    }
    pages.sort();
    pages
}

/// Writes a text that the embedded model generates; its characters fit the vocabulary of `nano`.
fn write_text(path: &Path) {
    let mut text = String::new();
    for seed in 0..5 {
        let output = Command::new(env!("CARGO_BIN_EXE_gpt"))
            .args(["generate", "--prompt", "ROMEO:", "--tokens", "240"])
            .args(["--device", "cpu", "--seed", &seed.to_string()])
            .output()
            .unwrap();
        assert!(output.status.success());
        text += "ROMEO:";
        text += std::str::from_utf8(&output.stdout).unwrap();
    }
    std::fs::write(path, text).unwrap();
}

#[test]
fn shell_commands_of_the_documentation_run() {
    let shared = tempfile::tempdir().unwrap();
    let text = shared.path().join("shakespeare.txt");
    write_text(&text);
    let programs = shared.path().join("bin");
    std::fs::create_dir(&programs).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_gpt"), programs.join("gpt")).unwrap();
    let path = std::env::var("PATH").unwrap();

    let (mut run, mut skipped, mut failures) = (0, 0, Vec::new());
    for page in pages() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::copy(&text, folder.path().join("shakespeare.txt")).unwrap();
        for block in blocks(&std::fs::read_to_string(&page).unwrap()) {
            if !block.runs {
                skipped += 1;
                continue;
            }
            let output = Command::new("sh")
                .args(["-eu", "-c", &block.commands])
                .current_dir(folder.path())
                .env("PATH", format!("{}:{path}", programs.display()))
                .env("GPT_CACHE_DIR", "")
                .stdin(Stdio::null())
                .output()
                .unwrap();
            run += 1;
            if !output.status.success() {
                let errors = String::from_utf8_lossy(&output.stderr);
                failures.push(format!(
                    "{}:{}: {}\n{}{errors}",
                    page.strip_prefix(root()).unwrap().display(),
                    block.line,
                    output.status,
                    block.commands
                ));
            }
        }
    }
    println!("{run} shell blocks were run, {skipped} are marked no_run");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(run >= 5, "only {run} shell blocks were found");
}

#[test]
fn the_book_has_the_reference_of_commands() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_gpt"))
        .args(["man", "--out"])
        .arg(folder.path())
        .env_remove("COLUMNS")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success());
    let written = std::fs::read_to_string(folder.path().join("commands.md")).unwrap();
    let page = std::fs::read_to_string(root().join("docs/src/commands.md")).unwrap();
    assert!(page == written, "run `gpt man --out DIR` and copy commands.md to docs/src");
}

#[test]
fn arguments_are_appended_to_the_subcommand() {
    let page = "<!-- test-args train: --steps 2 -->\n```sh\ncargo run --release -- train --out a\ngpt\n```\n```sh no_run\nb\n```\n";
    let found = blocks(page);
    assert_eq!(found[0].commands, "gpt train --steps 2 --out a\ngpt\n");
    assert!(found[0].runs && !found[1].runs);
    assert_eq!((found[0].line, found.len()), (2, 2));
}
