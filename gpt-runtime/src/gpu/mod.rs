//! The GPU engine: it runs a plan through wgpu (Vulkan, Metal, DX12, and GL with the Cargo feature
//! `gl`).
//!
//! - `adapter` finds a GPU, `device` opens it, and `resources` creates buffers and transfers their
//!   contents. `pipeline_cache` saves compiled pipelines on disk, and `tuning_cache` saves which
//!   variants of kernels were measured to be the fastest.
//! - `mapping` waits for the device. The code that waits is `async`; natively it never yields.
//! - `layout` makes bind group layouts from the bindings that a kernel declares, and `pipelines`
//!   compiles kernels when they are first needed.
//! - `pack` brings a matrix into the order that shaders read, `staging` uploads it, and `texture`
//!   makes a texture of it where that is faster. `tables` uploads positions, rotary angles and
//!   token types.
//! - `model` has the weights, `session` runs sequences on them, `train` trains. They share
//!   `buffer_set` (the plan's buffers), `upload` (the inputs of a pass) and `timing`.
//! - `timestamps`, `roofline` and `latency` measure the device. `reports` is for tests, which
//!   rewrite shaders.
//!
//! While sessions generate and trainers train, no buffer or bind group is created, and kernels are
//! compiled only before a model's first pass of a kind. No shape is computed here and no WGSL is
//! written: kernels, sizes and bindings come with the plan.

mod adapter;
mod buffer_set;
mod device;
mod latency;
mod layout;
mod mapping;
mod model;
mod pack;
mod pipeline_cache;
mod pipelines;
mod reports;
mod resources;
mod roofline;
mod session;
mod staging;
mod tables;
#[cfg(test)]
mod testing;
mod texel;
mod texture;
mod timestamps;
mod timing;
#[cfg(feature = "train")]
mod train;
mod tuning_cache;
mod upload;

pub use adapter::{AdapterDescription, adapters};
pub use device::GpuDevice;
pub use model::GpuModel;
pub use pipeline_cache::{checksum, read as read_pipelines};
#[cfg(feature = "train")]
pub use train::GpuTrainer;
pub use tuning_cache::read as read_tuning;
