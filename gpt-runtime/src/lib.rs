//! Runs the models that [`gpt_model!`] declares, on wgpu and on a CPU engine of its own.
//!
//! Data goes one way: `weights` brings tensors out of files, an engine (`cpu` or `gpu`) packs them once and walks
//! the model's plan, [`Session`] feeds it tokens and hands out logits, `sample` chooses the next token, `text`
//! turns tokens into words and back, [`Trainer`] makes a better model of one. What a model *is* stands in `gpt-plan`; how it becomes a plan, in `gpt-codegen`.

pub mod cpu;
mod device;
pub mod engine;
mod error;
mod files;
mod generation;
pub mod gpu;
mod load;
mod model;
mod sample;
mod self_test;
mod session;
#[doc(hidden)]
pub mod spec_docs;
pub mod text;
pub mod train;
mod truncated_plan;
mod tune;
mod vtable;
pub mod weights;

pub use device::{Device, DeviceKind, DeviceOptions};
pub use engine::CacheFormat;
pub use error::Error;
pub use generation::{Ended, Generation, Stop};
pub use gpt_macros::gpt_model;
pub use gpt_plan as plan;
pub use gpt_shaders as shaders;
pub use load::{LoadOptions, LoadTimes, Progress};
pub use model::{Model, Untyped};
pub use sample::{Sampler, Sampling};
pub use self_test::{Check, SelfTest, self_test, self_test_training};
pub use session::{Logits, Session, SessionBuilder};
pub use text::Tokenizer;
pub use train::{AdamW, Batch, Trainer, TrainerSettings};
pub use tune::{Choice, Tuning, tune, tune_training};
pub use vtable::Gpt;
