//! Training: from a model and a text to a better model.
//!
//! A [`Trainer`] holds what an engine needs to learn (parameters, gradients, moments, the buffers of a pass) and knows what the engine does
//! not: which rate a step has ([`Schedule`]), which masks, and when a run has gone wrong. What it learns from is a [`Batch`]; `data` makes
//! batches out of token slices and mapped files, random windows of which are a pure function of a seed and a number, so that a position in
//! the data is the number of a step. `checkpoint` writes all of it so that a run that was killed goes on bit for bit; `memory` refuses a run
//! that would not fit before it starts; `loss_scale` keeps small gradients alive in f16; `parameters` lends what was learned as weights, to save or to sample from.

mod batch;
mod checkpoint;
mod data;
mod loss_scale;
mod memory;
mod parameters;
mod settings;
mod trainer;

pub use batch::Batch;
pub use checkpoint::Saved;
pub use data::{RandomWindows, Tokens, Width};
pub use memory::available as available_memory;
pub use settings::{AdamW, Decay, Schedule, TrainerSettings};
pub use trainer::Trainer;

pub use crate::engine::Precision;
pub use gpt_plan::{Recompute, TrainBytes, TrainShape};
