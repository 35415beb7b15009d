//! The built-in presets that a model may use as its base.
//!
//! They are specs in source form, so a default that depends on an overridden key follows it.

/// Name, spec, description.
pub const PRESETS: [(&str, &str, &str); 7] = [
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
        "vocab: 49_152, context: 8_192, layers: 30, heads: 9, kv_heads: 3, embed: 576, norm: RmsNorm { eps: 1e-5 }, \
         mlp: Gated { hidden: 1_536, activation: Silu }, positions: Rope { theta: 100_000.0 }, bias: false",
        "SmolLM2, 135M (Hugging Face 2024)",
    ),
    (
        "SMOLLM2_360M",
        "vocab: 49_152, context: 8_192, layers: 32, heads: 15, kv_heads: 5, embed: 960, norm: RmsNorm { eps: 1e-5 }, \
         mlp: Gated { hidden: 2_560, activation: Silu }, positions: Rope { theta: 100_000.0 }, bias: false",
        "SmolLM2, 360M",
    ),
    (
        "GPT1",
        "vocab: 40_478, context: 512, layers: 12, heads: 12, embed: 768, block: PostNorm",
        "the first GPT, 117M, the article's post-norm block (Radford et al. 2018)",
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
