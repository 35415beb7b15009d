//! The resolved spec of a model: every key is a number or a choice.
//!
//! Values are already checked: no size is zero, and sizes divide as they must. The checks and their
//! messages are in `gpt-codegen`, which has the user's tokens.

use serde::Serialize;

use crate::{Activation, List};

/// A resolved model spec. Sizes are in elements.
///
/// The default is no model: the compiler sets every field from a table of keys
/// (`gpt_codegen::keys`).
#[derive(Clone, Debug, Default, Serialize, PartialEq)]
pub struct Spec {
    /// Number of tokens in the vocabulary.
    pub vocab: u32,
    /// Longest sequence, in tokens.
    pub context: u32,
    /// Number of transformer blocks.
    pub layers: u32,
    /// Query heads in each attention.
    pub heads: u32,
    /// Key/value heads; `heads` must be a multiple (grouped-query attention).
    pub kv_heads: u32,
    /// Width of the residual stream.
    pub embed: u32,
    /// Width of one attention head.
    pub head_dim: u32,
    /// The normalisation used everywhere in the model.
    pub norm: Norm,
    /// The order of normalisation and residual in a block.
    pub block: Block,
    /// The feed-forward half of a block.
    pub mlp: Mlp,
    /// How the model encodes positions.
    pub positions: Positions,
    /// Which positions a query attends to, by layer.
    pub mask: Pattern<Mask>,
    /// Whether linear layers and LayerNorm have a bias.
    pub bias: bool,
    /// Whether the projection to queries, keys and values has a bias. `None` means the same as
    /// `bias`.
    pub qkv_bias: Option<bool>,
    /// Whether the output head shares the token embedding's weights.
    pub tie_embeddings: bool,
    /// `c` of `c tanh(logit / c)`, which bounds the logits; none leaves them as they are.
    pub logit_softcap: Option<f64>,
    /// Dropout probability in training; inference ignores it.
    pub dropout: f64,
}

/// Normalisation over the residual stream's width.
#[derive(Clone, Copy, Debug, Serialize, PartialEq)]
pub struct Norm {
    /// LayerNorm or RMSNorm.
    pub kind: NormKind,
    /// Added to the variance, or to the mean of squares.
    pub eps: f64,
    /// Whether the norm has parameters: a scale, and a shift if it is a LayerNorm of a model with
    /// biases.
    pub affine: bool,
    /// Whether safetensors files store `gamma - 1`. The model holds `gamma`.
    pub unit_offset: bool,
}

impl Default for Norm {
    /// A LayerNorm with parameters, whose epsilon is not set.
    fn default() -> Norm {
        Norm { kind: NormKind::Layer, eps: 0.0, affine: true, unit_offset: false }
    }
}

/// The statistics of a norm.
#[derive(Clone, Copy, Debug, Default, Serialize, PartialEq, Eq)]
pub enum NormKind {
    /// LayerNorm: `(x - mean) / sqrt(var + eps) * gamma + beta`, Ba et al. 2016.
    #[default]
    Layer,
    /// RMSNorm: `x / sqrt(mean(x^2) + eps) * gamma`, Zhang and Sennrich 2019.
    Rms,
}

/// Order of normalisation and residual inside a block.
#[derive(Clone, Copy, Debug, Default, Serialize, PartialEq, Eq)]
pub enum Block {
    /// `x += attn(norm(x)); x += mlp(norm(x))`, and a final norm before the head: GPT-2 and after.
    #[default]
    PreNorm,
    /// `x = norm(x + attn(x)); x = norm(x + mlp(x))`, without a final norm: the first GPT and the
    /// 2017 transformer.
    PostNorm,
}

/// The feed-forward half of a block.
#[derive(Clone, Debug, Default, Serialize, PartialEq)]
pub struct Mlp {
    /// Whether the activation gates a second projection: `act(gate(x)) * up(x)`.
    pub gated: bool,
    /// Width between the two projections.
    pub hidden: u32,
    /// The nonlinearity.
    pub activation: Activation,
}

/// A value for each layer: the values of a list, which repeats.
#[derive(Clone, Debug, Serialize, PartialEq)]
pub struct Pattern<T: Clone + 'static>(
    /// Never empty.
    pub List<T>,
);

