//! ModernBERT: `ModernBertConfig` of transformers.
//!
//! Layers alternate between attention to all tokens and to those nearby, with two bases of rotary
//! angles. The first attention has no norm before it, because the embedding has one. The spec has
//! the head for masked words if `architectures` names `ModernBertForMaskedLM`.

use gpt_plan::{Activation, Mask, Mlp, Norm, NormKind, Pattern, Positions};
use gpt_plan::{Spec, TensorNames};

use crate::bert::masked_words;
use crate::fields::Fields;
use crate::gpt2::width_of_heads;
use crate::layers;
use crate::rope::{self, Defaults};

/// The defaults of layers that attend to all tokens.
const GLOBAL: Defaults = Defaults {
    theta: 160_000.0,
    partial: 1.0,
    keys: ["global_rope_theta", "partial_rotary_factor"],
};

/// Reads a `config.json`. Defaults are those of `ModernBertConfig`.
pub fn config(fields: &mut Fields<'_>, _model_type: &str) -> Spec {
    // These keys set how the model is trained and run, and heads for other tasks.
    fields.ignore(&["attention_dropout", "embedding_dropout", "mlp_dropout", "classifier_dropout"]);
    fields.ignore(&["classifier_pooling", "deterministic_flash_attn", "reference_compile"]);
    fields.ignore(&["sparse_prediction", "sparse_pred_ignore_index", "repad_logits_with_grad"]);
    fields.ignore(&["initializer_cutoff_factor", "cls_token_id"]);
    // Older files have these keys of another class. This class does not read them.
    fields.ignore(&["layer_norm_eps", "position_embedding_type"]);
    let embed = fields.size("hidden_size").unwrap_or(768);
    let heads = fields.size("num_attention_heads").unwrap_or(12);
    let layers = fields.layers("num_hidden_layers").unwrap_or(22);
    let context = fields.size("max_position_embeddings").unwrap_or(8_192);
    let head_dim = width_of_heads(fields, ("hidden_size", embed), ("num_attention_heads", heads));
    let period = fields.size("global_attn_every_n_layers").unwrap_or(3);
    let sliding = layers::sliding(fields, layers, |layer| layer % period != 0);
    // A token attends to half of `local_attention` tokens on either side, and to itself.
    let window = fields.size("local_attention").unwrap_or(128) / 2 + 1;
    let global = rope::read(fields, head_dim, context, GLOBAL);
    let local = rope::local(fields, head_dim, context, "local_rope_theta", 10_000.0);
    let rope = rope::by_kind(global, &local, &sliding);
    let activation = fields.activation("hidden_activation", Activation::Gelu);
    let of_head = fields.activation("classifier_activation", Activation::Gelu);
    let head = masked_words(fields, "ModernBertForMaskedLM");
    if head && activation != of_head {
        let file = fields.file();
        fields.fail(format!(
            "classifier_activation of {file} is not its hidden_activation; the two have to be equal"
        ));
    }
    // Whether the dense layer of the head has a bias, if the spec has that head.
    let mut flag = |key, default| fields.flag(key).unwrap_or(default);
    let bias = flag("classifier_bias", false) && head;
    let own = |flag: bool| Some(flag).filter(|flag| *flag != bias);
    let attention_bias = own(flag("attention_bias", false));
    let (mlp_bias, norm_bias) = (own(flag("mlp_bias", false)), own(flag("norm_bias", false)));
    let head_bias = flag("decoder_bias", true) && head;
    Spec {
        vocab: fields.size("vocab_size").unwrap_or(50_368),
        context,
        layers,
        heads,
        kv_heads: heads,
        embed,
        head_dim,
        norm: Norm {
            kind: NormKind::Layer,
            eps: fields.number("norm_eps").unwrap_or(1e-5),
            bias: norm_bias,
            ..Norm::default()
        },
        mlp: Mlp {
            gated: true,
            hidden: fields.size("intermediate_size").unwrap_or(1_152),
            activation,
        },
        positions: Positions::Rope(rope),
        mask: Pattern::all(Mask::Bidirectional),
        window: layers::windows_of(&sliding, Some(window), context),
        bias,
        qkv_bias: attention_bias,
        attn_out_bias: attention_bias,
        mlp_bias,
        tie_embeddings: fields.flag("tie_word_embeddings").unwrap_or(true),
        embedding_norm: true,
        first_attn_bare: true,
        head_dense: head,
        head_bias,
        names: TensorNames::ModernBert,
        ..Spec::default()
    }
}
