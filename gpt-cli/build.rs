//! Links the release binary for x86-64 Linux without what only costs bytes.

use std::env;
use std::path::Path;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=link.ld");
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
    // The linker script removes the tables for unwinding, and this argument removes their index.
    // A panic aborts, and the binary has no symbols that a backtrace could name.
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("link.ld");
    println!("cargo::rustc-link-arg-bin=gpt=-Wl,-T,{}", script.display());
    println!("cargo::rustc-link-arg-bin=gpt=-Wl,--no-eh-frame-hdr");
}
