//! OPT: `OPTConfig` of transformers.

use gpt_plan::{Activation, Mlp, Norm, NormKind, Positions, Spec, TensorNames};

use crate::fields::Fields;
use crate::gpt2::width_of_heads;

/// Reads a `config.json`. Defaults are those of `OPTConfig`.
pub fn config(fields: &mut Fields<'_>, _model_type: &str) -> Spec {
    let embed = fields.size("hidden_size").unwrap_or(768);
    let heads = fields.size("num_attention_heads").unwrap_or(12);
    // OPT-350M has other values: its norms follow the residuals, and it projects embeddings.
    fields.only("do_layer_norm_before", true);
    fields.only("word_embed_proj_dim", embed);
    fields.only("_remove_final_layer_norm", false);
    fields.ignore(&["dropout", "attention_dropout", "activation_dropout", "layerdrop", "init_std"]);
    fields.ignore(&["prefix"]);
    let affine = fields.flag("layer_norm_elementwise_affine").unwrap_or(true);
    let bias = fields.flag("enable_bias").unwrap_or(true);
    Spec {
        vocab: fields.size("vocab_size").unwrap_or(50_272),
        context: fields.size("max_position_embeddings").unwrap_or(2_048),
        layers: fields.layers("num_hidden_layers").unwrap_or(12),
        heads,
        kv_heads: heads,
        embed,
        head_dim: width_of_heads(fields, ("hidden_size", embed), ("num_attention_heads", heads)),
        // The class has no key for the epsilon.
        norm: Norm { kind: NormKind::Layer, eps: 1e-5, affine, ..Norm::default() },
        mlp: Mlp {
            gated: false,
            hidden: fields.size("ffn_dim").unwrap_or(3_072),
            activation: fields.activation("activation_function", Activation::Relu),
        },
        positions: Positions::Learned,
        bias,
        tie_embeddings: fields.flag("tie_word_embeddings").unwrap_or(true),
        names: TensorNames::Opt,
        ..Spec::default()
    }
}
