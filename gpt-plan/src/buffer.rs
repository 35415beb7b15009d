//! Buffers: the activations of a pass, with the width of their rows and the number of rows and
//! copies.
//!
//! Inference and training have one set of ids. A plan lists the buffers that its passes use
//! ([`Plan::buffers`](crate::Plan::buffers), [`Training::buffers`](crate::Training::buffers)); the
//! sizes follow from the list, so a run's memory is known before it starts.

use serde::Serialize;

use crate::TrainShape;

/// An activation buffer. Elements are f32 unless stated.
#[derive(Clone, Copy, Debug, Serialize, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BufferId {
    /// The residual stream `[rows, embed]`. Training keeps it for each layer's input and for the
    /// last layer's output.
    X,
    /// Queries `[rows, q_width]` (inference).
    Q,
    /// Keys of a layer `[capacity, kv_width]` (inference).
    K,
    /// Values of a layer, as [`BufferId::K`].
    V,
    /// The attention's output `[rows, q_width]`.
    A,
    /// The hidden activations between the two MLP projections `[rows, hidden]`.
    H,
    /// The embedding before its norm `[rows, embed]`.
    Embedded,
    /// Queries, keys and values before their norm `[rows, q_width + 2 kv_width]`.
    QkvRaw,
    /// The output of the attention's projection before its norm `[rows, embed]`.
    AttnBranch,
    /// The output of the MLP's projection before its norm `[rows, embed]`.
    MlpBranch,
    /// The activation of the dense layer of the head `[rows, embed]`.
    HeadHidden,
    /// Scores of the next token `[rows, vocab]`. Training replaces them by their gradient in place.
    Logits,
    /// Attention over splits of the keys: for each split and head the weighted sum of values, the
    /// greatest score, and the sum of weights `[splits, heads * (head_dim + 2)]`.
    SplitSums,
    /// The greatest logit of each tile of the vocabulary, and its token (u32).
    TileMaxima,
    /// The numbers of tokens by distance below the greatest logit, then the weights of these
    /// tokens, then the number of candidates (u32).
    Histogram,
    /// Candidates of top-k, top-p and min-p: distance below the greatest logit, and token (u32).
    Candidates,
    /// The token sampled after each position (u32).
    Sampled,

    /// The stream between a layer's attention and its MLP `[rows, embed]` (training, like all
    /// below).
    Middle,
    /// Mean and 1 / deviation of the rows of `X` `[rows, 2]` (RMSNorm: 0 and 1 / root mean square).
    StatsX,
    /// The statistics of `Middle`, as [`BufferId::StatsX`].
    StatsMiddle,
    /// The statistics of `Embedded`, as [`BufferId::StatsX`].
    StatsEmbedded,
    /// The statistics of `AttnBranch`, as [`BufferId::StatsX`].
    StatsAttnBranch,
    /// The statistics of `MlpBranch`, as [`BufferId::StatsX`].
    StatsMlpBranch,
    /// The statistics of `HeadHidden`, as [`BufferId::StatsX`].
    StatsHead,
    /// The statistics of each group of `QkvRaw` that is normalised `[rows, 2 * groups]`.
    StatsQkv,
    /// Queries, keys and values, rotated `[rows, q_width + 2 kv_width]`.
    Qkv,
    /// The logarithm of each query's sum of exponentials of scaled scores `[rows, heads]`.
    Lse,
    /// Derivatives of `H` with respect to the MLP's first projection `[rows, up_width]`: `act'(u)`,
    /// or `act'(g) v` and `act(g)` if the MLP is gated. Each of these two is padded to a multiple
    /// of 16 columns.
    Slopes,
    /// Derivatives of `HeadHidden` with respect to the dense layer of the head `[rows, embed]`.
    HeadSlopes,
    /// The output of a norm `[rows, embed]`. Recomputed in the backward pass.
    Normed,
    /// The gradient of the stream `[rows, embed]`.
    DX,
    /// The gradient of `Normed`.
    DNormed,
    /// The gradient of `Embedded`, `AttnBranch` or `MlpBranch`, or a second share of the gradient
    /// of `Normed`.
    DBranch,
    /// The gradient of the MLP's first projection `[rows, up_width]`, padded like `Slopes`.
    DUp,
    /// The gradient of `A`.
    DA,
    /// `Σ a · da` of each query and head `[rows, heads]`.
    Delta,
    /// The gradient of `Qkv`.
    DQkv,
    /// The gradient of `QkvRaw`.
    DQkvRaw,
    /// The loss of each row `[rows, 1]`.
    Losses,
    /// Tokens `[rows, 1]` (u32).
    Tokens,
    /// The token that follows each of `Tokens` `[rows, 1]` (u32).
    Targets,
}

