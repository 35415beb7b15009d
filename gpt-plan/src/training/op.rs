//! The steps of a training pass.

use crate::{List, NormRef, TensorId};

use super::Site;

/// A buffer of a training pass; the order is that of [`Training::buffers`](super::Training::buffers). All are f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BufferName {
    /// The residual stream as each layer finds it `[rows, embed]`, and as the last one leaves it.
    X,
    /// The stream between a layer's attention and its MLP `[rows, embed]`.
    Middle,
    /// Mean and 1 / deviation of the rows of `X` `[rows, 2]` (RmsNorm: 0 and 1 / root mean square), for each layer and the head.
    StatsX,
    /// Those of `Middle`.
    StatsMiddle,
    /// Queries, keys and values, rotated `[rows, qkv_width]`.
    Qkv,
    /// What attention gathered `[rows, q_width]`.
    A,
    /// The logarithm of each query's sum of exponentials of scaled scores `[rows, heads]`.
    Lse,
    /// The MLP between its projections `[rows, hidden]`.
    H,
    /// By how much `H` changes with each output of the MLP's first projection `[rows, up_width]`, see [`TrainOp::MlpUp`].
    Slopes,
    /// What a step reads through a norm `[rows, embed]`. Made again on the way back.
    N,
    /// The gradient of the stream `[rows, embed]`.
    DX,
    /// The gradient of `N`.
    DN,
    /// The gradient of the MLP's first projection `[rows, up_width]`.
    DUp,
    /// The gradient of `A` `[rows, q_width]`.
    DA,
    /// For each query `Σ a · da` of its head `[rows, heads]`.
    Delta,
    /// The gradient of `Qkv`.
    DQkv,
    /// Logits of a chunk of rows, then their gradient `[chunk, vocab]`.
    Logits,
    /// The loss of each row `[rows, 1]`.
    Losses,
    /// Tokens `[rows, 1]` (u32).
    Tokens,
    /// What should follow each of them `[rows, 1]` (u32).
    Targets,
}

impl BufferName {
    /// That of the layer a step runs for.
    pub const fn here(self) -> Slot {
        self.shifted(0)
    }

    /// That of the layer `shift` later; the head's section stands at layer 0.
    pub const fn shifted(self, shift: u32) -> Slot {
        Slot { name: self, shift }
    }
}

/// A buffer as a step uses it: that of its layer, or of the layer `shift` later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    pub name: BufferName,
    pub shift: u32,
}

/// What becomes of the gradient of a linear layer's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Into {
    /// It is written to the slot.
    Store(Slot),
    /// It is that of `H`: times [`BufferName::Slopes`] it is written to [`BufferName::DUp`].
    ThroughActivation,
}

/// What a step computes. `d` before a name is the gradient of the loss with respect to it; gradients of parameters are added to what the
/// batches before left, or replace it (the first batch of a step).
#[derive(Clone, Debug, PartialEq)]
pub enum TrainOp {
    /// `x = drop(table[token] + positions[t])`.
    Embed {
        table: TensorId,
        positions: Option<TensorId>,
        out: Slot,
    },
    /// `out = norm(x)`; the row's statistics are kept.
    Norm {
        norm: NormRef,
        x: Slot,
        stats: Slot,
        out: Slot,
    },
    /// The same from kept statistics, on the way back.
    NormAgain {
        norm: NormRef,
        x: Slot,
        stats: Slot,
        out: Slot,
    },
    /// `qkv = weight · input (+ bias)`, queries and keys rotated by their position if the spec says so.
    Qkv {
        weight: TensorId,
        bias: Option<TensorId>,
        input: Slot,
    },
    /// `a = drop(softmax(q kᵀ / sqrt(head_dim))) v` of each head and sequence, masked; `lse` is kept.
    Attention,
    /// `out = residual + drop(weight · input (+ bias))`.
    Residual {
        weight: TensorId,
        bias: Option<TensorId>,
        input: Slot,
        residual: Slot,
        out: Slot,
        site: Site,
    },
    /// With `u = weight · n (+ bias)`: `h = act(u)` and `slopes = act'(u)`; gated, `u` has a gate `g` and an up half `v`:
    /// `h = act(g) v`, and `slopes` are `act'(g) v` for the gate and `act(g)` for the up half. `input` is what `n` is.
    MlpUp {
        weight: TensorId,
        bias: Option<TensorId>,
        input: Slot,
    },

    /// Of a chunk of rows: `logits = weight · n`.
    Logits { weight: TensorId },
    /// Of a chunk of rows: `losses = -ln softmax(logits)[target]`, `logits = (softmax(logits) - onehot(target)) / rows` (times the
    /// batch's share of its step).
    CrossEntropy,
    /// `out = drop(dy)`: the gradient of what a site dropped, with the same mask.
    Dropped { site: Site, dy: Slot, out: Slot },
    /// `d(input) = dy · weight`. With a chunk's `Logits` as `dy`, of its rows only.
    LinearInput {
        weight: TensorId,
        dy: Slot,
        into: Into,
    },
    /// `d(weight) += dyᵀ · input`, `d(bias) += Σ dy`, as [`LinearInput`](TrainOp::LinearInput).
    LinearWeight {
        weight: TensorId,
        bias: Option<TensorId>,
        dy: Slot,
        input: Slot,
    },
    /// `out = (add) + d(norm)/dx · dy` with the row's kept statistics; `dy` is the sum of `dy` and `also`, where there is one.
    NormInput {
        norm: NormRef,
        x: Slot,
        stats: Slot,
        dy: Slot,
        also: Option<Slot>,
        add: Option<Slot>,
        out: Slot,
    },
    /// `d(gamma) += Σ dy (x - mean) / deviation`, `d(beta) += Σ dy`; `dy` as above. Runs before `NormInput`, which may overwrite `dy`.
    NormWeight {
        norm: NormRef,
        x: Slot,
        stats: Slot,
        dy: Slot,
        also: Option<Slot>,
    },
    /// `out = a + b`: the gradient of a stream that was read bare.
    Add { a: Slot, b: Slot, out: Slot },
    /// `dqkv` from `qkv`, `a`, `lse` and `da`; rotated back.
    AttentionInput,
    /// `d(table)[token] += dx`, `d(positions)[t] += dx`. A table that no head shares is cleared first in the first batch of a
    /// step, and so are positions.
    EmbedWeight {
        table: TensorId,
        positions: Option<TensorId>,
        dx: Slot,
    },
}

/// A step, and the GPU kernels that make it, one after the other.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainStep {
    /// Name for people: `mlp_up_weight`.
    pub name: &'static str,
    pub op: TrainOp,
    /// Indices into [`Training::kernels`](super::Training::kernels); in f16 [others](super::Training::in_f16) take their place.
    pub kernels: List<u16>,
}

/// Steps that run once, or again and again.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainSection {
    pub repeat: Repeat,
    pub steps: List<TrainStep>,
}

/// How often a section runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    Once,
    /// For the layers `from..to`, in this order.
    Layers(u32, u32),
    /// For the layers `from..to`, the last one first.
    LayersBack(u32, u32),
    /// For each chunk of rows that [`BufferName::Logits`] has room for.
    Chunks,
}
