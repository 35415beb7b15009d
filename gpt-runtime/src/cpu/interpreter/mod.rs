//! Interpreters of plans: they look up the operands of each step and call its operation.
//!
//! `inference` runs the forward pass of a session's chunk of tokens, `training` the training pass
//! of a batch. Only these two match on the operations of a plan.

#[cfg(feature = "train")]
mod buffers;
mod inference;
#[cfg(feature = "train")]
mod training;

#[cfg(feature = "train")]
pub use buffers::TrainBuffers;
pub use inference::{ForwardPass, Interpreter, PassScratch, SessionBuffers, Stopwatch};
#[cfg(feature = "train")]
pub use training::{ActivateWithSlopes, TrainPass};
