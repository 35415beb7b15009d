//! The steps of a forward pass: one [`Op`] a dispatch.
//!
//! Steps are fused as far as data flow allows, five to a layer: the norm is applied by whoever reads the
//! residual stream, rotation and cache write happen where queries and keys are made, residuals are added where
//! a projection ends. The same steps serve one token and a whole prompt; only the kernel differs.

use crate::{Format, List, Phase, TensorId};

/// What a step computes. Buffers are implied by the op and named by [`BufferId`](crate::BufferId).
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// `x = table[token] (+ positions[pos])`.
    Embed {
        table: TensorId,
        positions: Option<TensorId>,
    },
    /// `q, k, v = weight · norm(x) (+ bias)`; q and k rotated if the spec says so; k and v go to the layer's cache.
    Qkv {
        norm: Option<NormRef>,
        weight: TensorId,
        bias: Option<TensorId>,
    },
    /// `a = softmax(q kᵀ / sqrt(head_dim)) v` over the cache, masked, by online softmax.
    Attention,
    /// `x = residual + weight · a (+ bias)`, where `residual` is `norm(x)` in a post-norm block and `x` else. Reads the
    /// attention's output.
    AttentionOut {
        weight: TensorId,
        bias: Option<TensorId>,
        norm: Option<NormRef>,
    },
    /// `h = act(weight · norm(x) (+ bias))`; gated: the weight's upper half is the gate, `h = act(gate) * up`.
    MlpUp {
        norm: Option<NormRef>,
        weight: TensorId,
        bias: Option<TensorId>,
    },
    /// `x = residual + weight · h (+ bias)`, as [`Op::AttentionOut`].
    MlpDown {
        weight: TensorId,
        bias: Option<TensorId>,
        norm: Option<NormRef>,
    },
    /// `logits = weight · norm(x)`.
    Head {
        norm: Option<NormRef>,
        weight: TensorId,
    },
}

/// The parameters of a norm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NormRef {
    /// Scale.
    pub gamma: TensorId,
    /// Shift, where the norm has one.
    pub beta: Option<TensorId>,
}

/// One dispatch of a phase.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Name for people: `qkv`, `attention`, `mlp_down`.
    pub name: &'static str,
    /// What it computes.
    pub op: Op,
    /// The GPU kernel for one row.
    pub decode: KernelChoice,
    /// The GPU kernel for many rows.
    pub prefill: KernelChoice,
}

/// In place of a kernel's index: the step's matrix has more parts in that format than a kernel can bind.
pub const NO_KERNEL: u16 = u16::MAX;

/// Which kernel a step runs, as indices into [`Plan::kernels`](crate::Plan::kernels), or [`NO_KERNEL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelChoice {
    /// The step reads no matrix.
    Plain(u16),
    /// One kernel for each format of the step's matrix, in the order of [`Format::ALL`].
    ByFormat([u16; Format::ALL.len()]),
}

impl KernelChoice {
    /// The kernel for a matrix stored as `format`.
    pub const fn of(&self, format: Format) -> u16 {
        match self {
            KernelChoice::Plain(kernel) => *kernel,
            KernelChoice::ByFormat(kernels) => kernels[format as usize],
        }
    }
}

/// Steps that run once, or once for each of a range of layers.
#[derive(Clone, Debug, PartialEq)]
pub struct Section {
    /// The layers `from..to` it is repeated for; none if it runs once.
    pub layers: Option<(u32, u32)>,
    /// Its steps, in order.
    pub steps: List<Step>,
}

impl Step {
    /// The kernel choice in `phase`.
    pub const fn kernel(&self, phase: Phase) -> KernelChoice {
        match phase {
            Phase::Decode => self.decode,
            Phase::Prefill => self.prefill,
        }
    }

    /// The matrix that the step reads, if any.
    pub const fn matrix(&self) -> Option<TensorId> {
        match self.op {
            Op::Embed { table, .. } => Some(table),
            Op::Attention => None,
            Op::Qkv { weight, .. }
            | Op::AttentionOut { weight, .. }
            | Op::MlpUp { weight, .. }
            | Op::MlpDown { weight, .. }
            | Op::Head { weight, .. } => Some(weight),
        }
    }
}