impl<T: Copy> Pattern<T> {
    /// `value` in every layer.
    pub fn all(value: T) -> Self {
        Pattern(vec![value].into())
    }

    /// The value of `layer`.
    pub fn of(&self, layer: u32) -> T {
        self.0[layer as usize % self.0.len()]
    }
}

impl<T: Copy + Default> Default for Pattern<T> {
    fn default() -> Self {
        Pattern::all(T::default())
    }
}

/// Position information.
#[derive(Clone, Debug, Default, Serialize, PartialEq)]
pub enum Positions {
    /// A learned table `[context, embed]`, added to the token embedding.
    #[default]
    Learned,
    /// The fixed table of Vaswani et al. 2017, added to the token embedding: column `2i` is
    /// `sin(pos / 10000^(2i / embed))`, column `2i + 1` the cosine of the same angle.
    Sinusoidal,
    /// Rotary embedding of queries and keys, Su et al. 2021; pair `(2i, 2i + 1)` of a head rotates
    /// by `pos * theta^(-2i / head_dim)`. A layer without a base rotates nothing.
    Rope {
        /// The base of the angles of each layer, such as 10,000.
        theta: Pattern<Option<f64>>,
    },
}

/// Which positions a query attends to.
#[derive(Clone, Copy, Debug, Default, Serialize, PartialEq, Eq)]
pub enum Mask {
    /// Its own and all earlier ones.
    #[default]
    Causal,
    /// All, as in BERT. Such a model reads a text whole: it cannot continue from a cache.
    Bidirectional,
}

impl Spec {
    /// Width of all query heads together.
    pub const fn q_width(&self) -> u32 {
        self.heads * self.head_dim
    }

    /// Width of all key (or value) heads together.
    pub const fn kv_width(&self) -> u32 {
        self.kv_heads * self.head_dim
    }

    /// Rows of the fused query, key and value projection.
    pub const fn qkv_width(&self) -> u32 {
        self.q_width() + 2 * self.kv_width()
    }

    /// Rows of the first MLP projection: gate and up stacked where the MLP is gated.
    pub const fn up_width(&self) -> u32 {
        if self.mlp.gated { 2 * self.mlp.hidden } else { self.mlp.hidden }
    }

    /// Whether norms have a `beta`.
    pub const fn norm_bias(&self) -> bool {
        self.bias && self.norm.affine && matches!(self.norm.kind, NormKind::Layer)
    }

    /// Whether queries and keys are rotated.
    pub const fn rotary(&self) -> bool {
        matches!(self.positions, Positions::Rope { .. })
    }

    /// The different bases of rotary angles, each with a table of its own.
    pub fn rotary_bases(&self) -> Vec<f64> {
        let mut bases = Vec::new();
        if let Positions::Rope { theta } = &self.positions {
            for base in theta.0.iter().flatten() {
                if !bases.contains(base) {
                    bases.push(*base);
                }
            }
        }
        bases
    }

    /// The table of rotary angles of `layer`, an index into [`rotary_bases`](Self::rotary_bases).
    pub fn rotary_table(&self, layer: u32) -> Option<u16> {
        let Positions::Rope { theta } = &self.positions else {
            return None;
        };
        let base = theta.of(layer)?;
        let table = self.rotary_bases().iter().position(|b| *b == base)?;
        Some(table as u16)
    }

    /// The base of the rotary angles of all layers, if they have the same.
    pub fn rotary_base(&self) -> Option<f64> {
        match &self.positions {
            Positions::Rope { theta } if theta.0.iter().all(|t| *t == theta.0[0]) => theta.0[0],
            _ => None,
        }
    }

    /// Whether no token attends to later ones in any layer, so that a cache can be continued.
    pub fn is_causal(&self) -> bool {
        self.mask.0.iter().all(|mask| *mask == Mask::Causal)
    }

    /// Bytes of key/value cache that one position takes, in f32.
    pub const fn kv_bytes_per_token(&self) -> u64 {
        2 * 4 * self.kv_width() as u64 * self.layers as u64
    }
}
