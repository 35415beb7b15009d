//! Documentation of a spec's keys for editors.
//!
//! `gpt_model!` repeats a spec as a literal of these types in code that is never run. Editors then
//! display these docs when the user hovers over a key or completes one. The table that the macro
//! reads is in `gpt-codegen`; a test compares the two.

/// The keys of `gpt_model!`.
pub struct Spec {
    /// Number of tokens.
    pub vocab: u32,
    /// Longest sequence, in tokens.
    pub context: u32,
    /// Number of transformer blocks.
    pub layers: u32,
    /// Query heads in each attention.
    pub heads: u32,
    /// Key and value heads; fewer than `heads` is grouped-query attention. `heads` unless given.
    pub kv_heads: u32,
    /// Width of the residual stream.
    pub embed: u32,
    /// Width of a head, at most 256. `embed / heads` unless given.
    pub head_dim: u32,
    /// Normalisation of the residual stream. `LayerNorm { eps: 1e-5 }` unless given.
    pub norm: Norm,
    /// Norm before attention and MLP (GPT-2), or after their residuals (the first GPT). `PreNorm`
    /// unless given.
    pub block: Block,
    /// The feed-forward half of a block. `Dense { hidden: 4 * embed, activation: GeluTanh }` unless
    /// given.
    pub mlp: Mlp,
    /// How the model encodes positions. `Learned` unless given.
    pub positions: Positions,
    /// Whether a token attends to earlier tokens only, or to all. `Causal` unless given.
    pub mask: Mask,
    /// Whether linear layers and LayerNorm have a bias. `true` unless given.
    pub bias: bool,
    /// Whether the head shares the token embedding's weights. `true` unless given.
    pub tie_embeddings: bool,
    /// Probability of dropping an activation in training. `0.0` unless given.
    pub dropout: f64,
}

/// Normalisation of the residual stream.
pub enum Norm {
    /// `(x - mean) / sqrt(variance + eps) * gamma + beta`.
    LayerNorm {
        /// Added to the variance. `1e-5` unless given.
        eps: f64,
    },
    /// `x / sqrt(mean of squares + eps) * gamma`.
    RmsNorm {
        /// Added to the mean of squares. `1e-5` unless given.
        eps: f64,
    },
}

/// The place of the norms in a block.
pub enum Block {
    /// Before attention and MLP, and once before the head: GPT-2 and after.
    PreNorm,
    /// After the residuals: the first GPT.
    PostNorm,
}

/// The feed-forward half of a block.
pub enum Mlp {
    /// `down(activation(up(x)))`.
    Dense {
        /// Width between the two projections. `4 * embed` unless given.
        hidden: u32,
        /// `Gelu`, `GeluTanh`, `Relu`, `ReluSquared`, `Silu`, or a closure such as `|x| x *
        /// tanh(x)`. `GeluTanh` unless given.
        activation: Activation,
    },
    /// `down(activation(gate(x)) * up(x))`.
    Gated {
        /// Width between the projections.
        hidden: u32,
        /// `Gelu`, `GeluTanh`, `Relu`, `ReluSquared`, `Silu`, or a closure such as `|x| x *
        /// tanh(x)`. `Silu` unless given.
        activation: Activation,
    },
}

/// The nonlinearity of an MLP.
pub enum Activation {
    /// `x Phi(x)`, with the exact normal distribution.
    Gelu,
    /// GPT-2's approximation of it.
    GeluTanh,
    /// `max(x, 0)`.
    Relu,
    /// `max(x, 0)^2`.
    ReluSquared,
    /// `x / (1 + exp(-x))`.
    Silu,
}

/// Position encoding.
pub enum Positions {
    /// A learned vector for each position.
    Learned,
    /// The fixed sines and cosines of the 2017 transformer.
    Sinusoidal,
    /// Rotation of queries and keys.
    Rope {
        /// Base of the frequencies. `10_000.0` unless given.
        theta: f64,
    },
}

/// The tokens that a token attends to.
pub enum Mask {
    /// Itself and earlier tokens.
    Causal,
    /// All tokens.
    Bidirectional,
}

/// A value of any type, in code that is never run.
pub fn any<T>() -> T {
    unreachable!("the echo of a spec is never run")
}
