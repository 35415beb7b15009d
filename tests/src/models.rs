//! The specs of [`specs::odd`](crate::specs::odd), compiled by `gpt_model!`.
//!
//! The macro must generate the plan that the library makes at run time, and code that computes the
//! same values.

use gpt_runtime::gpt_model;

gpt_model! {
    /// GPT-2, scaled down.
    pub struct Gpt2 { vocab: 101, context: 64, layers: 2, heads: 4, embed: 64, ..GPT2_SMALL }

    /// SmolLM2, scaled down.
    pub struct SmolLm2 {
        vocab: 96, context: 80, layers: 2, heads: 6, kv_heads: 2, embed: 48,
        mlp: Gated { hidden: 128, activation: Silu },
        ..SMOLLM2_135M
    }

    /// GPT-1, scaled down.
    pub struct Gpt1 { layers: 3, block: PostNorm, ..Gpt2 }

    pub struct OneOfEverything { vocab: 1, context: 1, layers: 1, heads: 1, embed: 1, mlp: Dense { hidden: 1, activation: Relu } }
    pub struct OneLayer { layers: 1, ..Gpt2 }
    pub struct OneLayerPost { layers: 1, ..Gpt1 }
    pub struct OneHead { heads: 1, ..Gpt2 }
    pub struct WideHead { heads: 2, kv_heads: 1, head_dim: 100, ..SmolLm2 }
    pub struct Primes {
        vocab: 67, context: 37, heads: 3, embed: 3 * 13, mlp: Dense { hidden: 53, activation: Gelu }, ..Gpt2
    }
    pub struct PrimesGated {
        vocab: 67, context: 37, heads: 3, kv_heads: heads / 3, embed: 29, head_dim: 6,
        mlp: Gated { hidden: 43 }, ..SmolLm2
    }
    pub struct GatedBias { bias: true, mlp: Gated { hidden: 72, activation: GeluTanh }, ..SmolLm2 }
    pub struct MultiQuery { heads: 7, kv_heads: 1, head_dim: 10, ..SmolLm2 }
    pub struct Untied { tie_embeddings: false, ..Gpt2 }
    pub struct UntiedRmsDense { tie_embeddings: false, mlp: Dense { hidden: 70, activation: Relu }, ..SmolLm2 }
    pub struct NoBias { bias: false, ..Gpt2 }
    pub struct Sinusoidal { positions: Sinusoidal, ..Gpt2 }
    pub struct RopePattern { layers: 5, positions: Rope { theta: [100.0, 10_000.0, None] }, ..SmolLm2 }
    pub struct RopePartial {
        positions: Rope { theta: 100.0, dims: 6, pairs: Interleaved, scaling: Linear { factor: 3.0 } }, ..SmolLm2
    }
    pub struct RopeScalings {
        layers: 3, head_dim: 24,
        positions: Rope {
            theta: 1_000.0, dims: 20,
            scaling: [
                Llama3 { factor: 8.0, original_context: 32 },
                Yarn { factor: 4.0, original_context: 20, beta_fast: 3.0, beta_slow: 0.5 },
                None,
            ],
        },
        ..SmolLm2
    }
    pub struct MaskPattern { layers: 3, mask: [Bidirectional, Causal], ..Gpt2 }
    pub struct PostPatterns { layers: 7, mask: [Causal, Bidirectional], positions: Rope { theta: [100.0, None, 100.0] }, ..Gpt1 }
    pub struct Window { layers: 3, window: [5, 70, None], attention_scale: 0.7, ..SmolLm2 }
    pub struct WindowBidirectional { mask: Bidirectional, window: [9, 1], ..Gpt2 }
    pub struct AttentionSoftcap {
        attention_softcap: 0.9, attention_scale: 1.3, window: 33, heads: 3, kv_heads: 1, head_dim: 13, ..Gpt2
    }
    pub struct NormWithoutParameters { norm: LayerNorm { affine: false }, ..Gpt2 }
    pub struct PostNormWithoutParameters { norm: LayerNorm { affine: false }, bias: false, ..Gpt1 }
    pub struct RmsWithoutParameters { norm: RmsNorm { affine: false }, embed: 47, head_dim: 8, ..SmolLm2 }
    pub struct QkvBias { qkv_bias: true, ..SmolLm2 }
    pub struct BiasWithoutQkv { qkv_bias: false, ..Gpt2 }
    pub struct OwnBiases { attn_out_bias: false, mlp_bias: true, norm: LayerNorm { bias: false }, ..Gpt2 }
    pub struct Scales { embedding_scale: 7.0, residual_scale: 0.22, logit_scale: 0.125, ..SmolLm2 }
    pub struct Softcap { logit_softcap: 0.3, ..SmolLm2 }
    pub struct SoftcapPrimes {
        vocab: 601, logit_scale: 2.0, logit_softcap: 1.5, residual_scale: 1.5, embedding_scale: 0.5, ..Gpt1
    }
    pub struct SinusoidalOdd { positions: Sinusoidal, embed: 33, heads: 3, mlp: Dense { hidden: 256 }, ..Gpt2 }
    pub struct Bidirectional { mask: Bidirectional, ..Gpt2 }
    pub struct BidirectionalPostGelu { mask: Bidirectional, mlp: Dense { hidden: 96, activation: Gelu }, ..Gpt1 }
    pub struct PostRopeGated { block: PostNorm, ..SmolLm2 }
    pub struct RopeLayerNorm { norm: LayerNorm { eps: 1e-3 }, bias: true, ..SmolLm2 }
    pub struct RmsLearned { norm: RmsNorm { eps: 1e-6 }, ..Gpt2 }
    pub struct Sandwich { layers: 3, block: Sandwich, residual_scale: 0.7, qk_norm: RmsNorm {}, ..SmolLm2 }
    pub struct PostBranch {
        block: PostBranch, qk_norm: RmsNorm { over: Width }, embed: 47, heads: 5, kv_heads: 1, head_dim: 14,
        positions: Rope { theta: 1_000.0 }, ..SmolLm2
    }
    pub struct Parallel {
        block: Parallel, head_bias: true, tie_embeddings: false, positions: Rope { theta: 1_000.0, dims: 4 }, ..Gpt2
    }
    pub struct ParallelNorms {
        block: Parallel { norms: 2 }, head_bias: true, vocab: 67, qk_norm: LayerNorm { over: EachHead },
        heads: 3, head_dim: 13, embed: 39, mlp: Dense { hidden: 256 }, ..Gpt2
    }
    pub struct QkNormWide {
        context: 40, layers: 1, heads: 5, kv_heads: 1, embed: 320, head_dim: 64,
        mlp: Gated { hidden: 680 }, qk_norm: LayerNorm { over: Width }, positions: Rope { dims: 8, theta: 100_000.0 }, ..SmolLm2
    }
    pub struct Alibi {
        positions: Alibi, embedding_norm: true, heads: 3, head_dim: 20, attention_softcap: 2.0, ..Gpt2
    }
    pub struct AlibiBidirectional {
        positions: Alibi { max_bias: 4.0 }, embedding_norm: true, mask: Bidirectional, window: 21, kv_heads: 2, ..Gpt1
    }
    pub struct Encoder {
        block: PostNorm, mask: Bidirectional, token_types: 2, embedding_norm: true, embedding_scale: 1.5,
        heads: 3, head_dim: 13, embed: 39, mlp: Dense { hidden: 256 }, ..Gpt2
    }
    pub struct MaskedWords {
        block: PostNorm, mask: Bidirectional, token_types: 1, embedding_norm: true, head_dense: true, head_bias: true,
        heads: 3, head_dim: 13, embed: 39, mlp: Dense { hidden: 53, activation: Gelu }, ..Gpt2
    }
    pub struct ModernEncoder {
        layers: 5, mask: Bidirectional, window: [None, 5, 5], positions: Rope { theta: [1_000.0, 100.0, 100.0] },
        norm: LayerNorm { eps: 1e-5, bias: false }, mlp: Gated { hidden: 43, activation: Gelu }, bias: false,
        embedding_norm: true, first_attn_bare: true, head_dense: true, head_bias: true,
        heads: 3, head_dim: 14, embed: 42, ..Gpt2
    }
    pub struct OneBareLayer { layers: 1, first_attn_bare: true, ..SmolLm2 }
    pub struct BareSandwich { block: Sandwich, first_attn_bare: true, qk_norm: RmsNorm, ..SmolLm2 }
    pub struct HeadDenseGated { head_dense: true, tie_embeddings: false, embed: 47, head_dim: 8, ..SmolLm2 }
    pub struct TokenTypesRope { token_types: 3, tie_embeddings: false, ..SmolLm2 }
    pub struct NarrowAttention { heads: 2, head_dim: 4, ..Gpt2 }
    pub struct ReluSquared { mlp: Dense { hidden: 90, activation: ReluSquared }, ..Gpt2 }
}

