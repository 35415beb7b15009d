//! Runs commands of the binary and checks how they end, for several of the test files.

use std::process::{Command, Output};

/// Standard error.
pub fn errors(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The output of a command that succeeds.
#[track_caller]
pub fn succeeds(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", errors(&output));
    output
}

/// The last line of standard error of a command that ends with `status`.
#[track_caller]
pub fn fails(command: &mut Command, status: i32) -> String {
    let output = command.output().unwrap();
    let text = errors(&output);
    assert_eq!(output.status.code(), Some(status), "{text}");
    assert!(!text.contains("panicked"), "{text}");
    let last = text.lines().last().unwrap_or_default();
    last.strip_prefix("error: ").unwrap_or_else(|| panic!("{text}")).to_owned()
}
