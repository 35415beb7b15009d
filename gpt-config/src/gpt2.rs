//! GPT-2: `GPT2Config` of transformers. `GPTBigCodeConfig`, of StarCoder and SantaCoder, has the
//! same keys and more.

use gpt_plan::{Activation, Mlp, Norm, NormKind, Positions, Spec, TensorNames};

use crate::fields::Fields;

/// Keys of OpenAI's GPTs that do not change the logits: dropout, and a head for classification.
pub const HARMLESS: [&str; 8] = [
    "attn_pdrop",
    "embd_pdrop",
    "resid_pdrop",
    "summary_activation",
    "summary_first_dropout",
    "summary_proj_to_labels",
    "summary_type",
    "summary_use_proj",
];

/// Reads a `config.json`. Defaults are those of `GPT2Config`.
pub fn config(fields: &mut Fields<'_>, _model_type: &str) -> Spec {
    let context = fields.size("n_positions").unwrap_or(1_024);
    // The name of `n_positions` in old files.
    fields.only("n_ctx", context);
    let (embed, heads, head_dim) = heads(fields, 768, 12);
    fields.only("scale_attn_weights", true);
    fields.only("scale_attn_by_inverse_layer_idx", false);
    fields.ignore(&HARMLESS);
    fields.ignore(&["reorder_and_upcast_attn"]);
    Spec {
        vocab: fields.size("vocab_size").unwrap_or(50_257),
        context,
        layers: fields.layers("n_layer").unwrap_or(12),
        heads,
        kv_heads: heads,
        embed,
        head_dim,
        norm: Norm {
            kind: NormKind::Layer,
            eps: fields.number("layer_norm_epsilon").unwrap_or(1e-5),
            ..Norm::default()
        },
        mlp: Mlp {
            gated: false,
            hidden: fields.size("n_inner").unwrap_or(embed.saturating_mul(4)),
            activation: fields.activation("activation_function", Activation::GeluTanh),
        },
        positions: Positions::Learned,
        // A key of nanoGPT and not of transformers. This project writes it for models without
        // biases.
        bias: fields.flag("bias").unwrap_or(true),
        tie_embeddings: fields.flag("tie_word_embeddings").unwrap_or(true),
        // Gemma 2's key, which this project also reads for GPT-2.
        logit_softcap: fields.number("final_logit_softcapping"),
        ..Spec::default()
    }
}

/// Reads the `config.json` of a GPTBigCode.
pub fn bigcode(fields: &mut Fields<'_>, model_type: &str) -> Spec {
    let multi_query = fields.flag("multi_query").unwrap_or(true);
    fields.ignore(&[
        "attention_softmax_in_fp32",
        "scale_attention_softmax_in_fp32",
        "inference_runner",
        "validate_runner_input",
        "pre_allocate_kv_cache",
        "max_sequence_length",
        "max_batch_size",
        "pad_key_length",
        "num_key_value_heads",
    ]);
    fields.only("add_cross_attention", false);
    let spec = config(fields, model_type);
    let kv_heads = if multi_query { 1 } else { spec.heads };
    Spec { kv_heads, names: TensorNames::GptBigCode, ..spec }
}

/// The width, the number of heads, and the width of a head, by the keys of OpenAI's GPTs.
pub fn heads(fields: &mut Fields<'_>, embed: u32, heads: u32) -> (u32, u32, u32) {
    let embed = fields.size("n_embd").unwrap_or(embed);
    let heads = fields.size("n_head").unwrap_or(heads);
    (embed, heads, width_of_heads(fields, ("n_embd", embed), ("n_head", heads)))
}

/// The width of a head: the model's width divided by the number of heads.
pub fn width_of_heads(
    fields: &mut Fields<'_>,
    (width, embed): (&str, u32),
    (number, heads): (&str, u32),
) -> u32 {
    if !embed.is_multiple_of(heads) {
        let file = fields.file();
        fields.fail(format!(
            "{width} is {embed} and {number} is {heads} in {file}; the first has to be a multiple of the second"
        ));
    }
    (embed / heads).max(1)
}
