//! The table of tensors: names and shapes of a model's parameters, and where files keep them.
//!
//! A kernel reads a tensor as one. In a file it may be several tensors, which are stacked: the
//! fused `qkv` matrix is one tensor of GPT-2's checkpoint and three of a Llama's. A matrix is
//! `[rows, columns]`, a row for each output feature, so a row is contiguous for a dot product. The
//! [`FileTensor`] of a file that stores the transpose has [`Layout::Transposed`].

use serde::Serialize;

use crate::{List, Str};

/// Index into [`Plan::tensors`](crate::Plan::tensors).
#[derive(Clone, Copy, Debug, Serialize, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TensorId(pub u16);

/// One parameter tensor, or one for each layer.
#[derive(Clone, Debug, Serialize, PartialEq)]
pub struct Tensor {
    /// Its place in the architecture.
    pub role: Role,
    /// Which of the parameters of that place it is.
    pub component: Component,
    /// Our name, the same for every layer: `attn.qkv.weight`, `mlp_norm.gamma`. For people and for
    /// files; code looks a tensor up by its role.
    pub name: Str,
    /// Whether the model has one such tensor, or each layer does.
    pub place: Place,
    /// Matrix in a storage format, or table or vector in f32.
    pub kind: TensorKind,
    /// Output features of a matrix, rows of a table, or length of a vector.
    pub rows: u32,
    /// Input features of a matrix, columns of a table, or 1 for a vector.
    pub columns: u32,
    /// Values in a model that is not loaded from a file.
    pub init: Init,
    /// The tensors of a file that stack to this one, in order of rows. Empty for a computed tensor.
    pub sources: List<FileTensor>,
}

/// The place of a tensor in the architecture.
#[derive(Clone, Copy, Debug, Serialize, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// A vector for each token. If embeddings are tied, it is also the head's matrix.
    TokenEmbedding,
    /// A vector for each position, learned or computed.
    Positions,
    /// A vector for each type of token.
    TokenTypes,
    /// The norm of the embedding, with which the stream begins.
    EmbeddingNorm,
    /// The norm through which the attention reads the stream.
    AttentionNorm,
    /// The projection to queries, keys and values.
    Qkv,
    /// The norm of queries and keys: its parameters for queries, then those for keys.
    QkNorm,
    /// The projection from the attention to the stream.
    AttentionOut,
    /// The norm of the attention's output, before it is added to the stream.
    AttentionBranchNorm,
    /// The norm through which the MLP reads the stream.
    MlpNorm,
    /// The MLP's first projection. If the MLP is gated, its rows are the gate's, then the rows that
    /// they gate.
    MlpUp,
    /// The MLP's second projection.
    MlpDown,
    /// The norm of the MLP's output, before it is added to the stream.
    MlpBranchNorm,
    /// The norm through which the head reads the stream.
    FinalNorm,
    /// The dense layer of the head, whose activation is normalised before the projection to logits.
    HeadDense,
    /// The norm after the dense layer of the head.
    HeadNorm,
    /// The projection to logits, if it is not the token embedding.
    Head,
}

impl Role {
    /// All roles.
    pub const ALL: [Role; 17] = [
        Role::TokenEmbedding,
        Role::Positions,
        Role::TokenTypes,
        Role::EmbeddingNorm,
        Role::AttentionNorm,
        Role::Qkv,
        Role::QkNorm,
        Role::AttentionOut,
        Role::AttentionBranchNorm,
        Role::MlpNorm,
        Role::MlpUp,
        Role::MlpDown,
        Role::MlpBranchNorm,
        Role::FinalNorm,
        Role::HeadDense,
        Role::HeadNorm,
        Role::Head,
    ];

