//! The resolved spec of a model: every key is a number or a choice.
//!
//! Values are already checked: no size is zero, and sizes divide as they must. The checks and their
//! messages are in `gpt-codegen`, which has the user's tokens.

use serde::Serialize;

use crate::{Activation, List, Role, Scores};

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
    /// A query attends only to positions whose distance is below it, by layer.
    pub window: Pattern<Option<u32>>,
    /// The factor of products of queries and keys; `None` is `1 / sqrt(head_dim)`.
    pub attention_scale: Option<f64>,
    /// `c` of `c tanh(score / c)`, which bounds the scores; none leaves them as they are.
    pub attention_softcap: Option<f64>,
    /// The norm of the heads of queries and keys, before they are rotated.
    pub qk_norm: Option<QkNorm>,
    /// Whether linear layers and LayerNorm have a bias.
    pub bias: bool,
    /// Whether the projection to queries, keys and values has a bias; `None` uses `bias`.
    pub qkv_bias: Option<bool>,
    /// Whether the output projection of the attention has a bias; `None` uses `bias`.
    pub attn_out_bias: Option<bool>,
    /// Whether the projections of the MLP have a bias; `None` uses `bias`.
    pub mlp_bias: Option<bool>,
    /// Whether the head adds a bias to the logits.
    pub head_bias: bool,
    /// Whether the output head shares the token embedding's weights.
    pub tie_embeddings: bool,
    /// Types of tokens, such as BERT's two segments. The vector of type 0 is added to the embedding
    /// of every token; `None` has no types.
    pub token_types: Option<u32>,
    /// Whether the stream begins with a norm of the embedding.
    pub embedding_norm: bool,
    /// Multiplies the token embedding, before positions are added.
    pub embedding_scale: Option<f64>,
    /// Multiplies the output of the attention and of the MLP, before it is added to the stream.
    pub residual_scale: Option<f64>,
    /// Multiplies the logits, before they are capped.
    pub logit_scale: Option<f64>,
    /// `c` of `c tanh(logit / c)`, which bounds the logits; none leaves them as they are.
    pub logit_softcap: Option<f64>,
    /// Dropout probability in training; inference ignores it.
    pub dropout: f64,
    /// The names of tensors in safetensors files.
    pub names: TensorNames,
}

/// The class of transformers whose names tensors have in safetensors files.
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
    /// BERT, as sentence-transformers and most encoders for search have it.
    Bert,
    /// RoBERTa.
    Roberta,
    /// DistilBERT.
    DistilBert,
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
    /// Whether a LayerNorm with parameters has a shift; `None` uses the `bias` of the spec.
    pub bias: Option<bool>,
    /// Whether safetensors files store `gamma - 1`. The model holds `gamma`.
    pub unit_offset: bool,
}

impl Default for Norm {
    /// A LayerNorm with parameters, whose epsilon is not set.
    fn default() -> Norm {
        Norm { kind: NormKind::Layer, eps: 0.0, affine: true, bias: None, unit_offset: false }
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
    /// `x += norm(attn(norm(x))); x += norm(mlp(norm(x)))`, and a final norm: Gemma 2 and 3.
    Sandwich,
    /// `x += norm(attn(x)); x += norm(mlp(x))`, and a final norm: OLMo 2.
    PostBranch,
    /// `x += attn(norm(x)) + mlp(norm(x))`, and a final norm. GPT-J has one norm for both branches,
    /// GPT-NeoX a norm for each.
    Parallel {
        /// 1 or 2.
        norms: u32,
    },
}

impl Block {
    /// Whether attention and MLP read the stream through a norm.
    pub const fn norms_input(self) -> bool {
        !matches!(self, Block::PostBranch)
    }

    /// Whether the outputs of attention and MLP are normalised before they are added.
    pub const fn norms_branches(self) -> bool {
        matches!(self, Block::Sandwich | Block::PostBranch)
    }

