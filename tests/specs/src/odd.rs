//! Odd specs: each has an edge case for kernels.

use gpt_plan::{
    Activation, Block, Mask, Mlp, Norm, NormGroups, NormKind, Pattern, Positions, QkNorm, Rope,
    RopeScaling, RotaryPairs, Spec,
};

use super::{gpt1, gpt2, relu_squared, rope, smollm2, wide};

/// Unusual specs by name, each with an edge case for kernels.
pub fn odd() -> Vec<(&'static str, Spec)> {
    let mlp = |gated, hidden, activation| Mlp { gated, hidden, activation };
    vec![
        ("gpt2", gpt2()),
        ("smollm2", smollm2()),
        ("gpt1", gpt1()),
        (
            "one_of_everything",
            Spec {
                vocab: 1,
                context: 1,
                layers: 1,
                heads: 1,
                kv_heads: 1,
                embed: 1,
                head_dim: 1,
                mlp: mlp(false, 1, Activation::Relu),
                ..gpt2()
            },
        ),
        ("one_layer", Spec { layers: 1, ..gpt2() }),
        ("one_layer_post", Spec { layers: 1, ..gpt1() }),
        ("one_head", Spec { heads: 1, kv_heads: 1, head_dim: 64, ..gpt2() }),
        (
            "wide_head",
            Spec {
                heads: 2,
                kv_heads: 1,
                head_dim: 100,
                positions: rope(&[Some(100_000.0)], 100),
                ..smollm2()
            },
        ),
        (
            "primes",
            Spec {
                vocab: 67,
                context: 37,
                heads: 3,
                kv_heads: 3,
                embed: 39,
                head_dim: 13,
                mlp: mlp(false, 53, Activation::Gelu),
                ..gpt2()
            },
        ),
        (
            "primes_gated",
            Spec {
                vocab: 67,
                context: 37,
                heads: 3,
                kv_heads: 1,
                embed: 29,
                head_dim: 6,
                positions: rope(&[Some(100_000.0)], 6),
                mlp: mlp(true, 43, Activation::Silu),
                ..smollm2()
            },
        ),
        ("gated_bias", Spec { bias: true, mlp: mlp(true, 72, Activation::GeluTanh), ..smollm2() }),
        (
            "multi_query",
            Spec {
                heads: 7,
                kv_heads: 1,
                head_dim: 10,
                positions: rope(&[Some(100_000.0)], 10),
                ..smollm2()
            },
        ),
        ("untied", Spec { tie_embeddings: false, ..gpt2() }),
        (
            "untied_rms_dense",
            Spec { tie_embeddings: false, mlp: mlp(false, 70, Activation::Relu), ..smollm2() },
        ),
        ("no_bias", Spec { bias: false, ..gpt2() }),
        ("sinusoidal", Spec { positions: Positions::Sinusoidal, ..gpt2() }),
        (
            "rope_pattern",
            Spec {
                layers: 5,
                positions: rope(&[Some(100.0), Some(10_000.0), None], 8),
                ..smollm2()
            },
        ),
        (
            "rope_partial",
            Spec {
                positions: Positions::Rope(Rope {
                    pairs: RotaryPairs::Interleaved,
                    scaling: Pattern::all(RopeScaling::Linear { factor: 3.0 }),
                    ..Rope::new(Pattern::all(Some(100.0)), 6)
                }),
                ..smollm2()
            },
        ),
        (
            "rope_scalings",
            Spec {
                layers: 3,
                head_dim: 24,
                positions: Positions::Rope(Rope {
                    scaling: Pattern(
                        vec![
                            RopeScaling::Llama3 {
                                factor: 8.0,
                                low_freq_factor: 1.0,
                                high_freq_factor: 4.0,
                                original_context: 32,
                            },
                            RopeScaling::Yarn {
                                factor: 4.0,
                                original_context: 20,
                                beta_fast: 3.0,
                                beta_slow: 0.5,
                                attention_factor: None,
                                truncate: true,
                            },
                            RopeScaling::None,
                        ]
                        .into(),
                    ),
                    ..Rope::new(Pattern::all(Some(1_000.0)), 20)
                }),
                ..smollm2()
            },
        ),
        (
            "mask_pattern",
            Spec {
                layers: 3,
                mask: Pattern(vec![Mask::Bidirectional, Mask::Causal].into()),
                ..gpt2()
            },
        ),
        (
            "post_patterns",
            Spec {
                layers: 7,
                mask: Pattern(vec![Mask::Causal, Mask::Bidirectional].into()),
                positions: rope(&[Some(100.0), None, Some(100.0)], 16),
                ..gpt1()
            },
        ),
        (
            "window",
            Spec {
                layers: 3,
                window: Pattern(vec![Some(5), Some(70), None].into()),
                attention_scale: Some(0.7),
                ..smollm2()
            },
        ),
        (
            "window_bidirectional",
            Spec {
                mask: Pattern::all(Mask::Bidirectional),
                window: Pattern(vec![Some(9), Some(1)].into()),
                ..gpt2()
            },
        ),
        (
            "attention_softcap",
            Spec {
                attention_softcap: Some(0.9),
                attention_scale: Some(1.3),
                window: Pattern::all(Some(33)),
                heads: 3,
                kv_heads: 1,
                head_dim: 13,
                ..gpt2()
            },
        ),
        ("norm_without_parameters", Spec { norm: Norm { affine: false, ..gpt2().norm }, ..gpt2() }),
        (
            "post_norm_without_parameters",
            Spec { norm: Norm { affine: false, ..gpt2().norm }, bias: false, ..gpt1() },
        ),
        (
            "rms_without_parameters",
            Spec { norm: Norm { affine: false, ..smollm2().norm }, embed: 47, ..smollm2() },
        ),
        ("qkv_bias", Spec { qkv_bias: Some(true), ..smollm2() }),
        ("bias_without_qkv", Spec { qkv_bias: Some(false), ..gpt2() }),
        (
            "own_biases",
            Spec {
                attn_out_bias: Some(false),
                mlp_bias: Some(true),
                norm: Norm { bias: Some(false), ..gpt2().norm },
                ..gpt2()
            },
        ),
        (
            "scales",
            Spec {
                embedding_scale: Some(7.0),
                residual_scale: Some(0.22),
                logit_scale: Some(0.125),
                ..smollm2()
            },
        ),
        ("softcap", Spec { logit_softcap: Some(0.3), ..smollm2() }),
        (
            "softcap_primes",
            Spec {
                vocab: 601,
                logit_scale: Some(2.0),
                logit_softcap: Some(1.5),
                residual_scale: Some(1.5),
                embedding_scale: Some(0.5),
                ..gpt1()
            },
        ),
        (
            "sinusoidal_odd",
            Spec {
                positions: Positions::Sinusoidal,
                embed: 33,
                heads: 3,
                kv_heads: 3,
                head_dim: 11,
                ..gpt2()
            },
        ),
        ("bidirectional", Spec { mask: Pattern::all(Mask::Bidirectional), ..gpt2() }),
        (
            "bidirectional_post_gelu",
            Spec {
                mask: Pattern::all(Mask::Bidirectional),
                mlp: mlp(false, 96, Activation::Gelu),
                ..gpt1()
            },
        ),
        ("post_rope_gated", Spec { block: Block::PostNorm, layers: 2, ..smollm2() }),
        (
            "rope_layer_norm",
            Spec {
                norm: Norm { kind: NormKind::Layer, eps: 1e-3, ..Norm::default() },
                bias: true,
                ..smollm2()
            },
        ),
        (
            "rms_learned",
            Spec { norm: Norm { kind: NormKind::Rms, eps: 1e-6, ..Norm::default() }, ..gpt2() },
        ),
        (
            "sandwich",
            Spec {
                layers: 3,
                block: Block::Sandwich,
                residual_scale: Some(0.7),
                qk_norm: qk_norm(NormKind::Rms, NormGroups::Head),
                ..smollm2()
            },
        ),
        (
            "post_branch",
            Spec {
                block: Block::PostBranch,
                qk_norm: qk_norm(NormKind::Rms, NormGroups::Width),
                embed: 47,
                heads: 5,
                kv_heads: 1,
                head_dim: 14,
                positions: rope(&[Some(1_000.0)], 14),
                ..smollm2()
            },
        ),
        (
            "parallel",
            Spec {
                block: Block::Parallel { norms: 1 },
                head_bias: true,
                tie_embeddings: false,
                positions: rope(&[Some(1_000.0)], 4),
                ..gpt2()
            },
        ),
        (
            "parallel_norms",
            Spec {
                block: Block::Parallel { norms: 2 },
                head_bias: true,
                vocab: 67,
                qk_norm: qk_norm(NormKind::Layer, NormGroups::EachHead),
                heads: 3,
                kv_heads: 3,
                head_dim: 13,
                embed: 39,
                ..gpt2()
            },
        ),
        ("qk_norm_wide", Spec { qk_norm: qk_norm(NormKind::Layer, NormGroups::Width), ..wide() }),
        (
            "alibi",
            Spec {
                positions: Positions::Alibi { max_bias: 8.0 },
                embedding_norm: true,
                heads: 3,
                kv_heads: 3,
                head_dim: 20,
                attention_softcap: Some(2.0),
                ..gpt2()
            },
        ),
        (
            "alibi_bidirectional",
            Spec {
                positions: Positions::Alibi { max_bias: 4.0 },
                embedding_norm: true,
                mask: Pattern::all(Mask::Bidirectional),
                window: Pattern::all(Some(21)),
                kv_heads: 2,
                ..gpt1()
            },
        ),
        (
            "encoder",
            Spec {
                block: Block::PostNorm,
                mask: Pattern::all(Mask::Bidirectional),
                token_types: Some(2),
                embedding_norm: true,
                embedding_scale: Some(1.5),
                heads: 3,
                kv_heads: 3,
                head_dim: 13,
                embed: 39,
                ..gpt2()
            },
        ),
        (
            "masked_words",
            Spec {
                block: Block::PostNorm,
                mask: Pattern::all(Mask::Bidirectional),
                token_types: Some(1),
                embedding_norm: true,
                head_dense: true,
                head_bias: true,
                heads: 3,
                kv_heads: 3,
                head_dim: 13,
                embed: 39,
                mlp: mlp(false, 53, Activation::Gelu),
                ..gpt2()
            },
        ),
        (
            "modern_encoder",
            Spec {
                layers: 5,
                mask: Pattern::all(Mask::Bidirectional),
                window: Pattern(vec![None, Some(5), Some(5)].into()),
                positions: rope(&[Some(1_000.0), Some(100.0), Some(100.0)], 14),
                norm: Norm { bias: Some(false), ..gpt2().norm },
                mlp: mlp(true, 43, Activation::Gelu),
                bias: false,
                embedding_norm: true,
                first_attn_bare: true,
                head_dense: true,
                head_bias: true,
                heads: 3,
                kv_heads: 3,
                head_dim: 14,
                embed: 42,
                ..gpt2()
            },
        ),
        ("one_bare_layer", Spec { layers: 1, first_attn_bare: true, ..smollm2() }),
        (
            "bare_sandwich",
            Spec {
                block: Block::Sandwich,
                first_attn_bare: true,
                qk_norm: qk_norm(NormKind::Rms, NormGroups::Head),
                ..smollm2()
            },
        ),
        (
            "head_dense_gated",
            Spec { head_dense: true, tie_embeddings: false, embed: 47, ..smollm2() },
        ),
        ("token_types_rope", Spec { token_types: Some(3), tie_embeddings: false, ..smollm2() }),
        ("narrow_attention", Spec { heads: 2, kv_heads: 2, head_dim: 4, ..gpt2() }),
        ("relu_squared", Spec { mlp: mlp(false, 90, relu_squared()), ..gpt2() }),
    ]
}

/// A norm of queries and keys.
fn qk_norm(kind: NormKind, over: NormGroups) -> Option<QkNorm> {
    Some(QkNorm { norm: Norm { kind, eps: 1e-5, ..Norm::default() }, over })
}
