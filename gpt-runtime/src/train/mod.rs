//! Training: trainers, data, schedules and checkpoints.
//!
//! A [`Trainer`] drives an engine, which owns the parameters, gradients, moments and buffers. The
//! trainer sets the learning rate ([`Schedule`]) and the dropout masks of each step and detects
//! divergence. It learns from a [`Batch`]. `data` makes batches from token slices and mapped files.
//! A batch of random windows is a pure function of a seed and of the number of windows before it,
//! so a run that resumes needs only these two numbers to find its next batch. `objective` has what
//! is predicted: the next token, or tokens that are hidden in a text. `checkpoint` saves a
//! run so that it resumes bit for bit. `memory` checks, before a run starts, that it fits in
//! memory. `loss_scale` keeps small f16 gradients from underflowing. `average` is a moving average
//! of the parameters. `parameters` exposes the trained values as weights.

mod average;
mod batch;
mod checkpoint;
mod data;
mod loss_scale;
mod memory;
mod objective;
mod parameters;
mod settings;
mod trainer;

pub use batch::Batch;
pub use checkpoint::SavedRun;
pub(crate) use checkpoint::read_all_moments as read_moments;
pub use data::{RandomWindows, Tokens, Width};
pub use memory::available as available_memory;
pub use objective::{Masking, Objective};
pub use settings::{AdamW, Decay, Schedule, TrainerSettings};
pub use trainer::Trainer;

pub use crate::engine::Precision;
pub use gpt_plan::{Recompute, TrainBytes, TrainShape};