impl BufferId {
    /// The number of ids; `id as usize` is below it.
    pub const COUNT: usize = BufferId::Targets as usize + 1;

    /// The copy of the layer that the op runs for, or the only copy.
    pub const fn here(self) -> Slot {
        Slot { buffer: self, copy: LayerCopy::Here }
    }

    /// The copy of the next layer.
    pub const fn next(self) -> Slot {
        Slot { buffer: self, copy: LayerCopy::Next }
    }

    /// The copy after the last layer.
    pub const fn end(self) -> Slot {
        Slot { buffer: self, copy: LayerCopy::End }
    }

    /// Name for people: `x`, `k_cache`, `d_up`.
    pub const fn name(self) -> &'static str {
        match self {
            BufferId::X => "x",
            BufferId::Q => "q",
            BufferId::K => "k_cache",
            BufferId::V => "v_cache",
            BufferId::A => "a",
            BufferId::H => "h",
            BufferId::Embedded => "embedded",
            BufferId::QkvRaw => "qkv_raw",
            BufferId::AttnBranch => "attn_branch",
            BufferId::MlpBranch => "mlp_branch",
            BufferId::HeadHidden => "head_hidden",
            BufferId::Logits => "logits",
            BufferId::SplitSums => "split_sums",
            BufferId::TileMaxima => "tile_maxima",
            BufferId::Histogram => "histogram",
            BufferId::Candidates => "candidates",
            BufferId::Sampled => "sampled",
            BufferId::Middle => "middle",
            BufferId::StatsX => "stats_x",
            BufferId::StatsMiddle => "stats_middle",
            BufferId::StatsEmbedded => "stats_embedded",
            BufferId::StatsAttnBranch => "stats_attn_branch",
            BufferId::StatsMlpBranch => "stats_mlp_branch",
            BufferId::StatsHead => "stats_head",
            BufferId::StatsQkv => "stats_qkv",
            BufferId::Qkv => "qkv",
            BufferId::Lse => "lse",
            BufferId::Slopes => "slopes",
            BufferId::HeadSlopes => "head_slopes",
            BufferId::Normed => "normed",
            BufferId::DX => "dx",
            BufferId::DNormed => "d_normed",
            BufferId::DBranch => "d_branch",
            BufferId::DUp => "d_up",
            BufferId::DA => "da",
            BufferId::Delta => "delta",
            BufferId::DQkv => "d_qkv",
            BufferId::DQkvRaw => "d_qkv_raw",
            BufferId::Losses => "losses",
            BufferId::Tokens => "tokens",
            BufferId::Targets => "targets",
        }
    }
}

/// A buffer as an op uses it.
#[derive(Clone, Copy, Debug, Serialize, PartialEq, Eq, Hash)]
pub struct Slot {
    /// The buffer.
    pub buffer: BufferId,
    /// Which copy of the buffer.
    pub copy: LayerCopy,
}

/// Selects a copy of a buffer. All layers share the copy of a buffer that has only one.
#[derive(Clone, Copy, Debug, Serialize, PartialEq, Eq, Hash)]
pub enum LayerCopy {
    /// The copy of the layer that the op runs for; the first if it belongs to no layer.
    Here,
    /// The copy of the next layer.
    Next,
    /// The copy after the last layer.
    End,
}

