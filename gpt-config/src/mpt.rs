//! MPT: `MptConfig` of transformers.

use gpt_plan::{Activation, Mlp, Norm, NormKind, Positions, Spec, TensorNames};
use serde_json::Value;

use crate::fields::{self, Fields};
use crate::gpt2::width_of_heads;

/// Reads a `config.json`. Defaults are those of `MptConfig`.
pub fn config(fields: &mut Fields<'_>, _model_type: &str) -> Spec {
    let embed = fields.size("d_model").unwrap_or(2_048);
    let heads = fields.size("n_heads").unwrap_or(16);
    let head_dim = width_of_heads(fields, ("d_model", embed), ("n_heads", heads));
    // The class has no biases, whatever `no_bias` says, and does not scale the logits.
    fields.only("no_bias", true);
    fields.only("logit_scale", Value::Null);
    fields.only("embedding_fraction", 1.0);
    // The class does not read this key. Its MLP is always four times as wide as the model.
    fields.only("expansion_ratio", 4);
    // The class always has ALiBi, so it does not read `learned_pos_emb`.
    fields.ignore(&["learned_pos_emb", "norm_type", "resid_pdrop", "emb_pdrop", "verbose"]);
    fields.ignore(&["init_device", "init_config", "tokenizer_name"]);
    let mut spec = Spec {
        vocab: fields.size("vocab_size").unwrap_or(50_368),
        context: fields.size("max_seq_len").unwrap_or(2_048),
        layers: fields.layers("n_layers").unwrap_or(24),
        heads,
        kv_heads: heads,
        embed,
        head_dim,
        norm: Norm {
            kind: NormKind::Layer,
            eps: fields.number("layer_norm_epsilon").unwrap_or(1e-5),
            ..Norm::default()
        },
        mlp: Mlp { gated: false, hidden: embed.saturating_mul(4), activation: Activation::Gelu },
        positions: Positions::Alibi { max_bias: 8.0 },
        bias: false,
        tie_embeddings: fields.flag("tie_word_embeddings").unwrap_or(true),
        names: TensorNames::Mpt,
        ..Spec::default()
    };
    match fields.value("attn_config") {
        None => {}
        Some(Value::Object(values)) => {
            let mut within = Fields::new("attn_config", String::new(), values);
            attention(&mut within, &mut spec);
            if let Err(problems) = within.finish(Spec::default()) {
                problems.into_iter().for_each(|problem| fields.fail(problem));
            }
        }
        Some(other) => {
            let (other, file) = (fields::text(other), fields.file());
            fields.fail(format!("attn_config is {other} in {file}; it has to be an object"));
        }
    }
    spec
}

/// Reads the object `attn_config`. Defaults are those of `MptAttentionConfig`.
fn attention(fields: &mut Fields<'_>, spec: &mut Spec) {
    fields.only("alibi", true);
    fields.only("attn_type", "multihead_attention");
    fields.only("clip_qkv", Value::Null);
    fields.only("prefix_lm", false);
    fields.only("qk_ln", false);
    fields.only("attn_uses_sequence_id", false);
    fields.ignore(&["attn_pdrop", "attn_impl", "model_type", "transformers_version"]);
    spec.attention_scale = fields.number("softmax_scale");
    let max_bias = fields.number("alibi_bias_max").unwrap_or(8.0);
    spec.positions = Positions::Alibi { max_bias };
}