    /// Whether the layers have tensors of this role, and not the model.
    pub const fn is_of_layers(self) -> bool {
        match self {
            Role::AttentionNorm
            | Role::Qkv
            | Role::QkNorm
            | Role::AttentionOut
            | Role::AttentionBranchNorm
            | Role::MlpNorm
            | Role::MlpUp
            | Role::MlpDown
            | Role::MlpBranchNorm => true,
            Role::TokenEmbedding
            | Role::Positions
            | Role::TokenTypes
            | Role::EmbeddingNorm
            | Role::FinalNorm
            | Role::HeadDense
            | Role::HeadNorm
            | Role::Head => false,
        }
    }
}

/// Which parameter of its [`Role`] a tensor is.
#[derive(Clone, Copy, Debug, Serialize, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Component {
    /// The matrix of a projection, the rows of a table, the scale (gamma) of a norm.
    Weight,
    /// The bias of a projection, the shift (beta) of a norm.
    Bias,
}

/// Where a tensor occurs.
#[derive(Clone, Copy, Debug, Serialize, PartialEq, Eq)]
pub enum Place {
    /// Once in the model.
    Model,
    /// Once in each layer, starting at `first`. In a post-norm model, [`Role::AttentionNorm`]
    /// starts at layer 1.
    Layers {
        /// The first layer that has the tensor.
        first: u32,
    },
}

/// How kernels store and read a tensor.
#[derive(Clone, Copy, Debug, Serialize, PartialEq, Eq)]
pub enum TensorKind {
    /// `[rows, columns]`, stored in any [`Format`](crate::Format).
    Matrix,
    /// `[rows, columns]`, always f32, looked up by row: the tables of positions and token types.
    Table,
    /// `[rows]`, always f32.
    Vector,
}

/// Initial values, before training.
#[derive(Clone, Copy, Debug, Serialize, PartialEq)]
pub enum Init {
    /// Normal with mean 0 and this standard deviation.
    Normal(f64),
    /// All 1.
    Ones,
    /// All 0.
    Zeros,
    /// The table of [`Positions::Sinusoidal`](crate::Positions::Sinusoidal); never in a file.
    Sinusoidal,
}

/// One tensor of a file, with its names in the formats we read.
#[derive(Clone, Debug, Serialize, PartialEq)]
pub struct FileTensor {
    /// Rows that it contributes.
    pub rows: u32,
    /// Name in a Hugging Face safetensors file, with `{layer}` for the layer's number.
    pub hf: Str,
    /// Name in a GGUF file, with `{layer}` for the layer's number.
    pub gguf: Str,
    /// Added to the layer's number before it is put into a name. A post-norm block reads its input
    /// through the last norm of the previous layer, so the shift of its `attn_norm` is -1.
    pub layer_shift: i32,
    /// Its order in a safetensors file.
    pub hf_layout: Layout,
    /// Its order in a GGUF that does not keep rotary pairs side by side.
    pub gguf_layout: Layout,
    /// Added to the values of the safetensors file: 1 where it stores a scale as `scale - 1`.
    pub hf_offset: f32,
}

/// Order of a tensor in a file.
#[derive(Clone, Copy, Debug, Serialize, PartialEq, Eq)]
pub enum Layout {
    /// `[out, in]`, PyTorch's `nn.Linear`.
    RowMajor,
    /// `[in, out]`, the `Conv1D` of GPT-2.
    Transposed,
    /// `[out, in]` with the rotary pairs of a head in the two halves of its first `dims` elements,
    /// `(i, i + dims / 2)`. Plans, and GGUF files of some architectures, keep pairs side by side,
    /// `(2i, 2i + 1)`, so the rows of each head are reordered.
    RotaryHalves {
        /// Elements of a head.
        head_dim: u32,
        /// Elements that rotate.
        dims: u32,
    },
    /// Queries, keys and values in one tensor. Plans have all queries, then all keys, then all
    /// values.
    FusedHeads {
        /// Query heads.
        heads: u32,
        /// Heads of keys, and of values.
        kv_heads: u32,
        /// Elements of a head.
        head_dim: u32,
        /// Elements of a head of queries or keys in the order of
        /// [`RotaryHalves`](Layout::RotaryHalves); 0 for none.
        dims: u32,
        /// Whether a head of keys and one of values follow the query heads that share them. If not,
        /// heads are in the order of the plan.
        by_group: bool,
    },
    /// A table that begins with this many rows that no position uses.
    Skip(u32),
}

