//! The plan of a GPT as plain data.
//!
//! A plan holds the resolved [`Spec`], the table of tensors with their names in weight files, the
//! activation buffers, the kernels, and the steps of a forward pass and of a training pass.
//! `gpt-codegen` computes a plan once: in the macro, for a model known at compile time (the plan
//! becomes a `static`), or at run time, for example for a random spec in a test. Engines interpret
//! it; they never compute a shape.
//!
//! `gpt-runtime` depends on this crate and re-exports what its users need ([`Format`], [`Plan`],
//! [`TensorId`], [`TrainBytes`]). Depend on it directly to write a tool or an engine that reads
//! plans. A model declared with `gpt_model!` has its plan in a constant, `Gpt2::PLAN`.
//!
//! The code that computes a plan is in `gpt-codegen`, the code that runs it in `gpt-runtime`. Every
//! type can be built in a `const`, so text and lists are [`Cow`]s.

#![warn(missing_docs)]
// A library must not print; the program that uses it decides what to print.
#![cfg_attr(not(test), warn(clippy::print_stdout, clippy::print_stderr))]

use std::borrow::Cow;

mod activation;
mod binding;
mod buffer;
mod dropout;
mod feature;
mod format;
mod kernel;
mod layout;
mod memory;
mod norm;
mod op;
mod plan;
mod rope;
mod sampling;
mod scores;
mod section;
mod spec;
mod tensor;
mod training;
mod validate;
mod work;

pub use activation::{Activation, Formula, MAX_NODES, Node};
pub use binding::{Access, Binding, Extent, Grid, Operand, with_texture};
pub use buffer::{Buffer, BufferId, Copies, LOGITS_BYTES, LayerCopy, RowCount, Slot, train_stride};
pub use dropout::{Dropout, Site, hash};
pub use feature::{Feature, Features};
pub use format::{Format, SUB_BLOCK};
pub use kernel::{Kernel, Phase};
pub use layout::{
    MAX_PARTS, MAX_PARTS_QKV, MAX_PARTS_RESIDUAL, MAX_ROWS, MatrixLayout, PANEL, STRIP,
    TEXTURE_WIDTH,
};
pub use memory::{Recompute, TrainBytes, TrainShape};
pub use norm::{Norm, NormGroups, NormKind, QkGroups, QkNorm};
pub use op::{BranchSum, Epilogue, Heads, LogitMap, NormRef, Op, Projection, Statistics};
pub use plan::{MAX_BINDING, Plan, SPLIT_FROM, SPLIT_KEYS, SplitAttention, elements};
pub use rope::{Rope, RopeScaling, RotaryPairs};
pub use sampling::{MAX_STOPS, SamplingOp};
pub use scores::Scores;
pub use section::{KernelChoice, NO_KERNEL, Repeat, Section, Step, StepKernels};
pub use spec::{Block, Mask, Mlp, Pattern, Positions, Spec, TensorNames, common_period};
pub use tensor::{
    Component, FileTensor, Init, Layout, Place, Role, Tensor, TensorId, TensorKind, VECTOR_ALIGN,
    vector_block, vector_offset,
};
pub use training::{ADAMW, GRADIENT_NORM, TRAIN_COLUMNS, TRAIN_ROWS, Training};
pub use validate::{Fault, Problem, check, validate};
pub use work::Work;

/// Text that is a literal in a static plan and owned in one made at run time.
pub type Str = Cow<'static, str>;

/// A list that is a literal in a static plan and owned in one made at run time.
pub type List<T> = Cow<'static, [T]>;
