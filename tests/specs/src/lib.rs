//! Specs for tests: scaled-down presets here, odd ones for every key and ragged edge in `odd`, and
//! in `cover` a few that have the WGSL files of all odd ones. The crate is separate because tests
//! of kernels alone need no engine.

mod cover;
mod odd;

use gpt_plan::{
    Activation, Block, Mask, Mlp, Norm, NormKind, Pattern, Plan, Positions, Rope, Spec,
};

pub use cover::{Cover, covering};
pub use odd::odd;

/// The plan of a spec; leaked, because engines expect a static plan.
pub fn plan(name: &str, spec: &Spec) -> &'static Plan {
    Box::leak(Box::new(gpt_codegen::plan::plan(name, spec)))
}

/// GPT-2, scaled down.
pub fn gpt2() -> Spec {
    Spec {
        vocab: 101,
        context: 64,
        layers: 2,
        heads: 4,
        kv_heads: 4,
        embed: 64,
        head_dim: 16,
        norm: Norm { kind: NormKind::Layer, eps: 1e-5, ..Norm::default() },
        block: Block::PreNorm,
        mlp: Mlp { gated: false, hidden: 256, activation: Activation::GeluTanh },
        positions: Positions::Learned,
        mask: Pattern::all(Mask::Causal),
        bias: true,
        tie_embeddings: true,
        ..Spec::default()
    }
}

/// SmolLM2, scaled down.
pub fn smollm2() -> Spec {
    Spec {
        vocab: 96,
        context: 80,
        heads: 6,
        kv_heads: 2,
        embed: 48,
        head_dim: 8,
        norm: Norm { kind: NormKind::Rms, eps: 1e-5, ..Norm::default() },
        mlp: Mlp { gated: true, hidden: 128, activation: Activation::Silu },
        positions: rope(&[Some(100_000.0)], 8),
        bias: false,
        ..gpt2()
    }
}

/// GPT-1, scaled down: post-norm.
pub fn gpt1() -> Spec {
    Spec { layers: 3, block: Block::PostNorm, ..gpt2() }
}

/// A spec whose matrices have rows of more than one block of 256 columns, and whose down projection
/// has rows of more than two.
pub fn wide() -> Spec {
    Spec {
        context: 40,
        layers: 1,
        heads: 5,
        kv_heads: 1,
        embed: 320,
        head_dim: 64,
        mlp: Mlp { gated: true, hidden: 680, activation: Activation::Silu },
        ..smollm2()
    }
}

/// The specs of [`odd`] that differ in the shapes, prologues and epilogues of their projections:
/// the ones for kernel variants that replace the loops of a product and nothing else.
pub fn projections() -> Vec<(&'static str, Spec)> {
    const NAMES: [&str; 6] = [
        "one_of_everything",
        "primes",
        "primes_gated",
        "gated_bias",
        "post_rope_gated",
        "softcap_primes",
    ];
    let specs: Vec<_> = odd().into_iter().filter(|(name, _)| NAMES.contains(name)).collect();
    assert_eq!(specs.len(), NAMES.len(), "a spec was renamed");
    specs
}

/// Rotary positions with bases that repeat over the layers.
fn rope(theta: &[Option<f64>], dims: u32) -> Positions {
    Positions::Rope(Rope::new(Pattern(theta.to_vec().into()), dims))
}

/// `max(x, 0)^2`, a built-in activation that is a formula.
pub fn relu_squared() -> Activation {
    gpt_codegen::activations::find("ReluSquared").expect("it is built in")
}
