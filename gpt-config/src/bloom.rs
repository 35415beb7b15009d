//! BLOOM: `BloomConfig` of transformers.

use gpt_plan::{Activation, Mlp, Norm, NormKind, Positions, Spec, TensorNames};

use crate::fields::Fields;
use crate::gpt2::width_of_heads;

/// The context of a file without `seq_length`, which the class does not read. ALiBi has no last
/// position, so this is the length of the texts with which the published models were trained.
const CONTEXT: u32 = 2_048;

/// Reads a `config.json`. Defaults are those of `BloomConfig`.
pub fn config(fields: &mut Fields<'_>, _model_type: &str) -> Spec {
    // `n_embed` is the key of old files.
    let embed = fields.size("hidden_size").or(fields.size("n_embed")).unwrap_or(64);
    let heads = fields.size("n_head").or(fields.size("num_attention_heads")).unwrap_or(8);
    let context = fields.size("seq_length").unwrap_or(CONTEXT);
    fields.only("apply_residual_connection_post_layernorm", false);
    // These keys set dropout, how sums are computed, and how tensors were split over devices.
    fields.ignore(&[
        "hidden_dropout",
        "attention_dropout",
        "pretraining_tp",
        "slow_but_exact",
        "skip_bias_add",
        "skip_bias_add_qkv",
        "masked_softmax_fusion",
        "attention_softmax_in_fp32",
        "bias_dropout_fusion",
        "offset_alibi",
        "unk_token_id",
    ]);
    Spec {
        vocab: fields.size("vocab_size").unwrap_or(250_880),
        context,
        layers: fields.layers("n_layer").or(fields.layers("num_hidden_layers")).unwrap_or(2),
        heads,
        kv_heads: heads,
        embed,
        head_dim: width_of_heads(fields, ("hidden_size", embed), ("n_head", heads)),
        norm: Norm {
            kind: NormKind::Layer,
            eps: fields.number("layer_norm_epsilon").unwrap_or(1e-5),
            ..Norm::default()
        },
        mlp: Mlp {
            gated: false,
            hidden: embed.saturating_mul(4),
            activation: Activation::GeluTanh,
        },
        positions: Positions::Alibi { max_bias: 8.0 },
        embedding_norm: true,
        bias: true,
        tie_embeddings: fields.flag("tie_word_embeddings").unwrap_or(true),
        names: TensorNames::Bloom,
        ..Spec::default()
    }
}