    /// Whether attention and MLP read the same stream.
    pub const fn is_parallel(self) -> bool {
        matches!(self, Block::Parallel { .. })
    }
}

/// The norm of the heads of queries and keys.
#[derive(Clone, Copy, Debug, Serialize, PartialEq)]
pub struct QkNorm {
    /// The norm, with an epsilon and parameters of its own.
    pub norm: Norm,
    /// The elements that are normalised together, and those that share parameters.
    pub over: NormGroups,
}

/// The groups that a norm of queries and keys normalises.
#[derive(Clone, Copy, Debug, Default, Serialize, PartialEq, Eq)]
pub enum NormGroups {
    /// Each head. All heads of queries share parameters, and all heads of keys (Qwen 3, Gemma 3).
    #[default]
    Head,
    /// Each head, with parameters of its own (Cohere).
    EachHead,
    /// All heads of queries together, and all heads of keys (OLMo 2).
    Width,
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

impl<T: Clone> Pattern<T> {
    /// The number of layers after which the values repeat.
    pub fn period(&self) -> u32 {
        self.0.len() as u32
    }
}

/// The number of layers after which two patterns repeat together: the least common multiple of
/// their periods. Saturates, because a spec that is not yet checked may have any lists.
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
    /// Scores that fall with the distance, by a slope of each head (ALiBi, Press et al. 2022).
    Alibi {
        /// The slopes of heads are powers of 2, from `2^-max_bias` on.
        max_bias: f64,
    },
}

/// Rotary embedding. Pair `i` of a head rotates by `pos * frequency(i)`.
#[derive(Clone, Debug, Serialize, PartialEq)]
pub struct Rope {
    /// The base of the angles of each layer, such as 10,000. A layer without a base rotates
    /// nothing.
    pub theta: Pattern<Option<f64>>,
    /// The elements of a head that rotate, from the first on. The frequency of pair `i` is
    /// `theta^(-2i / dims)` before scaling.
    pub dims: u32,
    /// The elements of a head that form a pair in safetensors files. In memory, and in GGUF files,
    /// pair `i` is `(2i, 2i + 1)`; rows of matrices are reordered when they are loaded and saved.
    pub pairs: RotaryPairs,
    /// Changes the frequencies of each layer, for contexts longer than those of pretraining.
    pub scaling: Pattern<RopeScaling>,
}

/// The elements of a head that rotate together.
#[derive(Clone, Copy, Debug, Default, Serialize, PartialEq, Eq)]
pub enum RotaryPairs {
    /// `(i, i + dims / 2)`: GPT-NeoX, Llama and most others.
    #[default]
    Halves,
    /// `(2i, 2i + 1)`: the paper, GPT-J, Cohere.
    Interleaved,
}

/// A change of rotary frequencies.
#[derive(Clone, Copy, Debug, Default, Serialize, PartialEq)]
pub enum RopeScaling {
    /// No change.
    #[default]
    None,
    /// All frequencies divided by a factor (Chen et al. 2023, position interpolation).
    Linear {
        /// The divisor.
        factor: f64,
    },
    /// Llama 3's: wavelengths above `original_context / low_freq_factor` are divided by `factor`,
    /// those below `original_context / high_freq_factor` stay, and those between are interpolated.
    Llama3 {
        /// The divisor of low frequencies.
        factor: f64,
        /// Of the longest interpolated wavelength.
        low_freq_factor: f64,
        /// Of the shortest.
        high_freq_factor: f64,
        /// The context of pretraining, in tokens.
        original_context: u32,
    },
    /// YaRN (Peng et al. 2023): interpolates between divided and unchanged frequencies by the
    /// number of rotations within `original_context`, and multiplies queries and keys by
    /// `attention_factor`.
    Yarn {
        /// The divisor of low frequencies.
        factor: f64,
        /// The context of pretraining, in tokens.
        original_context: u32,
        /// Pairs with more rotations stay.
        beta_fast: f64,
        /// Pairs with fewer rotations are divided.
        beta_slow: f64,
        /// The multiplier of rotated queries and keys; `0.1 ln(factor) + 1` if none.
        attention_factor: Option<f64>,
        /// Whether the bounds between the pairs are rounded to whole pairs.
        truncate: bool,
    },
}

impl Rope {
    /// Pairs `(i, i + dims / 2)` of all `dims` elements of a head, unscaled.
    pub fn new(theta: Pattern<Option<f64>>, dims: u32) -> Rope {
        Rope { theta, dims, pairs: RotaryPairs::Halves, scaling: Pattern::all(RopeScaling::None) }
    }

