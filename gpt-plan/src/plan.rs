//! The plan itself, and what can be read off it.

use crate::{
    ChoiceOp, Format, Kernel, List, Mask, Phase, Place, Section, Spec, Str, Tensor, TensorId,
    TensorKind, Training,
};

/// Bytes that every WebGPU adapter can bind at once; a larger tensor is split into parts.
pub const MAX_BINDING: u64 = 128 << 20;

/// Everything an engine needs to know about a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The model's name, as declared.
    pub name: Str,
    /// What it is.
    pub spec: Spec,
    /// Its parameters.
    pub tensors: List<Tensor>,
    /// Its activations.
    pub buffers: List<Buffer>,
    /// Its shaders.
    pub kernels: List<Kernel>,
    /// A forward pass.
    pub sections: List<Section>,
    /// Its attention where a decoded token sees many keys; none if no token sees more than [`SPLIT_FROM`].
    pub split: Option<Split>,
    /// Kernels that choose the next token, in the order of [`ChoiceOp::ALL`].
    pub choice: [u16; ChoiceOp::ALL.len()],
    /// A training pass.
    pub training: Training,
}

/// A decoded token that sees more keys than this has them attended to in parts. One workgroup to a head, as up to here, leaves most of a GPU idle; but
/// parts cost a dispatch more a layer, to put them together.
pub const SPLIT_FROM: u32 = 1024;

/// Keys of such a part.
pub const ATTENTION_PART: u32 = 512;

/// Attention of one token in parts, as indices into [`Plan::kernels`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Split {
    /// Online softmax over each part's keys.
    pub part: u16,
    /// What the parts have gathered, put together.
    pub join: u16,
}

/// An activation buffer; the order is that of [`Plan::buffers`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BufferId {
    /// The residual stream `[rows, embed]`.
    X,
    /// Queries `[rows, heads * head_dim]`.
    Q,
    /// The attention's output `[rows, heads * head_dim]`.
    A,
    /// Between the two MLP projections `[rows, hidden]`.
    H,
    /// Scores of the next token `[rows or 1, vocab]`.
    Logits,
    /// Keys of a layer `[capacity, kv_heads * head_dim]`.
    K,
    /// Values of a layer, as [`BufferId::K`].
    V,
    /// What parts of the keys gathered: `[parts, heads, head_dim + 2]`, each the sums, their maximum score, and the sum of the weights.
    Parts,
    /// The greatest logit of each tile of the vocabulary, and its token.
    Tops,
    /// Tokens at each distance below the greatest logit, then their weights, then how many are listed.
    Histogram,
    /// Tokens that may be drawn: how far each is below the greatest, and which it is.
    Listed,
    /// The token that was chosen after each position.
    Drawn,
}

/// An activation buffer, row-major, of f32; those of the choice of a token (from [`BufferId::Tops`] on) hold u32.
#[derive(Clone, Debug, PartialEq)]
pub struct Buffer {
    pub id: BufferId,
    /// Name for people.
    pub name: &'static str,
    /// Elements in a row.
    pub width: u32,
    /// How many rows a session gives it.
    pub rows: Rows,
}

/// What the rows of a buffer stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// Tokens that go through the model together.
    Chunk,
    /// Chunk tokens if a session wants all logits, else one.
    Wanted,
    /// Positions that the cache holds, in each layer.
    Capacity,
    /// Parts that attention over a full cache has.
    Parts,
    /// One.
    One,
}

impl Plan {
    /// The tensor `id`.
    pub fn tensor(&self, id: TensorId) -> &Tensor {
        &self.tensors[usize::from(id.0)]
    }

    /// The id of the tensor called `name`.
    pub fn find(&self, name: &str) -> Option<TensorId> {
        self.tensors
            .iter()
            .position(|t| t.name == name)
            .map(|i| TensorId(i as u16))
    }

