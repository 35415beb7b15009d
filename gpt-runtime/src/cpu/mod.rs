//! The CPU engine.
//!
//! From the bottom up: `simd` has the inner loops, once for each instruction set; `pool` the threads; `memory` where weights stand, `pack` the matrices and
//! `cache` the keys and values in the layouts that the loops read; `pass` the steps of a plan on top of them. Two
//! faces lead to the steps: `typed`, which generated code calls, and `walk`, which looks steps up in a plan made at run time.
//! `session` holds what a sequence needs. `train` is the same for training: steps back as well as forward, and the optimizer.
//! `limits` measures what all of it is held against.
//!
//! What does not live here: how a plan comes about, and what tokens mean.

pub mod activation;
#[doc(hidden)]
pub mod bench;
mod device;
mod epilogue;
mod gemm;
mod interpreter;
mod kv_cache;
mod memory;
mod pack;
mod parameters;
mod pass;
mod pool;
mod quantize_inputs;
mod roofline;
mod session;
pub mod simd;
#[cfg(feature = "train")]
mod train;

pub use device::CpuDevice;
pub use interpreter::CpuModel;
pub use pass::Pass;
pub use roofline::Meter;
#[cfg(feature = "train")]
pub use train::{Activate, CpuTrainer};
