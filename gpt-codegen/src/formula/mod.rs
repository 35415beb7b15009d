//! Activation closures: parsed into a formula, differentiated, and written as Rust and as WGSL.
//!
//! A closure of one variable becomes a tape of operations ([`gpt_plan::Formula`]). `tape` builds
//! tapes without repetitions and with constants folded, `stable` rewrites operations that would
//! overflow or cancel, `derivative` makes a second tape, and `write` prints a tape as Rust or WGSL.
//! `range` proves which nodes cannot overflow. `parse` reads the user's tokens and is the only
//! module with error messages.

mod derivative;
mod parse;
mod range;
mod stable;
mod tape;
#[cfg(test)]
mod tests;
mod write;

pub use parse::{of, parse};
pub use write::{rust, wgsl};
