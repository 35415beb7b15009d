//! Ops: the computations of a pass's steps, for inference and for training.
//!
//! An op names the buffers it reads and writes by [`Slot`] and its parameters by [`TensorId`], so
//! an engine needs nothing but the op to run it. Inference and training share the forward ops. They
//! differ in what an op keeps: a training pass materialises norms, and stores slopes, row
//! statistics and log-sum-exps for the backward pass. The compiler derives the backward ops from
//! the forward ones (`gpt-codegen`, `plan/backward.rs`); nothing here says in which order ops run.

use serde::Serialize;

use crate::{BufferId, Formula, Mask, Role, Site, Slot, TensorId};

/// One step of a pass. `d` before a name is the gradient of the loss with respect to it.
///
/// Gradients of parameters are added to those of earlier batches, or replace them in the first
/// batch of an optimizer step.
#[derive(Clone, Debug, Serialize, PartialEq)]
pub enum Op {
    /// `out = dropout(table[token] (+ positions[position]))`.
    Embed {
        table: TensorId,
        positions: Option<TensorId>,
        out: Slot,
    },
    /// `out = norm(x)` as a separate step (training). Stores the row statistics, or reads the
    /// stored ones where the backward pass recomputes `out`.
    Norm {
        norm: NormRef,
        x: Slot,
        stats: Slot,
        out: Slot,
        statistics: Statistics,
    },
    /// A matrix product with its prologue and epilogue.
    Project(Projection),
    /// `out = dropout(softmax(q kᵀ / sqrt(head_dim))) v` of each head, masked before the softmax,
    /// by online softmax. Training stores the log-sum-exp of each query's scores in `lse`.
    Attention {
        heads: Heads,
        mask: Mask,
        out: Slot,
        lse: Option<Slot>,
    },
    /// `losses = -ln softmax(logits)[target]` of a chunk of rows, and in place
    /// `logits = (softmax(logits) - onehot(target)) / rows`, the gradient of the mean loss. Where
    /// the logits are mapped products, times `slope` of the logit: the gradient of the product.
    CrossEntropy {
        logits: Slot,
        losses: Slot,
        slope: Option<Formula>,
    },

    /// Backward of [`Embed`](Op::Embed): `d(table)[token] += dx`, `d(positions)[t] += dx`.
    EmbedBackward {
        table: TensorId,
        positions: Option<TensorId>,
        dx: Slot,
    },
    /// Backward of dropout: `out = dropout(dy)` with the mask of the forward pass.
    DropoutBackward { site: Site, dy: Slot, out: Slot },
    /// Gradient of a projection's input: `out = dy · weight`, times `slopes` element by element
    /// where the input is the output of an activation.
    ProjectInput {
        weight: TensorId,
        dy: Slot,
        slopes: Option<Slot>,
        out: Slot,
    },
    /// Gradients of a projection's parameters: `d(weight) += dyᵀ · input`, `d(bias) += Σ dy`.
    ProjectWeight {
        weight: TensorId,
        bias: Option<TensorId>,
        dy: Slot,
        input: Slot,
    },
    /// Gradient of a norm's input: `out = residual + d(norm)/dx · dy`.
    NormInput {
        norm: NormRef,
        x: Slot,
        stats: Slot,
        dy: Slot,
        /// The gradient of a residual taken from the norm's input.
        residual: Option<Slot>,
        out: Slot,
    },
    /// Gradients of a norm's parameters.
    NormWeight {
        norm: NormRef,
        x: Slot,
        stats: Slot,
        dy: Slot,
    },
    /// `out = a + b`: the sum of the gradients of a residual and of a projection or norm, which read
    /// the same rows.
    Add { a: Slot, b: Slot, out: Slot },
    /// Backward of [`Attention`](Op::Attention): `dqkv`, through the inverse rotation. Recomputes
    /// the probabilities from `lse`; stores `Σ out · dout` of each query in `delta`.
    AttentionBackward {
        qkv: Slot,
        mask: Mask,
        /// As in [`Epilogue::Heads`].
        rotary: Option<u16>,
        out: Slot,
        lse: Slot,
        dout: Slot,
        delta: Slot,
        dqkv: Slot,
    },
}

/// A matrix product: `y = weight · prologue(input)`, handed to the epilogue.
///
/// `qkv`, `attention_out`, `mlp_up`, `mlp_down` and `head` are instances.
#[derive(Clone, Debug, Serialize, PartialEq)]
pub struct Projection {
    /// `[rows, columns of the weight]`.
    pub input: Slot,
    /// The norm that the input passes through (prologue); without one it is read unchanged.
    pub norm: Option<NormRef>,
    /// `[outputs, inputs]`.
    pub weight: TensorId,
    /// Added to `y` before the rest of the epilogue.
    pub bias: Option<TensorId>,
    pub epilogue: Epilogue,
}

