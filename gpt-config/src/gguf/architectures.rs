//! The architectures of llama.cpp that are read, and what distinguishes each from Llama.

use gpt_plan::{Activation, Block, Norm, NormKind, Spec, TensorNames};

use super::{Tensors, own};
use crate::activation;
use crate::fields::Fields;

/// An architecture.
pub struct Architecture {
    /// The value of `general.architecture`.
    pub name: &'static str,
    /// Whether the converter reorders the rows of queries and keys, so that those that rotate
    /// together are neighbours.
    pub pairs_are_neighbours: bool,
    /// The norm, with the epsilon of files that have none.
    pub norm: Norm,
    pub block: Block,
    pub gated: bool,
    pub activation: fn() -> Activation,
    pub positions: Encoding,
    /// The class of transformers whose tensors are fused as those of the GGUF.
    pub names: TensorNames,
    /// Reads what not every architecture has.
    pub own: fn(&mut Fields<'_>, &dyn Tensors, &mut Spec),
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

/// Llama's, which the others differ from.
const LLAMA: Architecture = Architecture {
    name: "llama",
    pairs_are_neighbours: true,
    norm: RMS,
    block: Block::PreNorm,
    gated: true,
    activation: || Activation::Silu,
    positions: Encoding::Rotary,
    names: TensorNames::Closest,
    own: own::windows_of_all,
};

/// Models with rotary pairs in the halves of a head.
const HALVES: Architecture = Architecture { pairs_are_neighbours: false, own: own::none, ..LLAMA };

/// Models with LayerNorm and an MLP without a gate, as GPT-2.
const DENSE: Architecture =
    Architecture { norm: LAYER, gated: false, activation: || Activation::GeluTanh, ..HALVES };

const GEMMA: Architecture = Architecture {
    name: "gemma",
    norm: Norm { unit_offset: true, ..RMS },
    activation: || Activation::GeluTanh,
    own: own::gemma,
    ..HALVES
};

pub static ARCHITECTURES: [Architecture; 22] = [
    Architecture { name: "gpt2", positions: Encoding::Learned, ..DENSE },
    LLAMA,
    Architecture { name: "qwen2", ..HALVES },
    Architecture { name: "qwen3", own: own::norms_of_heads, ..HALVES },
    GEMMA,
    Architecture { name: "gemma2", block: Block::Sandwich, own: own::gemma2, ..GEMMA },
    Architecture { name: "gemma3", block: Block::Sandwich, own: own::gemma3, ..GEMMA },
    Architecture {
        name: "phi2",
        block: Block::Parallel { norms: 1 },
        names: TensorNames::Phi,
        ..DENSE
    },
    Architecture { name: "phi3", names: TensorNames::Phi3, own: own::windows_of_all, ..HALVES },
    Architecture {
        name: "command-r",
        pairs_are_neighbours: true,
        norm: LAYER,
        block: Block::Parallel { norms: 1 },
        own: own::command_r,
        ..HALVES
    },
    Architecture { name: "granite", pairs_are_neighbours: true, own: own::granite, ..HALVES },
    Architecture { name: "smollm3", pairs_are_neighbours: true, own: own::smollm3, ..HALVES },
    Architecture {
        name: "olmo",
        pairs_are_neighbours: true,
        norm: Norm { affine: false, ..LAYER },
        own: own::no_clamp,
        ..HALVES
    },
    Architecture { name: "olmo2", block: Block::PostBranch, own: own::norms_of_width, ..HALVES },
    Architecture { name: "stablelm", norm: LAYER, own: own::stablelm, ..HALVES },
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
        own: own::gptneox,
        ..DENSE
    },
    Architecture {
        name: "falcon",
        activation: || Activation::Gelu,
        names: TensorNames::Falcon,
        own: own::falcon,
        ..DENSE
    },
    Architecture {
        name: "bloom",
        positions: Encoding::Alibi,
        names: TensorNames::Bloom,
        own: own::bloom,
        ..DENSE
    },
    Architecture {
        name: "mpt",
        activation: || Activation::Gelu,
        positions: Encoding::Alibi,
        names: TensorNames::Mpt,
        own: own::mpt,
        ..DENSE
    },
];
