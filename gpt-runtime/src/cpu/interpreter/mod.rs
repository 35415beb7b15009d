//! Passes over plans: each step's operands are looked up, and its operation is called.
//!
//! `inference` runs the forward pass of a session's chunk of tokens, `training` the training pass
//! of a batch. Only these two match on the operations of a plan.

mod buffers;
mod inference;
mod training;

pub use buffers::TrainBuffers;
pub use inference::{Buffers, ForwardPass, Interpreter, PassScratch, Stopwatch};
pub use training::{Activate, TrainPass};
