//! The built-in presets that a model may use as its base.
//!
//! They are specs in source form, so a default that depends on an overridden key follows it.

/// Name, spec, description.
pub const PRESETS: [(&str, &str, &str); 24] = [
    (
        "GPT2_SMALL",
        "vocab: 50_257, context: 1_024, layers: 12, heads: 12, embed: 768",
        "GPT-2, 124M parameters (Radford et al. 2019)",
    ),
    (
        "GPT2_MEDIUM",
        "vocab: 50_257, context: 1_024, layers: 24, heads: 16, embed: 1_024",
        "GPT-2, 355M",
    ),
    (
        "GPT2_LARGE",
        "vocab: 50_257, context: 1_024, layers: 36, heads: 20, embed: 1_280",
        "GPT-2, 774M",
    ),
    (
        "GPT2_XL",
        "vocab: 50_257, context: 1_024, layers: 48, heads: 25, embed: 1_600",
        "GPT-2, 1.6B",
    ),
    (
        "SMOLLM2_135M",
        "vocab: 49_152, context: 8_192, layers: 30, heads: 9, kv_heads: 3, embed: 576, \
         norm: RmsNorm { eps: 1e-5 }, mlp: Gated { hidden: 1_536, activation: Silu }, \
         positions: Rope { theta: 100_000.0 }, bias: false",
        "SmolLM2, 135M (Hugging Face 2024)",
    ),
    (
        "SMOLLM2_360M",
        "vocab: 49_152, context: 8_192, layers: 32, heads: 15, kv_heads: 5, embed: 960, \
         norm: RmsNorm { eps: 1e-5 }, mlp: Gated { hidden: 2_560, activation: Silu }, \
         positions: Rope { theta: 100_000.0 }, bias: false",
        "SmolLM2, 360M",
    ),
    (
        "GPT1",
        "vocab: 40_478, context: 512, layers: 12, heads: 12, embed: 768, block: PostNorm",
        "the first GPT, 117M, with post-norm blocks (Radford et al. 2018)",
    ),
    (
        "QWEN2_5_0_5B",
        "vocab: 151_936, context: 32_768, layers: 24, heads: 14, kv_heads: 2, embed: 896, \
         norm: RmsNorm { eps: 1e-6 }, mlp: Gated { hidden: 4_864, activation: Silu }, \
         positions: Rope { theta: 1_000_000.0 }, bias: false, qkv_bias: true",
        "Qwen 2.5, 0.5B (Alibaba 2024)",
    ),
    (
        "QWEN3_0_6B",
        "vocab: 151_936, context: 40_960, layers: 28, heads: 16, kv_heads: 8, embed: 1_024, head_dim: 128, \
         norm: RmsNorm { eps: 1e-6 }, mlp: Gated { hidden: 3_072, activation: Silu }, \
         positions: Rope { theta: 1_000_000.0 }, qk_norm: RmsNorm { eps: 1e-6 }, bias: false",
        "Qwen 3, 0.6B (Alibaba 2025)",
    ),
    (
        "LLAMA3_2_1B",
        "vocab: 128_256, context: 131_072, layers: 16, heads: 32, kv_heads: 8, embed: 2_048, \
         norm: RmsNorm { eps: 1e-5 }, mlp: Gated { hidden: 8_192, activation: Silu }, \
         positions: Rope { theta: 500_000.0, scaling: Llama3 { factor: 32.0, original_context: 8_192 } }, \
         bias: false",
        "Llama 3.2, 1B (Meta 2024)",
    ),
    (
        "GEMMA3_270M",
        "vocab: 262_144, context: 32_768, layers: 18, heads: 4, kv_heads: 1, embed: 640, head_dim: 256, \
         norm: RmsNorm { eps: 1e-6, unit_offset: true }, block: Sandwich, \
         mlp: Gated { hidden: 2_048, activation: GeluTanh }, \
         positions: Rope { theta: [10_000.0, 10_000.0, 10_000.0, 10_000.0, 10_000.0, 1_000_000.0] }, \
         window: [512, 512, 512, 512, 512, None], attention_scale: 0.0625, \
         qk_norm: RmsNorm { eps: 1e-6, unit_offset: true }, bias: false, \
         embedding_scale: 25.298221281347036",
        "Gemma 3, 270M (Google 2025)",
    ),
    (
        "GEMMA3_1B",
        "vocab: 262_144, context: 32_768, layers: 26, heads: 4, kv_heads: 1, embed: 1_152, head_dim: 256, \
         norm: RmsNorm { eps: 1e-6, unit_offset: true }, block: Sandwich, \
         mlp: Gated { hidden: 6_912, activation: GeluTanh }, \
         positions: Rope { theta: [10_000.0, 10_000.0, 10_000.0, 10_000.0, 10_000.0, 1_000_000.0] }, \
         window: [512, 512, 512, 512, 512, None], attention_scale: 0.0625, \
         qk_norm: RmsNorm { eps: 1e-6, unit_offset: true }, bias: false, embedding_scale: 33.94112549695428",
        "Gemma 3, 1B (Google 2025)",
    ),
    (
        "SMOLLM3_3B",
        "vocab: 128_256, context: 65_536, layers: 36, heads: 16, kv_heads: 4, embed: 2_048, \
         norm: RmsNorm { eps: 1e-6 }, mlp: Gated { hidden: 11_008, activation: Silu }, \
         positions: Rope { theta: [5_000_000.0, 5_000_000.0, 5_000_000.0, None] }, bias: false",
        "SmolLM3, 3B (Hugging Face 2025)",
    ),
    (
        "PHI3_MINI",
        "vocab: 32_064, context: 4_096, layers: 32, heads: 32, embed: 3_072, norm: RmsNorm { eps: 1e-5 }, \
         mlp: Gated { hidden: 8_192, activation: Silu }, positions: Rope, window: 2_047, bias: false, \
         tie_embeddings: false, names: Phi3",
        "Phi-3-mini-4k, 3.8B (Microsoft 2024)",
    ),
    (
        "OLMO2_1B",
        "vocab: 100_352, context: 4_096, layers: 16, heads: 16, embed: 2_048, norm: RmsNorm { eps: 1e-6 }, \
         block: PostBranch, mlp: Gated { hidden: 8_192, activation: Silu }, \
         positions: Rope { theta: 500_000.0 }, qk_norm: RmsNorm { over: Width, eps: 1e-6 }, bias: false, \
         tie_embeddings: false",
        "OLMo 2, 1B (Ai2 2025)",
    ),
    (
        "PYTHIA_70M",
        "vocab: 50_304, context: 2_048, layers: 6, heads: 8, embed: 512, block: Parallel { norms: 2 }, \
         mlp: Dense { activation: Gelu }, positions: Rope { dims: 16 }, \
         tie_embeddings: false, names: GptNeoX",
        "Pythia, 70M (EleutherAI 2023)",
    ),
    (
        "PYTHIA_160M",
        "vocab: 50_304, context: 2_048, layers: 12, heads: 12, embed: 768, block: Parallel { norms: 2 }, \
         mlp: Dense { activation: Gelu }, positions: Rope { dims: 16 }, \
         tie_embeddings: false, names: GptNeoX",
        "Pythia, 160M",
    ),
    (
        "PYTHIA_410M",
        "vocab: 50_304, context: 2_048, layers: 24, heads: 16, embed: 1_024, block: Parallel { norms: 2 }, \
         mlp: Dense { activation: Gelu }, positions: Rope { dims: 16 }, \
         tie_embeddings: false, names: GptNeoX",
        "Pythia, 410M",
    ),
    (
        "GPT_NEO_125M",
        "vocab: 50_257, context: 2_048, layers: 12, heads: 12, embed: 768, window: [None, 256], \
         attention_scale: 1.0, qkv_bias: false, names: GptNeo",
        "GPT-Neo, 125M (EleutherAI 2021)",
    ),
    (
        "STARCODER2_3B",
        "vocab: 49_152, context: 16_384, layers: 30, heads: 24, kv_heads: 2, embed: 3_072, \
         positions: Rope { theta: 999_999.4420358813 }, window: 4_096",
        "StarCoder 2, 3B (BigCode 2024)",
    ),
    (
        "ALL_MINILM_L6",
        "vocab: 30_522, context: 512, layers: 6, heads: 12, embed: 384, norm: LayerNorm { eps: 1e-12 }, \
         block: PostNorm, mlp: Dense { activation: Gelu }, mask: Bidirectional, token_types: 2, \
         embedding_norm: true, names: Bert",
        "all-MiniLM-L6, 23M, an encoder for search (sentence-transformers 2021)",
    ),
    (
        "BGE_SMALL_EN",
        "vocab: 30_522, context: 512, layers: 12, heads: 12, embed: 384, norm: LayerNorm { eps: 1e-12 }, \
         block: PostNorm, mlp: Dense { activation: Gelu }, mask: Bidirectional, token_types: 2, \
         embedding_norm: true, names: Bert",
        "bge-small-en, 33M, an encoder for search (BAAI 2023)",
    ),
    (
        "ROBERTA_BASE",
        "vocab: 50_265, context: 512, layers: 12, heads: 12, embed: 768, block: PostNorm, \
         mlp: Dense { activation: Gelu }, mask: Bidirectional, head_dense: true, head_bias: true, \
         token_types: 1, embedding_norm: true, names: Roberta",
        "RoBERTa, 125M, with its head for masked words (Liu et al. 2019)",
    ),
    (
        "MODERNBERT_BASE",
        "vocab: 50_368, context: 8_192, layers: 22, heads: 12, embed: 768, \
         mlp: Gated { hidden: 1_152, activation: Gelu }, \
         positions: Rope { theta: [160_000.0, 10_000.0, 10_000.0] }, mask: Bidirectional, \
         window: [None, 65, 65], bias: false, head_dense: true, head_bias: true, \
         embedding_norm: true, first_attn_bare: true, names: ModernBert",
        "ModernBERT, 149M, with its head for masked words (Warner et al. 2024)",
    ),
];

/// The presets as a Markdown list, for the documentation of `gpt_model!`.
pub fn reference() -> String {
    PRESETS.iter().map(|(name, _, description)| format!("- `{name}`: {description}\n")).collect()
}

/// The spec of the preset called `name`.
pub fn find(name: &str) -> Option<&'static str> {
    PRESETS.iter().find(|(known, ..)| *known == name).map(|(_, spec, _)| *spec)
}
