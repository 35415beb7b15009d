//! Activation closures: parsed into a formula, differentiated, and written out as Rust and as WGSL.
//!
//! A closure of one variable becomes a tape of operations ([`gpt_plan::Formula`]); `tape` builds tapes without repetitions, with
//! constants folded. From there on everything is mechanical: the derivative is another tape, and the text for
//! CPU and GPU is a `let` for each node. `parse` reads the user's tokens and is the only place with error messages.

mod derivative;
mod parse;
mod tape;
#[cfg(test)]
mod tests;
mod write;

pub use parse::parse;
pub use write::{rust, wgsl};

/// Most nodes of a formula or its derivative: what the CPU engine keeps on its stack.
pub const MAX_NODES: usize = 256;
