//! The defaults of each class of transformers that has Llama's keys, from its `configuration_*.py`.

use gpt_plan::{Activation, Norm, NormKind};

use crate::{activation, rope};

/// The defaults of a class of transformers for absent keys.
#[derive(Clone)]
pub struct Class {
    pub model_type: &'static str,
    pub vocab: u32,
    pub embed: u32,
    pub hidden: u32,
    pub layers: u32,
    pub heads: u32,
    /// `None`: as many as query heads.
    pub kv_heads: Option<u32>,
    /// `None`: the width divided by the number of heads.
    pub head_dim: Option<u32>,
    pub context: u32,
    pub tied: bool,
    pub activation: Activation,
    pub rope: rope::Defaults,
    /// The norm, with the default of its epsilon.
    pub norm: Norm,
    /// The key of the epsilon, if the class has one.
    pub eps: Option<&'static str>,
}

/// `LlamaConfig`. The other classes are written as differences from it.
const LLAMA: Class = Class {
    model_type: "llama",
    vocab: 32_000,
    embed: 4_096,
    hidden: 11_008,
    layers: 32,
    heads: 32,
    kv_heads: None,
    head_dim: None,
    context: 2_048,
    tied: false,
    activation: Activation::Silu,
    rope: rope::USUAL,
    norm: RMS,
    eps: Some("rms_norm_eps"),
};

const RMS: Norm =
    Norm { kind: NormKind::Rms, eps: 1e-6, affine: true, bias: None, unit_offset: false };

/// LayerNorm with a shift, whether or not the model has other biases.
const LAYER: Norm = Norm { kind: NormKind::Layer, eps: 1e-5, bias: Some(true), ..RMS };

static CLASSES: [Class; 16] = [
    LLAMA,
    Class { model_type: "mistral", hidden: 14_336, kv_heads: Some(8), context: 131_072, ..LLAMA },
    Class {
        model_type: "qwen2",
        vocab: 151_936,
        hidden: 22_016,
        kv_heads: Some(32),
        context: 32_768,
        ..LLAMA
    },
    Class {
        model_type: "gemma",
        vocab: 256_000,
        embed: 3_072,
        hidden: 24_576,
        layers: 28,
        heads: 16,
        kv_heads: Some(16),
        head_dim: Some(256),
        context: 8_192,
        tied: true,
        activation: Activation::GeluTanh,
        norm: Norm { unit_offset: true, ..RMS },
        ..LLAMA
    },
    Class { model_type: "granite", ..LLAMA },
    Class {
        model_type: "smollm3",
        vocab: 128_256,
        embed: 2_048,
        layers: 36,
        heads: 16,
        kv_heads: Some(4),
        context: 32_768,
        tied: true,
        rope: rope::Defaults { theta: 2_000_000.0, partial: 1.0, ..rope::USUAL },
        ..LLAMA
    },
    Class {
        model_type: "olmo",
        vocab: 50_304,
        norm: Norm { affine: false, bias: None, ..LAYER },
        eps: None,
        ..LLAMA
    },
    Class {
        model_type: "stablelm",
        vocab: 50_304,
        embed: 2_560,
        hidden: 6_912,
        kv_heads: Some(32),
        context: 4_096,
        rope: rope::Defaults { theta: 10_000.0, partial: 0.25, ..rope::USUAL },
        norm: LAYER,
        eps: Some("layer_norm_eps"),
        ..LLAMA
    },
    Class {
        model_type: "starcoder2",
        vocab: 49_152,
        embed: 3_072,
        hidden: 12_288,
        layers: 30,
        heads: 24,
        kv_heads: Some(2),
        context: 4_096,
        tied: true,
        activation: Activation::GeluTanh,
        norm: Norm { bias: None, ..LAYER },
        eps: Some("norm_epsilon"),
        ..LLAMA
    },
    Class {
        model_type: "qwen3",
        vocab: 151_936,
        hidden: 22_016,
        kv_heads: Some(32),
        head_dim: Some(128),
        context: 32_768,
        ..LLAMA
    },
    Class { model_type: "gemma2", ..GEMMA2 },
    Class {
        model_type: "gemma3_text",
        vocab: 262_208,
        context: 131_072,
        rope: rope::Defaults { theta: 1_000_000.0, ..rope::USUAL },
        ..GEMMA2
    },
    Class { model_type: "olmo2", vocab: 50_304, norm: Norm { eps: 1e-5, ..RMS }, ..LLAMA },
    Class {
        model_type: "phi",
        vocab: 51_200,
        embed: 2_048,
        hidden: 8_192,
        layers: 24,
        activation: Activation::GeluTanh,
        rope: rope::Defaults { theta: 10_000.0, partial: 0.5, ..rope::USUAL },
        norm: Norm { bias: None, ..LAYER },
        eps: Some("layer_norm_eps"),
        ..LLAMA
    },
    Class {
        model_type: "phi3",
        vocab: 32_064,
        embed: 3_072,
        hidden: 8_192,
        context: 4_096,
        norm: Norm { eps: 1e-5, ..RMS },
        ..LLAMA
    },
    Class {
        model_type: "cohere",
        vocab: 256_000,
        embed: 8_192,
        hidden: 22_528,
        layers: 40,
        heads: 64,
        context: 8_192,
        tied: true,
        rope: rope::Defaults { theta: 500_000.0, partial: 1.0, ..rope::USUAL },
        norm: Norm { bias: Some(false), ..LAYER },
        eps: Some("layer_norm_eps"),
        ..LLAMA
    },
];

/// `Gemma2Config`.
const GEMMA2: Class = Class {
    model_type: "gemma2",
    vocab: 256_000,
    embed: 2_304,
    hidden: 9_216,
    layers: 26,
    heads: 8,
    kv_heads: Some(4),
    head_dim: Some(256),
    context: 8_192,
    tied: true,
    activation: Activation::GeluTanh,
    norm: Norm { unit_offset: true, ..RMS },
    ..LLAMA
};

/// `GPTNeoXConfig`.
const GPT_NEOX: Class = Class {
    model_type: "gpt_neox",
    vocab: 50_432,
    embed: 6_144,
    hidden: 24_576,
    layers: 44,
    heads: 64,
    activation: Activation::Gelu,
    rope: rope::Defaults { partial: 0.25, keys: ["rotary_emb_base", "rotary_pct"], ..rope::USUAL },
    norm: LAYER,
    eps: Some("layer_norm_eps"),
    ..LLAMA
};

/// `NemotronConfig`. Its activation cannot be built in a `const`.
fn nemotron() -> Class {
    Class {
        model_type: "nemotron",
        vocab: 256_000,
        embed: 6_144,
        hidden: 24_576,
        heads: 48,
        context: 4_096,
        activation: activation::relu_squared(),
        rope: rope::Defaults { theta: 10_000.0, partial: 0.5, ..rope::USUAL },
        norm: Norm { unit_offset: true, ..LAYER },
        eps: Some("norm_eps"),
        ..LLAMA
    }
}

/// The class that `model_type` names.
pub fn of(model_type: &str) -> Class {
    match model_type {
        "nemotron" => nemotron(),
        "gpt_neox" => GPT_NEOX,
        _ => CLASSES.iter().find(|class| class.model_type == model_type).cloned().unwrap_or(LLAMA),
    }
}
