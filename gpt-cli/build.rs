//! Links the release binary for x86-64 Linux without what only costs bytes.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let is = |key: &str, value: &str| env::var(key).is_ok_and(|found| found == value);
    let linux = is("CARGO_CFG_TARGET_OS", "linux")
        && is("CARGO_CFG_TARGET_ENV", "gnu")
        && is("CARGO_CFG_TARGET_ARCH", "x86_64");
    // The user's own flags or linker may not accept these.
    let usual = env::var_os("RUSTC_LINKER").is_none()
        && env::var("CARGO_ENCODED_RUSTFLAGS").is_ok_and(|flags| flags.is_empty());
    if !(linux && usual && is("PROFILE", "release")) {
        return;
    }
    // A position-independent executable has 47,000 pointers to relocate, which are 1.1 MB of the
    // file and a millisecond of each start. The libraries, the stack and the heap are still at
    // random addresses.
    println!("cargo::rustc-link-arg-bin=gpt=-no-pie");
    // LLD, rustc's linker on this system, keeps one of several functions with the same code.
    println!("cargo::rustc-link-arg-bin=gpt=-Wl,--icf=all");
    // The index of the tables for unwinding is 0.2 MB. A panic aborts, and the binary has no
    // symbols that a backtrace could name.
    println!("cargo::rustc-link-arg-bin=gpt=-Wl,--no-eh-frame-hdr");
}
