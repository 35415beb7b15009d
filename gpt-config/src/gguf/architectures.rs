//! The architectures of llama.cpp that are read and written, and their differences from Llama.

use gpt_plan::{Activation, Block, Norm, NormKind, TensorNames};

use super::own::{self, Own};
use crate::activation;

/// An architecture.
pub struct Architecture {
    /// The value of `general.architecture`.
    pub name: &'static str,
    /// Whether rows of queries and keys that rotate together are neighbours in a file, because the
    /// converter reorders them or the model has them so.
    pub pairs_are_neighbours: bool,
    /// The norm, with the epsilon of files that have none.
    pub norm: Norm,
    pub block: Block,
    pub gated: bool,
    pub activation: fn() -> Activation,
    pub positions: Encoding,
    /// The class of transformers that fuses tensors as the GGUF does.
    pub names: TensorNames,
    /// The keys that not every architecture has.
    pub own: Own,
    /// Biases without which llama.cpp refuses a file. If a model has none of them, they are written
    /// as zeros.
    pub biases: &'static [&'static str],
}

/// How a model encodes positions.
pub enum Encoding {
    Learned,
    Rotary,
    Alibi,
}

const RMS: Norm =
    Norm { kind: NormKind::Rms, eps: 1e-5, affine: true, bias: None, unit_offset: false };
const LAYER: Norm = Norm { kind: NormKind::Layer, ..RMS };

/// Llama's architecture. The others are written as differences from it.
const LLAMA: Architecture = Architecture {
    name: "llama",
    pairs_are_neighbours: true,
    norm: RMS,
    block: Block::PreNorm,
    gated: true,
    activation: || Activation::Silu,
    positions: Encoding::Rotary,
    names: TensorNames::Closest,
    own: own::WINDOWS_OF_ALL,
    biases: &[],
};

/// The biases of GPT-2.
const BIASES: &[&str] = &[
    "output_norm.bias",
    "blk.{layer}.attn_norm.bias",
    "blk.{layer}.attn_qkv.bias",
    "blk.{layer}.attn_output.bias",
    "blk.{layer}.ffn_norm.bias",
    "blk.{layer}.ffn_up.bias",
    "blk.{layer}.ffn_down.bias",
];

/// Models with rotary pairs in the halves of a head.
const HALVES: Architecture = Architecture { pairs_are_neighbours: false, own: own::NONE, ..LLAMA };

/// Models with LayerNorm and an MLP without a gate, like GPT-2.
const DENSE: Architecture =
    Architecture { norm: LAYER, gated: false, activation: || Activation::GeluTanh, ..HALVES };

const GEMMA: Architecture = Architecture {
    name: "gemma",
    norm: Norm { unit_offset: true, ..RMS },
    activation: || Activation::GeluTanh,
    own: own::GEMMA,
    ..HALVES
};

pub static ARCHITECTURES: [Architecture; 22] = [
    Architecture { name: "gpt2", positions: Encoding::Learned, biases: BIASES, ..DENSE },
    LLAMA,
    Architecture { name: "qwen2", ..HALVES },
    Architecture { name: "qwen3", own: own::NORMS_OF_HEADS, ..HALVES },
    GEMMA,
    Architecture { name: "gemma2", block: Block::Sandwich, own: own::GEMMA2, ..GEMMA },
    Architecture { name: "gemma3", block: Block::Sandwich, own: own::GEMMA3, ..GEMMA },
    Architecture {
        name: "phi2",
        block: Block::Parallel { norms: 1 },
        names: TensorNames::Phi,
        ..DENSE
    },
    Architecture { name: "phi3", names: TensorNames::Phi3, own: own::WINDOWS_OF_ALL, ..HALVES },
    Architecture {
        name: "command-r",
        pairs_are_neighbours: true,
        norm: LAYER,
        block: Block::Parallel { norms: 1 },
        own: own::COMMAND_R,
        ..HALVES
    },
    Architecture { name: "granite", pairs_are_neighbours: true, own: own::GRANITE, ..HALVES },
    Architecture { name: "smollm3", pairs_are_neighbours: true, own: own::SMOLLM3, ..HALVES },
    Architecture {
        name: "olmo",
        pairs_are_neighbours: true,
        norm: Norm { affine: false, ..LAYER },
        own: own::NO_CLAMP,
        ..HALVES
    },
    Architecture { name: "olmo2", block: Block::PostBranch, own: own::NORMS_OF_WIDTH, ..HALVES },
    Architecture { name: "stablelm", norm: LAYER, own: own::STABLELM, ..HALVES },
    Architecture { name: "starcoder2", ..DENSE },
    Architecture {
        name: "starcoder",
        positions: Encoding::Learned,
        names: TensorNames::GptBigCode,
        ..DENSE
    },
    Architecture {
        name: "nemotron",
        norm: Norm { unit_offset: true, ..LAYER },
        activation: activation::relu_squared,
        ..DENSE
    },
    Architecture {
        name: "gptneox",
        activation: || Activation::Gelu,
        names: TensorNames::GptNeoX,
        own: own::GPTNEOX,
        ..DENSE
    },
    Architecture {
        name: "falcon",
        activation: || Activation::Gelu,
        names: TensorNames::Falcon,
        own: own::FALCON,
        ..DENSE
    },
    Architecture {
        name: "bloom",
        positions: Encoding::Alibi,
        names: TensorNames::Bloom,
        own: own::BLOOM,
        ..DENSE
    },
    Architecture {
        name: "mpt",
        activation: || Activation::Gelu,
        positions: Encoding::Alibi,
        names: TensorNames::Mpt,
        own: own::MPT,
        ..DENSE
    },
];
