//! The GPU engine: a small machine that walks a plan through wgpu (Vulkan, Metal, DX12, GL).
//!
//! `adapter` finds a GPU and opens it, with a `cache` of pipelines on disk; `layout` says which buffer stands at which binding; `pack` brings a matrix into the order that shaders
//! read, `send` sends it, `texture` keeps it as a texture where that is faster; `model` uploads the weights, `pipelines` compiles the kernels; `session` owns a
//! sequence (its `buffers`) and records passes, `generate` those of many tokens at once, `trace` step by step; `train` learns. `limits` and `timestamps` measure,
//! `tuned` keeps which variants of kernels were the fastest. Nothing is allocated or bound after a session is created, and kernels are compiled only before
//! a model's first pass of their kind. No shape is computed here and no WGSL written: kernels and sizes
//! come with the plan.

mod adapter;
mod buffers;
mod device;
mod fork;
mod generate;
mod layout;
mod model;
mod pack;
mod pipeline_cache;
mod pipelines;
mod roofline;
mod session;
mod staging;
mod texture;
mod timestamps;
mod trace;
#[cfg(feature = "train")]
mod train;
mod tuning_cache;

pub use adapter::{AdapterDescription, adapters};
pub use device::GpuDevice;
pub use model::GpuModel;
#[cfg(feature = "train")]
pub use train::GpuTrainer;
