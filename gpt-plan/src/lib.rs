//! The plan of a GPT as plain data.
//!
//! A plan says *how much, where and in which order*: the resolved [`Spec`], the table of tensors with their
//! names in weight files, the activation buffers, the kernels, and the steps of a forward pass. It is computed
//! once, by `gpt-codegen`: inside the macro for a model known at compile time (the plan then becomes a `static`),
//! or at run time for a random spec in a test. Engines walk it; they never compute a shape.
//!
//! What does not live here: how a plan is made (`gpt-codegen`), and how it is carried out (`gpt-runtime`).
//! Every type can be built in a `const`, which is why text and lists are [`Cow`]s.

use std::borrow::Cow;

mod activation;
mod binding;
mod choice;
mod feature;
mod kernel;
mod layout;
mod plan;
mod spec;
mod step;
mod tensor;
mod training;
mod variant;
mod work;

pub use activation::{Activation, Formula, Node};
pub use binding::{Access, Binding, Extent, Grid, Operand, with_texture};
pub use choice::{ChoiceOp, MAX_STOPS};
pub use feature::{Feature, Features};
pub use kernel::{Format, Kernel, Phase};
pub use layout::{
    MAX_PARTS, MAX_PARTS_QKV, MAX_PARTS_RESIDUAL, MAX_ROWS, MatrixLayout, PANEL, STRIP,
    TEXTURE_WIDTH,
};
pub use plan::{ATTENTION_PART, Buffer, BufferId, MAX_BINDING, Plan, Rows, SPLIT_FROM, Split};
pub use spec::{Block, Mask, Mlp, Norm, Positions, Spec};
pub use step::{KernelChoice, NO_KERNEL, NormRef, Op, Section, Step};
pub use tensor::{
    Init, Layout, Place, Source, Tensor, TensorId, TensorKind, VECTOR_ALIGN, vector_block,
    vector_offset,
};

pub use training::{
    ADAMW, BufferName, Copies, Dropout, GRADIENT_NORM, Into, LOGITS_BYTES, Recompute, Repeat, Site,
    Slot, TRAIN_COLUMNS, TRAIN_ROWS, TrainBuffer, TrainBytes, TrainOp, TrainRows, TrainSection,
    TrainShape, TrainStep, Training, hash, train_stride,
};
pub use variant::{VARIANTS, Variant};
pub use work::Work;

/// Text that is a literal in a static plan and owned in one made at run time.
pub type Str = Cow<'static, str>;

/// A list that is a literal in a static plan and owned in one made at run time.
pub type List<T> = Cow<'static, [T]>;
