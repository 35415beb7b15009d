//! The resolved spec of a model: every expression has been evaluated.
//!
//! The spec of a plan has been checked: no size is zero, and `heads`, for example, is a multiple of
//! `kv_heads`. The checks and their messages are in `gpt-codegen`, which knows where each key is in
//! the user's source. A spec that was read from a file is not checked yet.

use serde::Serialize;

use crate::{Activation, List, Norm, QkNorm, Role, Rope, Scores};

/// A resolved model spec. Sizes are in elements.
///
/// The default is not a valid model: the compiler sets every field from a table of keys
/// (`gpt_codegen::keys`).
#[derive(Clone, Debug, Default, Serialize, PartialEq)]
pub struct Spec {
    /// Number of tokens in the vocabulary.
    pub vocab: u32,
    /// Longest sequence, in tokens.
    pub context: u32,
    /// Number of transformer blocks.
    pub layers: u32,
    /// Query heads in each layer.
    pub heads: u32,
    /// Key/value heads; `heads` must be a multiple of it (grouped-query attention).
    pub kv_heads: u32,
    /// Width of the residual stream.
    pub embed: u32,
    /// Width of one attention head.
    pub head_dim: u32,
    /// The norms of the model, except the norm of queries and keys.
    pub norm: Norm,
    /// The order of normalisation and residual in a block.
    pub block: Block,
    /// The feed-forward half of a block.
    pub mlp: Mlp,
    /// How the model encodes positions.
    pub positions: Positions,
    /// Which positions a query attends to, by layer.
    pub mask: Pattern<Mask>,
    /// The sliding window of each layer, if it has one: a query attends only to positions whose
    /// distance is below this number.
    pub window: Pattern<Option<u32>>,
    /// The factor of products of queries and keys; `None` is `1 / sqrt(head_dim)`.
    pub attention_scale: Option<f64>,
    /// `c` of `c tanh(score / c)`, which bounds the scores; `None` leaves them as they are.
    pub attention_softcap: Option<f64>,
    /// The norm of queries and keys, before they are rotated.
    pub qk_norm: Option<QkNorm>,
    /// Whether linear layers and LayerNorm have a bias.
    pub bias: bool,
    /// Whether the projection to queries, keys and values has a bias; `None` uses `bias`.
    pub qkv_bias: Option<bool>,
    /// Whether the output projection of the attention has a bias; `None` uses `bias`.
    pub attn_out_bias: Option<bool>,
    /// Whether the projections of the MLP have a bias; `None` uses `bias`.
    pub mlp_bias: Option<bool>,
    /// Whether a dense layer, the activation of the MLP and a norm precede the head's matrix, as in
    /// BERT's head for masked words.
    pub head_dense: bool,
    /// Whether the head adds a bias to the logits.
    pub head_bias: bool,
    /// Whether the output head shares the token embedding's weights.
    pub tie_embeddings: bool,
    /// Types of tokens, such as BERT's two segments. The vector of type 0 is added to the embedding
    /// of every token; `None` if there are no types.
    pub token_types: Option<u32>,
    /// Whether the stream begins with a norm of the embedding.
    pub embedding_norm: bool,
    /// Whether the attention of the first layer reads the stream without the norm that later layers
    /// have, as in ModernBERT, whose embedding has a norm. Only for pre-norm and sandwich blocks.
    pub first_attn_bare: bool,
    /// Multiplies the token embedding, before positions are added.
    pub embedding_scale: Option<f64>,
    /// Multiplies the output of the attention and of the MLP, before it is added to the stream.
    pub residual_scale: Option<f64>,
    /// Multiplies the logits, before they are capped.
    pub logit_scale: Option<f64>,
    /// `c` of `c tanh(logit / c)`, which bounds the logits; `None` leaves them as they are.
    pub logit_softcap: Option<f64>,
    /// Dropout probability in training; inference ignores it.
    pub dropout: f64,
    /// The names of tensors in safetensors files.
    pub names: TensorNames,
}

/// The class of transformers (Hugging Face's library) after which tensors in safetensors files are
/// named.
#[derive(Clone, Copy, Debug, Default, Serialize, PartialEq, Eq)]
pub enum TensorNames {
    /// GPT-2, GPT-1, StarCoder 2 or Llama, whichever is closest to the spec.
    #[default]
    Closest,
    /// Phi and Phi-2.
    Phi,
    /// Phi-3 and Phi-4: queries, keys and values in one tensor, and gate and up in one.
    Phi3,
    /// GPT-NeoX and Pythia.
    GptNeoX,
    /// GPT-J.
    GptJ,
    /// GPT-Neo.
    GptNeo,
    /// StarCoder and SantaCoder.
    GptBigCode,
    /// Falcon.
    Falcon,
    /// BLOOM.
    Bloom,
    /// MPT.
    Mpt,
    /// OPT.
    Opt,
    /// BERT, with the names that sentence-transformers and most encoders for search use.
    Bert,
    /// RoBERTa.
    Roberta,
    /// DistilBERT.
    DistilBert,
    /// ModernBERT.
    ModernBert,
}

