//! Tests of models that `gpt_model!` compiles.
//!
//! They are one program for the reasons that `engines` gives.

mod closures;
mod compiled_models;
mod embeddings;
mod generation;
mod torch_training;
mod transformers;
mod typed;

use gpt_runtime::gpt_model;

gpt_model! {
    /// The model that the command line embeds.
    pub struct Bard {
        vocab: 65, context: 256, layers: 6, heads: 6, embed: 192, bias: false, dropout: 0.05,
        norm: RmsNorm { eps: 1e-5 }, mlp: Gated { hidden: 512, activation: Silu }, positions: Rope { theta: 10_000.0 },
        ..GPT2_SMALL
    }

    // The models of fixtures/training.py and fixtures/transformers_models.py.
    pub struct Gpt2 { vocab: 61, context: 32, layers: 2, heads: 3, embed: 24, ..GPT2_SMALL }
    pub struct Gpt1 { vocab: 61, context: 32, layers: 2, heads: 3, embed: 24, ..GPT1 }
    pub struct Llama {
        vocab: 61, context: 64, layers: 2, heads: 6, kv_heads: 2, embed: 24, tie_embeddings: false,
        mlp: Gated { hidden: 40 }, positions: Rope { theta: 10_000.0 },
        ..SMOLLM2_135M
    }
    pub struct Sinusoidal { positions: Sinusoidal, ..Gpt2 }
}