impl Slot {
    /// The index of the copy for an op of `layer`, in a model of `layers` layers.
    pub const fn index(self, layer: u32, layers: u32) -> u32 {
        match self.copy {
            LayerCopy::Here => layer,
            LayerCopy::Next => layer + 1,
            LayerCopy::End => layers,
        }
    }
}

/// A buffer in row-major order. Its rows start `stride` elements apart.
#[derive(Clone, Debug, Serialize, PartialEq)]
pub struct Buffer {
    /// The contents of the buffer.
    pub id: BufferId,
    /// Elements of a row.
    pub width: u32,
    /// Elements from one row to the next; those after `width` stay zero.
    pub stride: u32,
    /// The number of rows.
    pub rows: RowCount,
    /// The number of copies.
    pub copies: Copies,
}

/// The number of rows of a buffer.
#[derive(Clone, Copy, Debug, Serialize, PartialEq, Eq)]
pub enum RowCount {
    /// The tokens of one forward pass.
    Chunk,
    /// [`RowCount::Chunk`] if a session keeps all logits, otherwise one.
    Requested,
    /// Positions that the cache holds.
    Capacity,
    /// Splits of the keys of a full cache.
    Splits,
    /// One row.
    One,
    /// Every token of every sequence of a training batch.
    Batch,
    /// The rows of a training batch whose logits are computed at a time: as many as have logits of
    /// at most [`LOGITS_BYTES`].
    LogitRange,
}

/// The number of copies of a buffer.
#[derive(Clone, Copy, Debug, Serialize, PartialEq, Eq)]
pub enum Copies {
    /// One, which all layers share.
    One,
    /// One for each layer.
    PerLayer,
    /// One for each layer and one after the last, even where layers are recomputed.
    PerLayerAndEnd,
}

/// The limit, in bytes, on the logits of a training batch that exist at once.
pub const LOGITS_BYTES: u64 = 64 << 20;

/// The stride of a training buffer with rows of `width`: whole panels of 32, and half a panel more.
/// Without the extra half, rows whose width is a power of two would map to the same few cache sets.
/// Rows begin at multiples of 64 bytes.
pub const fn train_stride(width: u32) -> u32 {
    width.next_multiple_of(32) + 16
}

/// Elements after the last row of a strided buffer. A kernel that reads a whole panel of a narrow
/// head at the end of the last row reads past the row.
const SLACK: u64 = 64;

impl Buffer {
    /// Rows of one copy in training with `shape`; 0 for a buffer of inference.
    pub const fn train_rows(&self, shape: &TrainShape) -> u64 {
        let all = shape.rows();
        match self.rows {
            RowCount::Batch => all,
            RowCount::LogitRange => {
                // Ranges have equal sizes, a multiple of eight rows; the last one may be smaller.
                let most = LOGITS_BYTES / (4 * self.stride as u64);
                let most = if most < 8 { 8 } else { most };
                // A batch without rows has a range without rows.
                let ranges = if all == 0 { 1 } else { all.div_ceil(most) };
                let rows = all.div_ceil(ranges).next_multiple_of(8);
                if rows < all { rows } else { all }
            }
            _ => 0,
        }
    }

    /// Elements of one copy in training with `shape`.
    pub const fn train_len(&self, shape: &TrainShape) -> u64 {
        let slack = if self.stride > self.width { SLACK } else { 0 };
        self.train_rows(shape).saturating_mul(self.stride as u64).saturating_add(slack)
    }

    /// The number of copies in training with `shape`, in a model of `layers` layers.
    pub const fn train_copies(&self, layers: u32, shape: &TrainShape) -> u32 {
        match self.copies {
            Copies::One => 1,
            Copies::PerLayerAndEnd => layers + 1,
            Copies::PerLayer => {
                if shape.recompute.is_block() {
                    1
                } else {
                    layers
                }
            }
        }
    }

    /// Whether the forward pass keeps the buffer for the backward pass.
    pub const fn is_activation(&self) -> bool {
        !matches!(self.copies, Copies::One)
    }
}
