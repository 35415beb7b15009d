//! The metadata of a GGUF, by the architectures of llama.cpp, in both directions.
//!
//! `architectures` has a row for each architecture, with its differences from Llama. `own` has the
//! keys and tensors that only some architectures have, and `rope` the rotary embedding. Keys that
//! all have are read here, and written in `write`. `loader` has the rules by which llama.cpp
//! refuses files. An absent key has the default of llama.cpp (`src/models` of its sources). Biases,
//! an untied head and some norms are recognised by their tensors.
//!
//! Where a class of transformers and llama.cpp differ in the activation, the spec follows the
//! class: llama.cpp computes every GELU by the tanh approximation.

mod architectures;
mod loader;
mod own;
mod rope;
#[cfg(test)]
mod tests;
mod write;

pub use write::{GgufMetadata, gguf_metadata};

use gpt_plan::{Mlp, Norm, NormKind, Positions, Spec};
use serde_json::{Map, Value};

use crate::fields::{self, Fields};
use crate::gpt2::width_of_heads;
use crate::nearest;
use architectures::{ARCHITECTURES, Architecture, Encoding};

const ZERO_BIASES: &str = "zero_biases";
const LAYER_EPS: &str = "attention.layer_norm_epsilon";
const RMS_EPS: &str = "attention.layer_norm_rms_epsilon";

/// The tensors of a GGUF.
pub trait Tensors {
    /// The shape of the tensor called `name`, the slowest dimension first.
    fn shape(&self, name: &str) -> Option<Vec<u64>>;

    /// The values of the tensor called `name`, if it is a vector of at most `most` elements.
    fn vector(&self, name: &str, most: u32) -> Option<Vec<f32>>;

    /// Whether there is a tensor called `name`.
    fn has(&self, name: &str) -> bool {
        self.shape(name).is_some()
    }
}

/// The supported values of `general.architecture` in a GGUF.
pub fn architectures() -> impl Iterator<Item = &'static str> {
    ARCHITECTURES.iter().map(|architecture| architecture.name)
}

/// Whether, in a GGUF of this architecture, rows of queries and keys that rotate together are
/// neighbours. llama.cpp's converter reorders them for some architectures.
pub fn pairs_are_neighbours(architecture: &str) -> bool {
    let mut known = ARCHITECTURES.iter();
    known.any(|known| known.name == architecture && known.pairs_are_neighbours)
}

/// The spec that the metadata and the tensors of a GGUF describe. Of `metadata`, only
/// `general.architecture` and the keys of the architecture are read.
///
/// # Errors
/// Fails with all problems of the file, one sentence each.
pub fn gguf_description(
    metadata: &Map<String, Value>,
    tensors: &dyn Tensors,
) -> Result<Spec, Vec<String>> {
    const KEY: &str = "general.architecture";
    let Some(name) = metadata.get(KEY).and_then(Value::as_str) else {
        return Err(vec![format!("the metadata has no {KEY}")]);
    };
    let Some(architecture) = ARCHITECTURES.iter().find(|known| known.name == name) else {
        return Err(vec![format!(
            "the architecture {} of the GGUF is not supported; {}",
            fields::short(name),
            nearest(name, architectures())
        )]);
    };
    let mut fields = Fields::new("the metadata", format!("{name}."), metadata);
    let mut spec = read(&mut fields, tensors, architecture);
    (architecture.own.read)(&mut fields, tensors, &mut spec);
    fields.finish(spec)
}

/// Reads what all architectures have.
fn read(fields: &mut Fields<'_>, tensors: &dyn Tensors, architecture: &Architecture) -> Spec {
    let embed = fields.required("embedding_length");
    let heads = fields.required("attention.head_count");
    let kv_heads = fields.size("attention.head_count_kv").unwrap_or(heads);
    let head_dim = match fields.size("attention.key_length") {
        Some(head_dim) => head_dim,
        None => {
            width_of_heads(fields, ("embedding_length", embed), ("attention.head_count", heads))
        }
    };
    fields.only("attention.value_length", head_dim);
    fields.only("attention.causal", true);
    fields.only("expert_count", 0);
    fields.only("expert_used_count", 0);
    // The order of rows, which follows from the architecture.
    fields.ignore(&["tensor_data_layout"]);
    let positions = match architecture.positions {
        Encoding::Learned => Positions::Learned,
        Encoding::Alibi => Positions::Alibi { max_bias: 8.0 },
        Encoding::Rotary => Positions::Rope(rope::read(fields, tensors, head_dim)),
    };
    let norm = norm(fields, architecture.norm);
    // A key of this project. If it is true, all biases in the file are zeros, which were added
    // because llama.cpp requires them; the model has no biases.
    let zeros = fields.flag(ZERO_BIASES).unwrap_or(false);
    let has = |name: &str| !zeros && tensors.has(name);
    let bias = has("blk.0.attn_output.bias");
    let unless_same = |own: bool| (own != bias).then_some(own);
    let qkv = ["blk.0.attn_q.bias", "blk.0.attn_qkv.bias"].iter().any(|name| has(name));
    let has_shift = norm.kind == NormKind::Layer && norm.affine;
    Spec {
        vocab: vocab(fields, tensors),
        context: fields.required("context_length"),
        layers: fields.required_layers("block_count"),
        heads,
        kv_heads,
        embed,
        head_dim,
        norm: Norm { bias: unless_same(has("output_norm.bias")).filter(|_| has_shift), ..norm },
        block: architecture.block,
        mlp: Mlp {
            gated: architecture.gated,
            hidden: fields.required("feed_forward_length"),
            // A key of this project, for a model whose activation is not the architecture's.
            activation: fields.activation("hidden_activation", (architecture.activation)()),
        },
        positions,
        bias,
        qkv_bias: unless_same(qkv),
        mlp_bias: unless_same(has("blk.0.ffn_up.bias")),
        head_bias: tensors.has("output.bias"),
        tie_embeddings: !tensors.has("output.weight"),
        names: architecture.names,
        ..Spec::default()
    }
}

/// The norm of an architecture, with the epsilon of the file. The epsilon of the other kind of norm
/// is ignored.
fn norm(fields: &mut Fields<'_>, norm: Norm) -> Norm {
    fields.ignore(&[LAYER_EPS, RMS_EPS]);
    Norm { eps: fields.number(eps_key(norm.kind)).unwrap_or(norm.eps), ..norm }
}

fn eps_key(kind: NormKind) -> &'static str {
    match kind {
        NormKind::Layer => LAYER_EPS,
        NormKind::Rms => RMS_EPS,
    }
}

/// The number of tokens: the rows of the embedding. Files may repeat it in their metadata.
fn vocab(fields: &mut Fields<'_>, tensors: &dyn Tensors) -> u32 {
    const EMBEDDING: &str = "token_embd.weight";
    let rows = tensors.shape(EMBEDDING).and_then(|shape| shape.first().copied());
    let rows = rows.and_then(|rows| u32::try_from(rows).ok()).filter(|rows| *rows > 0);
    match rows {
        Some(rows) => {
            fields.only("vocab_size", rows);
            rows
        }
        None => {
            fields.ignore(&["vocab_size"]);
            fields.fail(format!("the file has no tensor {EMBEDDING} with a row for each token"));
            1
        }
    }
}