    /// The base and the scaling of `layer`, if it rotates.
    pub fn of(&self, layer: u32) -> Option<(f64, RopeScaling)> {
        Some((self.theta.of(layer)?, self.scaling.of(layer)))
    }

    /// The number of layers after which the bases and scalings repeat.
    pub fn period(&self) -> u32 {
        common_period(self.theta.period(), self.scaling.period())
    }
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

/// The groups of a row of queries and keys that are normalised, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QkGroups {
    /// Groups of queries.
    pub q: u32,
    /// Groups of keys.
    pub k: u32,
    /// Elements of a group of queries.
    pub q_width: u32,
    /// Elements of a group of keys.
    pub k_width: u32,
    /// Elements of the norm's scale: those of queries, then those of keys.
    pub parameters: u32,
    /// Whether all groups of queries share their parameters, and all groups of keys.
    pub shared: bool,
}

impl QkGroups {
    /// Groups of queries and keys.
    pub const fn count(&self) -> u32 {
        self.q + self.k
    }

    /// The first element of group `group` in a row, its width, and its first parameter.
    pub const fn group(&self, group: u32) -> [u32; 3] {
        let q_end = self.q * self.q_width;
        let (start, width, parameter) = match group < self.q {
            true => (group * self.q_width, self.q_width, 0),
            false => (q_end + (group - self.q) * self.k_width, self.k_width, self.q_width),
        };
        [start, width, if self.shared { parameter } else { start }]
    }
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

    /// Whether `norm` has a `beta`.
    pub const fn norm_bias(&self, norm: &Norm) -> bool {
        let bias = match norm.bias {
            Some(bias) => bias,
            None => self.bias,
        };
        bias && norm.affine && matches!(norm.kind, NormKind::Layer)
    }

    /// The norm of tensors with the role `role`.
    pub const fn norm_of(&self, role: Role) -> Norm {
        match (role, &self.qk_norm) {
            (Role::QkNorm, Some(own)) => own.norm,
            _ => self.norm,
        }
    }

    /// The geometry of the norm of queries and keys, if there is one.
    pub const fn qk_groups(&self) -> Option<QkGroups> {
        let Some(QkNorm { over, .. }) = self.qk_norm else {
            return None;
        };
        let heads = QkGroups {
            q: self.heads,
            k: self.kv_heads,
            q_width: self.head_dim,
            k_width: self.head_dim,
            parameters: 2 * self.head_dim,
            shared: true,
        };
        let parameters = self.q_width() + self.kv_width();
        Some(match over {
            NormGroups::Head => heads,
            NormGroups::EachHead => QkGroups { parameters, shared: false, ..heads },
            NormGroups::Width => QkGroups {
                q: 1,
                k: 1,
                q_width: self.q_width(),
                k_width: self.kv_width(),
                parameters,
                shared: false,
            },
        })
    }

    /// Whether the projection called `role` has a bias.
    pub fn projection_bias(&self, role: Role) -> bool {
        let own = match role {
            Role::Qkv => self.qkv_bias,
            Role::AttentionOut => self.attn_out_bias,
            Role::MlpUp | Role::MlpDown => self.mlp_bias,
            _ => None,
        };
        own.unwrap_or(self.bias)
    }

    /// Whether queries and keys are rotated.
    pub const fn rotary(&self) -> bool {
        matches!(self.positions, Positions::Rope(_))
    }

    /// The rotary embedding, if there is one.
    pub const fn rope(&self) -> Option<&Rope> {
        match &self.positions {
            Positions::Rope(rope) => Some(rope),
            _ => None,
        }
    }

    /// The different tables of rotary angles. A table has a base and a scaling.
    pub fn rotary_tables(&self) -> Vec<(f64, RopeScaling)> {
        let mut tables = Vec::new();
        for layer in 0..self.rope().map_or(0, Rope::period).min(self.layers) {
            if let Some(table) = self.rope().and_then(|rope| rope.of(layer))
                && !tables.contains(&table)
            {
                tables.push(table);
            }
        }
        tables
    }

    /// The table of rotary angles of `layer`, an index into
    /// [`rotary_tables`](Self::rotary_tables).
    pub fn rotary_table(&self, layer: u32) -> Option<u16> {
        let own = self.rope()?.of(layer)?;
        let table = self.rotary_tables().iter().position(|table| *table == own)?;
        Some(table as u16)
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
