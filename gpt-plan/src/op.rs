//! Ops: the steps of a pass, as data, for inference and for training.
//!
//! An op names the buffers it reads and writes by [`Slot`], and its parameters by [`TensorId`]. An
//! engine runs it from this data alone. Inference and training share the forward ops. They
//! differ in what an op keeps: a training pass materialises norms, and stores slopes, row
//! statistics and log-sum-exps for the backward pass. The compiler derives the backward ops from
//! the forward ones (`gpt-codegen`, `plan/backward.rs`). The order of the ops is not defined here.

use serde::Serialize;

use crate::{BufferId, Formula, Role, Scores, Site, Slot, TensorId};

/// One step of a pass. `dx` is the gradient of the loss with respect to `x`. A branch is the output
/// of attention or of the MLP before it is added to the residual stream.
///
/// The first batch of an optimizer step overwrites the gradients of the parameters; later batches
/// add to them.
#[derive(Clone, Debug, Serialize, PartialEq)]
pub enum Op {
    /// `out = dropout(scale * table[token] (+ positions[position]) (+ types[0]))`.
    Embed {
        /// The token embedding `[vocab, embed]`.
        table: TensorId,
        /// The table of positions `[context, embed]`, if one is added.
        positions: Option<TensorId>,
        /// The table of token types `[token_types, embed]`, if there are types. Every token is of
        /// type 0.
        types: Option<TensorId>,
        /// Multiplies the rows of the table.
        scale: f64,
        /// The residual stream `[rows, embed]`.
        out: Slot,
    },
    /// A norm that is a separate step: `out = norm(x)`, or with a `sum`,
    /// `out = residual + scale * dropout(norm(x))`. In training, the forward pass stores the row
    /// statistics. A backward pass that recomputes `out` reads them.
    Norm {
        /// The norm and its parameters.
        norm: NormRef,
        /// `[rows, embed]`.
        x: Slot,
        /// If `x` is a branch, the stream to which its norm is added.
        sum: Option<BranchSum>,
        /// The statistics of the rows of `x`, `[rows, 2]`, in training.
        stats: Option<Slot>,
        /// `[rows, embed]`.
        out: Slot,
        /// Whether `stats` is written or read.
        statistics: Statistics,
    },
    /// Normalises queries and keys, rotates them as [`Epilogue::Heads`] does, and stores them with
    /// the values.
    NormHeads {
        /// The norm. Its parameters are the queries', followed by the keys'.
        norm: NormRef,
        /// Queries, keys and values `[rows, q_width + 2 kv_width]`.
        x: Slot,
        /// The statistics of each normalised group, `[rows, 2 * groups]`, in training.
        stats: Option<Slot>,
        /// The buffers that the heads are written to.
        heads: Heads,
        /// As in [`Epilogue::Heads`].
        rotary: Option<u16>,
    },
    /// A matrix product with its prologue and epilogue.
    Project(Projection),
    /// `out = dropout(softmax(scores(q, k))) v` of each head. Scores are masked before the softmax,
    /// which is computed online. Training stores the log-sum-exp of each query's scores in `lse`.
    Attention {
        /// The queries, keys and values.
        heads: Heads,
        /// The keys that a query attends to, and the function from a product to a score.
        scores: Scores,
        /// `[rows, q_width]`.
        out: Slot,
        /// `[rows, heads]`, in training.
        lse: Option<Slot>,
    },
    /// `losses = -ln softmax(logits)[target]` of a range of rows. Replaces the logits by the
    /// gradient of the mean loss of an optimizer step, `(softmax(logits) - onehot(target)) / n`,
    /// where the step has `n` rows in all its batches. In f16 training, the gradient is multiplied
    /// by the loss scale. If a [`LogitMap`] computed the logits, multiplies this gradient by
    /// `slope`, which gives the gradient of the product.
    CrossEntropy {
        /// `[rows, vocab]`, replaced by their gradient.
        logits: Slot,
        /// `[rows, 1]`, in nats.
        losses: Slot,
        /// The derivative of a logit with respect to its product, as a function of the logit.
        slope: Option<Formula>,
    },

