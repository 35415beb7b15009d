//! Tests of the program `gpt`, one file per subject.
//!
//! They are one program, because each waits for commands, and other tests run meanwhile. Downloads
//! need a Cargo feature, and the template needs long builds, so their tests are separate programs.

mod chat;
mod cli;
mod commands;
#[cfg(unix)]
mod docs;
mod explain;
mod gpu;
#[cfg(unix)]
mod help;
#[cfg(unix)]
mod interrupts;
#[cfg(target_os = "linux")]
mod large_text;
mod masked;
#[cfg(target_os = "linux")]
mod memory;
#[cfg(unix)]
mod pipes;
mod plot;
mod specs;
#[cfg(target_os = "linux")]
mod terminal;
mod tokenizers;
mod train;
mod train_faults;