/// Calls `$each::<Model>(name)` for all models above, in the order of
/// [`specs::odd`](crate::specs::odd).
#[macro_export]
macro_rules! for_each_model {
    ($each:ident) => {{
        use $crate::models::*;
        $each::<Gpt2>("gpt2");
        $each::<SmolLm2>("smollm2");
        $each::<Gpt1>("gpt1");
        $each::<OneOfEverything>("one_of_everything");
        $each::<OneLayer>("one_layer");
        $each::<OneLayerPost>("one_layer_post");
        $each::<OneHead>("one_head");
        $each::<WideHead>("wide_head");
        $each::<Primes>("primes");
        $each::<PrimesGated>("primes_gated");
        $each::<GatedBias>("gated_bias");
        $each::<MultiQuery>("multi_query");
        $each::<Untied>("untied");
        $each::<UntiedRmsDense>("untied_rms_dense");
        $each::<NoBias>("no_bias");
        $each::<Sinusoidal>("sinusoidal");
        $each::<RopePattern>("rope_pattern");
        $each::<RopePartial>("rope_partial");
        $each::<RopeScalings>("rope_scalings");
        $each::<MaskPattern>("mask_pattern");
        $each::<PostPatterns>("post_patterns");
        $each::<Window>("window");
        $each::<WindowBidirectional>("window_bidirectional");
        $each::<AttentionSoftcap>("attention_softcap");
        $each::<NormWithoutParameters>("norm_without_parameters");
        $each::<PostNormWithoutParameters>("post_norm_without_parameters");
        $each::<RmsWithoutParameters>("rms_without_parameters");
        $each::<QkvBias>("qkv_bias");
        $each::<BiasWithoutQkv>("bias_without_qkv");
        $each::<OwnBiases>("own_biases");
        $each::<Scales>("scales");
        $each::<Softcap>("softcap");
        $each::<SoftcapPrimes>("softcap_primes");
        $each::<SinusoidalOdd>("sinusoidal_odd");
        $each::<Bidirectional>("bidirectional");
        $each::<BidirectionalPostGelu>("bidirectional_post_gelu");
        $each::<PostRopeGated>("post_rope_gated");
        $each::<RopeLayerNorm>("rope_layer_norm");
        $each::<RmsLearned>("rms_learned");
        $each::<Sandwich>("sandwich");
        $each::<PostBranch>("post_branch");
        $each::<Parallel>("parallel");
        $each::<ParallelNorms>("parallel_norms");
        $each::<QkNormWide>("qk_norm_wide");
        $each::<Alibi>("alibi");
        $each::<AlibiBidirectional>("alibi_bidirectional");
        $each::<Encoder>("encoder");
        $each::<MaskedWords>("masked_words");
        $each::<ModernEncoder>("modern_encoder");
        $each::<OneBareLayer>("one_bare_layer");
        $each::<BareSandwich>("bare_sandwich");
        $each::<HeadDenseGated>("head_dense_gated");
        $each::<TokenTypesRope>("token_types_rope");
        $each::<NarrowAttention>("narrow_attention");
        $each::<ReluSquared>("relu_squared");
    }};
}