impl Layout {
    /// The rows that the tensor has in the file beyond the plan's rows.
    pub const fn unused_rows(self) -> u32 {
        match self {
            Layout::Skip(rows) => rows,
            _ => 0,
        }
    }

    /// The row of the file that holds row `row` of the plan's tensor.
    pub const fn file_row(self, row: usize) -> usize {
        match self {
            Layout::RowMajor | Layout::Transposed => row,
            Layout::Skip(rows) => row + rows as usize,
            Layout::RotaryHalves { head_dim, dims } => {
                let (head_dim, dims) = (head_dim as usize, dims as usize);
                row / head_dim * head_dim + in_halves(row % head_dim, dims)
            }
            Layout::FusedHeads { heads, kv_heads, head_dim, dims, by_group } => {
                let (heads, kv_heads) = (heads as usize, kv_heads as usize);
                let (head_dim, dims) = (head_dim as usize, dims as usize);
                let (head, within) = (row / head_dim, row % head_dim);
                let is_value = head >= heads + kv_heads;
                let within = if is_value { within } else { in_halves(within, dims) };
                let group = heads / kv_heads;
                let head = if !by_group {
                    head
                } else if is_value {
                    (head - heads - kv_heads) * (group + 2) + group + 1
                } else if head >= heads {
                    (head - heads) * (group + 2) + group
                } else {
                    head / group * (group + 2) + head % group
                };
                head * head_dim + within
            }
        }
    }
}

/// The place in a file of element `within` of a head whose first `dims` elements are rotary pairs.
const fn in_halves(within: usize, dims: usize) -> usize {
    if within < dims { within / 2 + within % 2 * (dims / 2) } else { within }
}

impl FileTensor {
    /// The name of the tensor of `layer`. `pattern` is its [`hf`](FileTensor::hf) or
    /// [`gguf`](FileTensor::gguf) name.
    pub fn name_in(&self, pattern: &str, layer: u32) -> String {
        pattern.replace("{layer}", &(i64::from(layer) + i64::from(self.layer_shift)).to_string())
    }
}

impl Tensor {
    /// Number of elements of one such tensor.
    pub const fn len(&self) -> u64 {
        self.rows as u64 * self.columns as u64
    }

    /// Whether it has no elements; no checked spec has such a tensor.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The layers that have the tensor; a tensor of the model counts as one of layer 0.
    pub fn layers(&self, model_layers: u32) -> std::ops::Range<u32> {
        match self.place {
            Place::Model => 0..1,
            Place::Layers { first } => first..model_layers,
        }
    }
}

/// The alignment of a binding's start, in f32: WebGPU's default `minStorageBufferOffsetAlignment`
/// of 256 bytes.
pub const VECTOR_ALIGN: u32 = 64;

/// The offset of vector `id` in its block, in f32: a multiple of four. All vectors of the model
/// form one block and all vectors of a layer another, each in the order of the table, so one
/// binding serves every vector that a step reads.
pub fn vector_offset(tensors: &[Tensor], id: TensorId) -> u32 {
    let at = usize::from(id.0);
    vectors(&tensors[..at], is_layered(&tensors[at]))
}

/// Length of the block of vectors of the model, or of each layer, in f32: a multiple of
/// [`VECTOR_ALIGN`], never zero.
pub fn vector_block(tensors: &[Tensor], layered: bool) -> u32 {
    vectors(tensors, layered).max(1).next_multiple_of(VECTOR_ALIGN)
}

fn vectors(tensors: &[Tensor], layered: bool) -> u32 {
    tensors
        .iter()
        .filter(|t| t.kind == TensorKind::Vector && is_layered(t) == layered)
        .map(|t| t.rows.next_multiple_of(4))
        .sum()
}

fn is_layered(tensor: &Tensor) -> bool {
    matches!(tensor.place, Place::Layers { .. })
}
