//! Llama and the classes of transformers that have its keys.
//!
//! `classes` has a row for each class with its defaults, and `own` reads the keys that not every
//! class has.

mod classes;
mod own;

use gpt_plan::{Mlp, Norm, Positions, Spec};

use crate::fields::Fields;
use crate::gpt2::width_of_heads;
use crate::rope;

/// The classes that are read, as `model_type` names them.
pub const MODEL_TYPES: [&str; 18] = [
    "llama",
    "mistral",
    "qwen2",
    "qwen3",
    "gemma",
    "gemma2",
    "gemma3_text",
    "granite",
    "smollm3",
    "olmo",
    "olmo2",
    "phi",
    "phi3",
    "cohere",
    "stablelm",
    "starcoder2",
    "nemotron",
    "gpt_neox",
];

/// Reads a `config.json`.
pub fn config(fields: &mut Fields<'_>, model_type: &str) -> Spec {
    let class = classes::of(model_type);
    let embed = fields.size("hidden_size").unwrap_or(class.embed);
    let heads = fields.size("num_attention_heads").unwrap_or(class.heads);
    let layers = fields.layers("num_hidden_layers").unwrap_or(class.layers);
    let context = fields.size("max_position_embeddings").unwrap_or(class.context);
    // If the file says null, or if the class has no default, there are as many as query heads.
    let default_kv = class.kv_heads.filter(|_| !fields.has("num_key_value_heads"));
    let kv_heads = fields.size("num_key_value_heads").or(default_kv).unwrap_or(heads);
    let (width, number) = ("hidden_size", "num_attention_heads");
    let default_head = class.head_dim.filter(|_| !fields.has("head_dim"));
    let head_dim = match fields.size("head_dim").or(default_head) {
        Some(head_dim) => head_dim,
        None => width_of_heads(fields, (width, embed), (number, heads)),
    };
    let mut spec = Spec {
        vocab: fields.size("vocab_size").unwrap_or(class.vocab),
        context,
        layers,
        heads,
        kv_heads,
        embed,
        head_dim,
        norm: Norm {
            eps: class.eps.and_then(|key| fields.number(key)).unwrap_or(class.norm.eps),
            ..class.norm
        },
        mlp: Mlp {
            gated: true,
            hidden: fields.size("intermediate_size").unwrap_or(class.hidden),
            activation: fields.activation("hidden_act", class.activation),
        },
        positions: Positions::Rope(rope::read(fields, head_dim, context, class.rope)),
        bias: false,
        tie_embeddings: fields.flag("tie_word_embeddings").unwrap_or(class.tied),
        // Gemma 2's key, which this project reads for all of these classes.
        logit_softcap: fields.number("final_logit_softcapping"),
        ..Spec::default()
    };
    // Dropout matters only in training.
    fields.ignore(&[
        "attention_dropout",
        "hidden_dropout",
        "residual_dropout",
        "embedding_dropout",
    ]);
    own::keys(fields, model_type, &mut spec);
    spec
}