    /// Number of trainable parameters.
    pub fn params(&self) -> u64 {
        self.tensors
            .iter()
            .filter(|t| !t.sources.is_empty())
            .map(|t| t.len() * self.count(t))
            .sum()
    }

    /// How many tensors like `tensor` the model has.
    pub fn count(&self, tensor: &Tensor) -> u64 {
        match tensor.place {
            Place::Model => 1,
            Place::Layers { first } => u64::from(self.spec.layers - first),
        }
    }

    /// Floating-point operations of one token's forward pass at an empty cache: two for each element of each
    /// matrix that is multiplied (the head included, a mere look-up excluded). Attention adds
    /// `4 * heads * head_dim * layers` for each position in the cache.
    pub fn flops_per_token(&self) -> u64 {
        self.multiplied()
            .map(|(_, t)| 2 * t.len() * self.count(t))
            .sum()
    }

    /// Floating-point operations of a pass over `rows` tokens on a cache of `position` tokens, with the logits of `logits` of them: as
    /// [`flops_per_token`](Self::flops_per_token), and attention over what each token sees.
    pub fn flops(&self, position: u64, rows: u64, logits: u64) -> u64 {
        let spec = &self.spec;
        let head = 2 * u64::from(spec.vocab) * u64::from(spec.embed);
        let seen = match spec.mask {
            Mask::Causal => rows * position + rows * (rows + 1) / 2,
            Mask::Bidirectional => rows * rows,
        };
        let attention = 4 * u64::from(spec.q_width()) * u64::from(spec.layers) * seen;
        rows * (self.flops_per_token() - head) + logits * head + attention
    }

    /// Bytes of weights that one token reads, where the matrix of a tensor and a layer is stored in the format that `format` says.
    pub fn weight_bytes_per_token(&self, format: impl Fn(TensorId, u32) -> Format) -> u64 {
        self.multiplied()
            .flat_map(|(id, t)| t.layers(self.spec.layers).map(move |layer| (id, layer, t)))
            .map(|(id, layer, t)| {
                format(id, layer).row_bytes(t.columns as usize) as u64 * u64::from(t.rows)
            })
            .sum()
    }

    /// The format in which most weights are that a token is multiplied with, if tensors are in `format`.
    pub fn main_format(&self, format: impl Fn(TensorId, u32) -> Format) -> Format {
        let mut weights = [0; Format::ALL.len()];
        for (id, t) in self.multiplied() {
            for layer in t.layers(self.spec.layers) {
                let of = Format::ALL.iter().position(|f| *f == format(id, layer));
                weights[of.unwrap_or_default()] += u64::from(t.rows) * u64::from(t.columns);
            }
        }
        let greatest = (0..weights.len()).max_by_key(|&i| weights[i]);
        Format::ALL[greatest.unwrap_or_default()]
    }

    fn multiplied(&self) -> impl Iterator<Item = (TensorId, &Tensor)> {
        let lookup = (!self.spec.tie_embeddings)
            .then(|| self.find("token_embedding"))
            .flatten();
        self.tensors.iter().enumerate().filter_map(move |(i, t)| {
            let id = TensorId(i as u16);
            (t.kind == TensorKind::Matrix && Some(id) != lookup).then_some((id, t))
        })
    }

    /// Dispatches of a forward pass. Both phases run the same steps.
    pub fn dispatches(&self, _phase: Phase) -> u32 {
        self.sections
            .iter()
            .map(|s| s.layers.map_or(1, |(from, to)| to - from) * s.steps.len() as u32)
            .sum()
    }

    /// The steps in the order they run, each with its layer.
    pub fn walk(&self) -> impl Iterator<Item = (u32, &crate::Step)> {
        self.sections.iter().flat_map(|section| {
            let (from, to) = section.layers.unwrap_or((0, 1));
            (from..to).flat_map(move |layer| section.steps.iter().map(move |step| (layer, step)))
        })
    }
}