    /// Backward of [`Embed`](Op::Embed): `d(table)[token] += scale * dx`, `d(positions)[t] += dx`,
    /// `d(types)[0] += dx`.
    EmbedBackward {
        /// The token embedding, whose gradient is accumulated.
        table: TensorId,
        /// The table of positions, if it is learned.
        positions: Option<TensorId>,
        /// As in [`Embed`](Op::Embed).
        types: Option<TensorId>,
        /// As in [`Embed`](Op::Embed).
        scale: f64,
        /// The gradient of the stream `[rows, embed]`.
        dx: Slot,
    },
    /// Backward of dropout and of the factor of a branch: `out = scale * dropout(dy)`, with the
    /// mask of the forward pass.
    DropoutBackward {
        /// The place in the forward pass, which selects the mask.
        site: Site,
        /// The factor of the branch.
        scale: f64,
        /// The gradient of the values after dropout.
        dy: Slot,
        /// The gradient of the values before dropout, of the same shape.
        out: Slot,
    },
    /// Gradient of a projection's input: `out = dy · weight`. If an activation computed the input,
    /// each element of the gradient is multiplied by its derivative in `slopes`. A gated activation
    /// has two derivatives for each element, and `out` has both products.
    ProjectInput {
        /// The matrix `[outputs, inputs]`.
        weight: TensorId,
        /// The gradient of the product `[rows, outputs]`.
        dy: Slot,
        /// The derivatives of the activation, of the shape of its input.
        slopes: Option<Slot>,
        /// The gradient of the input `[rows, inputs]`. With `slopes`, the gradient of the
        /// activation's input, of the shape of `slopes`.
        out: Slot,
    },
    /// Gradients of a projection's parameters: `d(weight) += dyᵀ · input`, `d(bias) += Σ dy`.
    ProjectWeight {
        /// The matrix `[outputs, inputs]`, whose gradient is accumulated.
        weight: TensorId,
        /// The bias `[outputs]`, if there is one.
        bias: Option<TensorId>,
        /// The gradient of the product `[rows, outputs]`.
        dy: Slot,
        /// The input of the product `[rows, inputs]`.
        input: Slot,
    },
    /// Gradient of a norm's input: `out = residual + d(norm)/dx · dy`.
    NormInput {
        /// The norm and its parameters.
        norm: NormRef,
        /// The input of the norm `[rows, embed]`.
        x: Slot,
        /// The statistics of its rows `[rows, 2]`.
        stats: Slot,
        /// The gradient of the output of the norm `[rows, embed]`.
        dy: Slot,
        /// If a residual connection also reads `x`, the gradient that it passes to `x`, which is
        /// added.
        residual: Option<Slot>,
        /// The gradient of `x`.
        out: Slot,
    },
    /// Gradients of a norm's parameters.
    NormWeight {
        /// The norm and its parameters, whose gradients are accumulated.
        norm: NormRef,
        /// The input of the norm `[rows, embed]`.
        x: Slot,
        /// The statistics of its rows `[rows, 2]`.
        stats: Slot,
        /// The gradient of the output of the norm `[rows, embed]`.
        dy: Slot,
    },
    /// Gradient of the input of [`NormHeads`](Op::NormHeads) before the rotation. The gradient of
    /// the values is copied.
    NormHeadsInput {
        /// The norm and its parameters.
        norm: NormRef,
        /// Queries, keys and values before the norm `[rows, q_width + 2 kv_width]`.
        x: Slot,
        /// The statistics of each normalised group.
        stats: Slot,
        /// The gradient of normalised queries and keys, and of the values.
        dy: Slot,
        /// The gradient of `x`.
        out: Slot,
    },
    /// Gradients of the parameters of [`NormHeads`](Op::NormHeads).
    NormHeadsWeight {
        /// The norm and its parameters, whose gradients are accumulated.
        norm: NormRef,
        /// As in [`NormHeadsInput`](Op::NormHeadsInput).
        x: Slot,
        /// The statistics of each normalised group.
        stats: Slot,
        /// As in [`NormHeadsInput`](Op::NormHeadsInput).
        dy: Slot,
    },
    /// `out = a + b`: the sum of two gradients, where a residual and a projection, or two
    /// projections, read the same rows.
    Add {
        /// `[rows, embed]`.
        a: Slot,
        /// `[rows, embed]`.
        b: Slot,
        /// `[rows, embed]`; it may be `a` or `b`.
        out: Slot,
    },
    /// `out = a * b`, element by element: multiplies a gradient by the slopes of the head's dense
    /// layer. The output of that layer is read by a norm and not by a projection, so no
    /// `ProjectInput` multiplies by the slopes.
    Multiply {
        /// `[rows, embed]`.
        a: Slot,
        /// `[rows, embed]`.
        b: Slot,
        /// `[rows, embed]`; it may be `a`.
        out: Slot,
    },
    /// Backward of [`Attention`](Op::Attention) and of the rotation: computes `dqkv`. Recomputes
    /// the probabilities from `lse`, and stores `Σ out · dout` of each query in `delta`.
    AttentionBackward {
        /// Queries, keys and values, rotated `[rows, q_width + 2 kv_width]`.
        qkv: Slot,
        /// As in [`Attention`](Op::Attention).
        scores: Scores,
        /// As in [`Epilogue::Heads`].
        rotary: Option<u16>,
        /// The output of the attention `[rows, q_width]`.
        out: Slot,
        /// The log-sum-exps of the forward pass `[rows, heads]`.
        lse: Slot,
        /// The gradient of `out`.
        dout: Slot,
        /// `[rows, heads]`.
        delta: Slot,
        /// The gradient of `qkv` before the rotation.
        dqkv: Slot,
    },
}