/// The operations on a projection's product `y` before it is stored.
#[derive(Clone, Debug, Serialize, PartialEq)]
pub enum Epilogue {
    /// `out = y`, or `out = map(y)`: the logits.
    Store { out: Slot, map: Option<LogitMap> },
    /// Splits `y` into heads of queries, keys and values, and rotates queries and keys by their
    /// position with the angles of table `rotary`, if there is one.
    Heads { heads: Heads, rotary: Option<u16> },
    /// `out = act(y)`; gated, with `y = [gate, up]`: `out = act(gate) * up`. Training stores the
    /// derivatives of `out` with respect to `y` in `slopes`.
    Activation {
        gated: bool,
        out: Slot,
        slopes: Option<Slot>,
    },
    /// `out = residual + dropout(y)`, the residual read through `norm` if there is one.
    Residual {
        residual: Slot,
        norm: Option<NormRef>,
        out: Slot,
        site: Site,
    },
}

/// A function from a product to a logit.
#[derive(Clone, Debug, Serialize, PartialEq)]
pub struct LogitMap {
    pub value: Formula,
    /// The derivative of the logit with respect to the product, as a function of the logit: the
    /// backward pass has no products.
    pub slope: Formula,
}

/// The buffers of queries, keys and values.
#[derive(Clone, Copy, Debug, Serialize, PartialEq, Eq)]
pub enum Heads {
    /// Queries in rows; keys and values in the layer's cache (inference).
    Cached { q: Slot, k: Slot, v: Slot },
    /// Side by side in the rows of one buffer `[rows, q_width + 2 kv_width]` (training).
    Fused { qkv: Slot },
}

/// Whether a norm computes its row statistics or reads stored ones.
#[derive(Clone, Copy, Debug, Serialize, PartialEq, Eq)]
pub enum Statistics {
    Compute,
    Stored,
}

/// A norm and its parameters.
#[derive(Clone, Copy, Debug, Serialize, PartialEq, Eq)]
pub struct NormRef {
    /// The place of the norm.
    pub role: Role,
    /// Scale, if the norm has one.
    pub gamma: Option<TensorId>,
    /// Shift, if the norm has one.
    pub beta: Option<TensorId>,
}

impl Op {
    /// The projection, if the op is one.
    pub const fn projection(&self) -> Option<&Projection> {
        match self {
            Op::Project(projection) => Some(projection),
            _ => None,
        }
    }

    /// The matrix that the op reads, or whose gradient it computes.
    pub const fn matrix(&self) -> Option<TensorId> {
        match self {
            Op::Embed { table, .. } | Op::EmbedBackward { table, .. } => Some(*table),
            Op::Project(Projection { weight, .. })
            | Op::ProjectInput { weight, .. }
            | Op::ProjectWeight { weight, .. } => Some(*weight),
            _ => None,
        }
    }

    /// Whether the op computes logits: the epilogue of the head.
    pub const fn is_head(&self) -> bool {
        matches!(
            self,
            Op::Project(Projection {
                epilogue: Epilogue::Store { .. },
                ..
            })
        )
    }

    /// Whether the op's matrix stacks a gate on the rows it gates.
    pub const fn is_gated(&self) -> bool {
        matches!(
            self,
            Op::Project(Projection {
                epilogue: Epilogue::Activation { gated: true, .. },
                ..
            })
        )
    }

    /// Whether the op belongs to a backward pass.
    pub const fn is_backward(&self) -> bool {
        matches!(
            self,
            Op::EmbedBackward { .. }
                | Op::DropoutBackward { .. }
                | Op::ProjectInput { .. }
                | Op::ProjectWeight { .. }
                | Op::NormInput { .. }
                | Op::NormWeight { .. }
                | Op::Add { .. }
                | Op::AttentionBackward { .. }
        )
    }

    /// Whether the op writes the stream that the next layer reads.
    pub fn ends_layer(&self) -> bool {
        matches!(
            self,
            Op::Project(Projection {
                epilogue: Epilogue::Residual { out, .. },
                ..
            }) if *out == BufferId::X.next()
        )
    }

    /// The dropout site of the op, if training may drop elements there.
    pub const fn site(&self) -> Option<Site> {
        match self {
            Op::Embed { .. } => Some(Site::Embedding),
            Op::Attention { .. } | Op::AttentionBackward { .. } => Some(Site::Attention),
            Op::Project(Projection {
                epilogue: Epilogue::Residual { site, .. },
                ..
            })
            | Op::DropoutBackward { site, .. } => Some(*site),
            _ => None,
        }
    }
}
