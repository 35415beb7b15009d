//! Compile errors as rustc prints them. `TRYBUILD=overwrite cargo test -p gpt-ui-tests` updates the
//! expected output; review it before you commit it.

use std::path::Path;
use std::process::Command;

#[test]
fn wrong_specs() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("*.rs");
    cases.compile_fail(match has_rust_src() {
        true => "with_rust_src/*.rs",
        false => "constants/*.rs",
    });
}

/// Whether the sources of the standard library are installed (`rustup component add rust-src`).
/// rustc prints a line of them in errors of constants.
fn has_rust_src() -> bool {
    let output = Command::new("rustc").args(["--print", "sysroot"]).output().expect("rustc runs");
    let sysroot = String::from_utf8(output.stdout).expect("a path in UTF-8");
    Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/core/src/panic.rs").exists()
}