/// A matrix product: `y = weight · prologue(input)`, handed to the epilogue.
///
/// The steps `qkv`, `attention_out`, `mlp_up`, `mlp_down`, `head_dense` and `head` are projections.
#[derive(Clone, Debug, Serialize, PartialEq)]
pub struct Projection {
    /// `[rows, columns of the weight]`.
    pub input: Slot,
    /// The norm applied to the input (the prologue). With `None`, the input is read unchanged.
    pub norm: Option<NormRef>,
    /// `[outputs, inputs]`.
    pub weight: TensorId,
    /// Added to `y` before the rest of the epilogue.
    pub bias: Option<TensorId>,
    /// The operations on `y` before it is stored.
    pub epilogue: Epilogue,
}

/// The operations on a projection's product `y` before it is stored.
#[derive(Clone, Debug, Serialize, PartialEq)]
pub enum Epilogue {
    /// `out = y`, or `out = map(y)`: the logits, a branch whose norm is added to the stream, or
    /// queries, keys and values that are normalised.
    Store {
        /// `[rows, outputs]`.
        out: Slot,
        /// A function of each product, for capped logits.
        map: Option<LogitMap>,
    },
    /// Splits `y` into heads of queries, keys and values. If there is a table `rotary` of angles,
    /// rotates queries and keys by the angles of their position.
    Heads {
        /// The buffers that the heads are written to.
        heads: Heads,
        /// The index of the table of angles in
        /// [`Spec::rotary_tables`](crate::Spec::rotary_tables).
        rotary: Option<u16>,
    },
    /// `out = act(y)`, or `out = act(gate) * up` if the activation is gated, where
    /// `y = [gate, up]`. Training stores the derivatives of `out` with respect to `y` in `slopes`.
    Activation {
        /// Whether `y` has a gate and the values that it gates.
        gated: bool,
        /// `[rows, hidden]`.
        out: Slot,
        /// The derivatives of `out`, of the shape of `y`, in training.
        slopes: Option<Slot>,
    },
    /// `out = residual + scale * dropout(y)`. If there is a `norm`, it is applied to the residual
    /// first.
    Residual {
        /// The stream `[rows, embed]`.
        residual: Slot,
        /// The norm of a post-norm block.
        norm: Option<NormRef>,
        /// The factor of the branch.
        scale: f64,
        /// The stream with `y` added `[rows, embed]`.
        out: Slot,
        /// The place of the dropout.
        site: Site,
    },
}

