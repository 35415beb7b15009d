//! Shared by the tests of this crate: small plans, decoding, and a measure of error.

use gpt_plan::{
    Activation, Block, Format, Mask, Mlp, Norm, NormKind, Pattern, Plan, Positions, Rope, Spec,
    TensorId,
};

use super::{Weights, format};

/// GPT-2's architecture, scaled down. Widths are multiples of 32, so that formats with blocks of 32
/// fit its rows.
pub fn gpt2_spec() -> Spec {
    Spec {
        vocab: 40,
        context: 16,
        layers: 2,
        heads: 2,
        kv_heads: 2,
        embed: 32,
        head_dim: 16,
        norm: Norm { kind: NormKind::Layer, eps: 1e-5, ..Norm::default() },
        block: Block::PreNorm,
        mlp: Mlp { gated: false, hidden: 128, activation: Activation::GeluTanh },
        positions: Positions::Learned,
        mask: Pattern::all(Mask::Causal),
        bias: true,
        tie_embeddings: true,
        ..Spec::default()
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
        norm: Norm { kind: NormKind::Rms, eps: 1e-5, ..Norm::default() },
        block: Block::PreNorm,
        mlp: Mlp { gated: true, hidden: 64, activation: Activation::Silu },
        positions: Positions::Rope(Rope::new(Pattern::all(Some(10_000.0)), 8)),
        mask: Pattern::all(Mask::Causal),
        bias: false,
        tie_embeddings: true,
        ..Spec::default()
    }
}

/// The plan of a spec; leaked, because engines expect a static plan.
pub fn plan(spec: &Spec) -> &'static Plan {
    Box::leak(Box::new(gpt_codegen::plan::plan("test", spec)))
}

pub fn gpt2() -> &'static Plan {
    plan(&gpt2_spec())
}

pub fn llama() -> &'static Plan {
    plan(&llama_spec())
}

/// A Llama whose rows are multiples of 256, as the k-quants of a file require.
pub fn wide_llama() -> &'static Plan {
    let positions = Positions::Rope(Rope::new(Pattern::all(Some(10_000.0)), 64));
    let mut spec = Spec { embed: 256, head_dim: 64, positions, ..llama_spec() };
    spec.mlp.hidden = 512;
    plan(&spec)
}

/// A Llama whose rows a file can store in `format`.
pub fn llama_in(format: Format) -> &'static Plan {
    if format.is_k_quant() { wide_llama() } else { llama() }
}

/// A tensor as f32, row-major without padding.
pub fn values(weights: &dyn Weights, id: TensorId, layer: u32) -> Vec<f32> {
    let tensor = weights.tensor(id, layer).unwrap();
    let row_bytes = tensor.format.row_bytes(tensor.columns);
    assert_eq!(tensor.data.len(), tensor.rows * row_bytes);
    let mut values = vec![0.0; tensor.rows * tensor.columns];
    let rows = values.chunks_mut(tensor.columns);
    for (row, bytes) in rows.zip(tensor.data.chunks(row_bytes)) {
        format::decode(tensor.format, bytes, row);
    }
    values
}

/// Root mean square of the error, relative to that of `expected`.
pub fn relative_error(values: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(values.len(), expected.len());
    let square = |x: f64| x * x;
    let error: f64 =
        values.iter().zip(expected).map(|(&a, &b)| square(f64::from(a) - f64::from(b))).sum();
    let norm: f64 = expected.iter().map(|&b| square(f64::from(b))).sum();
    (error / norm).sqrt()
}
