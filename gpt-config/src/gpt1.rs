//! The first GPT: `OpenAIGPTConfig` of transformers. llama.cpp does not have it.

use gpt_plan::{Activation, Block, Mlp, Norm, NormKind, Positions, Spec};

use crate::activation::Name;
use crate::fields::Fields;
use crate::gpt2;

/// `ACT_FNS` of `modeling_openai.py`, where "gelu" is the approximation by tanh.
const ACTIVATIONS: [Name; 4] = [
    ("gelu", || Activation::GeluTanh),
    ("relu", || Activation::Relu),
    ("silu", || Activation::Silu),
    ("swish", || Activation::Silu),
];

/// Reads a `config.json`. Defaults are those of `OpenAIGPTConfig`.
pub fn config(fields: &mut Fields<'_>, _model_type: &str) -> Spec {
    let context = fields.size("n_positions").unwrap_or(512);
    fields.only("n_ctx", context);
    let (embed, heads, head_dim) = gpt2::heads(fields, 768, 12);
    fields.ignore(&gpt2::HARMLESS);
    fields.ignore(&["n_special", "predict_special_tokens"]);
    let name = fields.text("afn").unwrap_or("gelu");
    let activation = fields.activation_of("afn", name, &ACTIVATIONS);
    Spec {
        vocab: fields.size("vocab_size").unwrap_or(40_478),
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
        block: Block::PostNorm,
        mlp: Mlp {
            gated: false,
            hidden: embed.saturating_mul(4),
            activation: activation.unwrap_or(Activation::GeluTanh),
        },
        positions: Positions::Learned,
        // As in `gpt2`.
        bias: fields.flag("bias").unwrap_or(true),
        tie_embeddings: fields.flag("tie_word_embeddings").unwrap_or(true),
        logit_softcap: fields.number("final_logit_softcapping"),
        ..Spec::default()
    }
}
