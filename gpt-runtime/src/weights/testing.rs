//! What the tests of this folder share: two small plans, and a measure of error.

use gpt_plan::{Activation, Block, Mask, Mlp, Norm, Plan, Positions, Spec};

/// GPT-2's architecture, scaled down. Widths are multiples of 32, so that every block format fits its rows.
pub fn gpt2_spec() -> Spec {
    Spec {
        vocab: 40,
        context: 16,
        layers: 2,
        heads: 2,
        kv_heads: 2,
        embed: 32,
        head_dim: 16,
        norm: Norm::LayerNorm { eps: 1e-5 },
        block: Block::PreNorm,
        mlp: Mlp {
            gated: false,
            hidden: 128,
            activation: Activation::GeluTanh,
        },
        positions: Positions::Learned,
        mask: Mask::Causal,
        bias: true,
        tie_embeddings: true,
        dropout: 0.0,
    }
}

/// Llama's architecture, scaled down.
pub fn llama_spec() -> Spec {
    Spec {
        vocab: 48,
        context: 64,
        layers: 2,
        heads: 4,
        kv_heads: 2,
        embed: 32,
        head_dim: 8,
        norm: Norm::RmsNorm { eps: 1e-5 },
        block: Block::PreNorm,
        mlp: Mlp {
            gated: true,
            hidden: 64,
            activation: Activation::Silu,
        },
        positions: Positions::Rope { theta: 10_000.0 },
        mask: Mask::Causal,
        bias: false,
        tie_embeddings: true,
        dropout: 0.0,
    }
}

/// The plan of a spec; leaked, as a plan of the macro is static too.
pub fn plan(spec: &Spec) -> &'static Plan {
    Box::leak(Box::new(gpt_codegen::plan::plan("test", spec)))
}

pub fn gpt2() -> &'static Plan {
    plan(&gpt2_spec())
}

pub fn llama() -> &'static Plan {
    plan(&llama_spec())
}

/// Root of the mean square error over the root of the mean square.
pub fn relative_error(values: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(values.len(), expected.len());
    let square = |x: f64| x * x;
    let error: f64 = values
        .iter()
        .zip(expected)
        .map(|(&a, &b)| square(f64::from(a) - f64::from(b)))
        .sum();
    let norm: f64 = expected.iter().map(|&b| square(f64::from(b))).sum();
    (error / norm).sqrt()
}