/// A function from a product to a logit.
#[derive(Clone, Debug, Serialize, PartialEq)]
pub struct LogitMap {
    /// The logit as a function of the product.
    pub value: Formula,
    /// The derivative of the logit with respect to the product. It is a function of the logit,
    /// because products are not stored for the backward pass.
    pub slope: Formula,
}

/// The buffers of queries, keys and values.
#[derive(Clone, Copy, Debug, Serialize, PartialEq, Eq)]
pub enum Heads {
    /// Queries in rows; keys and values in the layer's cache (inference).
    Cached {
        /// `[rows, q_width]`.
        q: Slot,
        /// `[capacity, kv_width]`.
        k: Slot,
        /// `[capacity, kv_width]`.
        v: Slot,
    },
    /// Side by side in the rows of one buffer `[rows, q_width + 2 kv_width]` (training).
    Fused {
        /// The buffer.
        qkv: Slot,
    },
}

/// A sum of the stream and the norm of a branch (see [`Op`]): `residual + scale * dropout(norm)`.
#[derive(Clone, Copy, Debug, Serialize, PartialEq)]
pub struct BranchSum {
    /// The stream `[rows, embed]`.
    pub residual: Slot,
    /// The factor of the branch.
    pub scale: f64,
    /// The place of the dropout.
    pub site: Site,
}

/// Whether a norm computes its row statistics or reads stored ones.
#[derive(Clone, Copy, Debug, Serialize, PartialEq, Eq)]
pub enum Statistics {
    /// Computes them. In training, also stores them.
    Compute,
    /// Reads what the forward pass stored.
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

    /// Whether the op belongs to the head, which runs for the rows whose logits are requested.
    pub const fn is_head(&self) -> bool {
        match self {
            Op::Project(Projection {
                epilogue: Epilogue::Store { out, .. } | Epilogue::Activation { out, .. },
                ..
            }) => matches!(out.buffer, BufferId::Logits | BufferId::HeadHidden),
            _ => false,
        }
    }

    /// Whether the op computes logits: the last op of the head.
    pub const fn computes_logits(&self) -> bool {
        self.is_head()
            && matches!(self, Op::Project(Projection { epilogue: Epilogue::Store { .. }, .. }))
    }

    /// Whether the op's matrix has the rows of a gate, followed by the rows that it gates.
    pub const fn is_gated(&self) -> bool {
        matches!(
            self,
            Op::Project(Projection { epilogue: Epilogue::Activation { gated: true, .. }, .. })
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
                | Op::NormHeadsInput { .. }
                | Op::NormHeadsWeight { .. }
                | Op::Add { .. }
                | Op::Multiply { .. }
                | Op::AttentionBackward { .. }
        )
    }

    /// Whether recomputation skips the op: its only output is the stream that the next layer reads,
    /// which is stored. The norm of a branch also writes the statistics that its gradient needs, so
    /// it is not skipped.
    pub fn is_skipped_by_recompute(&self) -> bool {
        matches!(
            self,
            Op::Project(Projection { epilogue: Epilogue::Residual { out, .. }, .. })
                if *out == BufferId::X.next()
        )
    }

    /// The dropout site of the op, if training may drop elements there.
    pub const fn site(&self) -> Option<Site> {
        match self {
            Op::Embed { .. } => Some(Site::Embedding),
            Op::Attention { .. } | Op::AttentionBackward { .. } => Some(Site::Attention),
            Op::Project(Projection { epilogue: Epilogue::Residual { site, .. }, .. })
            | Op::Norm { sum: Some(BranchSum { site, .. }), .. }
            | Op::DropoutBackward { site, .. } => Some(*site),
            _ => None,
        }
    }
}
