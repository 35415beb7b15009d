//! Falcon: `FalconConfig` of transformers.

use gpt_plan::{Activation, Block, Mlp, Norm, NormKind, Positions, Spec, TensorNames};

use crate::fields::Fields;
use crate::gpt2::width_of_heads;
use crate::rope;

/// Reads a `config.json`. Defaults are those of `FalconConfig`.
pub fn config(fields: &mut Fields<'_>, _model_type: &str) -> Spec {
    // `n_embed` is the key of old files.
    let embed = fields.size("hidden_size").or(fields.size("n_embed")).unwrap_or(4_544);
    let heads = fields.size("num_attention_heads").or(fields.size("n_head")).unwrap_or(71);
    let layers = fields.layers("num_hidden_layers").or(fields.layers("n_layer")).unwrap_or(32);
    let context = fields.size("max_position_embeddings").unwrap_or(2_048);
    let head_dim = width_of_heads(fields, ("hidden_size", embed), ("num_attention_heads", heads));
    let new = fields.flag("new_decoder_architecture").unwrap_or(false);
    let multi_query = fields.flag("multi_query").unwrap_or(true);
    let parallel = fields.flag("parallel_attn").unwrap_or(true);
    let norms = fields.size("num_ln_in_parallel_attn");
    // If the file has no number of key heads, or null, there are as many as query heads.
    let listed = fields.size("num_kv_heads").or(fields.size("n_head_kv"));
    let kv_heads = match (new, multi_query) {
        (true, _) => listed.unwrap_or(heads),
        (false, true) => 1,
        (false, false) => heads,
    };
    fields.only("alibi", false);
    fields.ignore(&[
        "hidden_dropout",
        "attention_dropout",
        "apply_residual_connection_post_layernorm",
    ]);
    let block = match (parallel, new) {
        // The new architecture is always parallel.
        (_, true) => Block::Parallel { norms: norms.unwrap_or(2) },
        (true, false) => Block::Parallel { norms: 1 },
        (false, false) => Block::PreNorm,
    };
    let bias = fields.flag("bias").unwrap_or(false);
    Spec {
        vocab: fields.size("vocab_size").unwrap_or(65_024),
        context,
        layers,
        heads,
        kv_heads,
        embed,
        head_dim,
        norm: Norm {
            kind: NormKind::Layer,
            eps: fields.number("layer_norm_epsilon").unwrap_or(1e-5),
            bias: (!bias).then_some(true),
            ..Norm::default()
        },
        block,
        mlp: Mlp {
            gated: false,
            hidden: fields.size("ffn_hidden_size").unwrap_or(embed.saturating_mul(4)),
            activation: fields.activation("activation", Activation::Gelu),
        },
        positions: Positions::Rope(rope::read(fields, head_dim, context, rope::USUAL)),
        bias,
        tie_embeddings: fields.flag("tie_word_embeddings").unwrap_or(true),
        names: TensorNames::Falcon,
        ..Spec::default()
    }
}
