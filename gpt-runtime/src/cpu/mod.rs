//! The CPU engine.
//!
//! The inner loops are in `gpt-simd`, once for each instruction set, behind checked functions.
//! Modules depend only on those above them:
//! - `affinity`, `pool`, `memory`, `scratch`, `device`: threads, large pages, scratch memory, the
//!   processor
//! - `pack`, `kv_cache`, `activation`: matrices, keys and values in the layouts of the kernels
//! - `sequences`: the rows of a pass by sequence
//! - `ops`: the operations of a model, forward and backward
//! - `parameters`: a model's parameters in the form that operations read
//! - `interpreter`: passes over plans, for inference and training
//! - `session`, `trainer`: the engine's interface
//!
//! `roofline` measures the limits of the machine, and `bench` runs single steps. The engine does
//! not make plans, and it does not convert between text and tokens.

pub mod activation;
mod affinity;
#[doc(hidden)]
pub mod bench;
mod device;
mod interpreter;
mod kv_cache;
mod memory;
mod ops;
mod pack;
mod parameters;
mod pool;
mod roofline;
mod scratch;
mod sequences;
mod session;
#[cfg(feature = "train")]
mod trainer;

pub use device::CpuDevice;
#[cfg(feature = "train")]
pub use interpreter::ActivateWithSlopes;
pub use roofline::CpuMeter;
pub use session::CpuModel;
#[cfg(feature = "train")]
pub use trainer::CpuTrainer;
