//! GPT-J: `GPTJConfig` of transformers.

use gpt_plan::{
    Activation, Block, Mlp, Norm, NormKind, Pattern, Positions, Rope, RotaryPairs, Spec,
    TensorNames,
};

use crate::fields::Fields;
use crate::gpt2;

/// Reads a `config.json`. Defaults are those of `GPTJConfig`.
pub fn config(fields: &mut Fields<'_>, _model_type: &str) -> Spec {
    let (embed, heads, head_dim) = gpt2::heads(fields, 4_096, 16);
    let context = fields.size("n_positions").unwrap_or(2_048);
    fields.only("n_ctx", context);
    let dims = fields.size("rotary_dim").unwrap_or(64);
    fields.ignore(&gpt2::HARMLESS);
    // The class reads neither key: it always rotates queries and keys, and always scales scores.
    fields.ignore(&["rotary", "scale_attn_weights"]);
    Spec {
        vocab: fields.size("vocab_size").unwrap_or(50_400),
        context,
        layers: fields.layers("n_layer").unwrap_or(28),
        heads,
        kv_heads: heads,
        embed,
        head_dim,
        norm: Norm {
            kind: NormKind::Layer,
            eps: fields.number("layer_norm_epsilon").unwrap_or(1e-5),
            ..Norm::default()
        },
        block: Block::Parallel { norms: 1 },
        mlp: Mlp {
            gated: false,
            hidden: fields.size("n_inner").unwrap_or(embed.saturating_mul(4)),
            activation: fields.activation("activation_function", Activation::GeluTanh),
        },
        positions: Positions::Rope(Rope {
            pairs: RotaryPairs::Interleaved,
            ..Rope::new(Pattern::all(Some(10_000.0)), dims)
        }),
        bias: true,
        qkv_bias: Some(false),
        attn_out_bias: Some(false),
        head_bias: true,
        tie_embeddings: fields.flag("tie_word_embeddings").unwrap_or(false),
        names: TensorNames::GptJ,
        ..Spec::default()
    }
}