/// Order of normalisation and residual inside a block.
#[derive(Clone, Copy, Debug, Default, Serialize, PartialEq, Eq)]
pub enum Block {
    /// `x += attn(norm(x)); x += mlp(norm(x))`, and a final norm before the head: GPT-2 and most
    /// later models.
    #[default]
    PreNorm,
    /// `x = norm(x + attn(x)); x = norm(x + mlp(x))`, without a final norm: the first GPT and the
    /// 2017 transformer.
    PostNorm,
    /// `x += norm(attn(norm(x))); x += norm(mlp(norm(x)))`, and a final norm: Gemma 2 and 3.
    Sandwich,
    /// `x += norm(attn(x)); x += norm(mlp(x))`, and a final norm: OLMo 2.
    PostBranch,
    /// `x += attn(norm(x)) + mlp(norm(x))`, and a final norm. GPT-J has one norm for both branches,
    /// GPT-NeoX a norm for each.
    Parallel {
        /// The number of norms, 1 or 2.
        norms: u32,
    },
}

impl Block {
    /// Whether the outputs of attention and MLP are normalised before they are added.
    pub const fn norms_branches(self) -> bool {
        matches!(self, Block::Sandwich | Block::PostBranch)
    }

    /// Whether attention and MLP read the same stream.
    pub const fn is_parallel(self) -> bool {
        matches!(self, Block::Parallel { .. })
    }
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

/// A value for each layer, from a list that repeats.
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

impl<T: Clone> Pattern<T> {
    /// The number of layers after which the values repeat.
    pub fn period(&self) -> u32 {
        self.0.len() as u32
    }
}

/// The number of layers after which two patterns repeat together: the least common multiple of
/// their periods. Saturates, because a spec that is not yet checked may have lists of any length.
pub fn common_period(a: u32, b: u32) -> u32 {
    let common = (1..=a.min(b)).rfind(|n| a.is_multiple_of(*n) && b.is_multiple_of(*n));
    (a / common.unwrap_or(1)).saturating_mul(b)
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
    /// Rotary embedding of queries and keys, Su et al. 2021.
    Rope(Rope),
    /// ALiBi (Press et al. 2022): adds `slope * (key - query)` to each score, where `key` and
    /// `query` are positions and each head has its own slope.
    Alibi {
        /// The smallest slope is `2^-max_bias`.
        max_bias: f64,
    },
}

/// Which positions a query attends to.
#[derive(Clone, Copy, Debug, Default, Serialize, PartialEq, Eq)]
pub enum Mask {
    /// Its own and all earlier ones.
    #[default]
    Causal,
    /// All, as in BERT. Such a model reads a whole text at once; it cannot continue from a cache.
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

    /// Rows of the first MLP projection. If the MLP is gated, they are the gate's and then the up
    /// projection's.
    pub const fn up_width(&self) -> u32 {
        if self.mlp.gated { 2 * self.mlp.hidden } else { self.mlp.hidden }
    }

    /// Whether the projection called `role`, other than the head, has a bias.
    pub fn projection_bias(&self, role: Role) -> bool {
        let own = match role {
            Role::Qkv => self.qkv_bias,
            Role::AttentionOut => self.attn_out_bias,
            Role::MlpUp | Role::MlpDown => self.mlp_bias,
            _ => None,
        };
        own.unwrap_or(self.bias)
    }

    /// The scores of `layer`.
    pub fn scores(&self, layer: u32) -> Scores {
        Scores {
            mask: self.mask.of(layer),
            window: self.window.of(layer),
            scale: self.attention_scale.unwrap_or(1.0 / f64::from(self.head_dim).sqrt()),
            softcap: self.attention_softcap,
            alibi: match self.positions {
                Positions::Alibi { max_bias } => Some(max_bias),
                _ => None,
            },
        }
    }

    /// The number of layers after which all patterns repeat.
    pub fn period(&self) -> u32 {
        let rope = self.rope().map_or(1, Rope::period);
        common_period(common_period(self.mask.period(), self.window.period()), rope)
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
