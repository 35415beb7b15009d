//! `llama` of llama.cpp.

use gpt_plan::{Activation, Mlp, Norm, NormKind, Pattern, Positions, Rope, RopeScaling, Spec};

use crate::fields::{self, Fields};
use crate::gpt2::{vocab, width_of_heads};
use crate::{Tensors, layers};

/// Reads the metadata of a GGUF. Biases and an untied head show in its tensors.
pub fn gguf(fields: &mut Fields<'_>, tensors: &Tensors<'_>) -> Spec {
    let embed = fields.required("embedding_length");
    let heads = fields.required("attention.head_count");
    let kv_heads = fields.size("attention.head_count_kv").unwrap_or(heads);
    let number = "attention.head_count";
    let head_dim = match fields.size("attention.key_length") {
        Some(head_dim) => head_dim,
        None => width_of_heads(fields, ("embedding_length", embed), (number, heads)),
    };
    fields.only("attention.value_length", head_dim);
    let dims = fields.size("rope.dimension_count").unwrap_or(head_dim);
    let context = fields.required("context_length");
    let layers = fields.required("block_count");
    let window = fields.size("attention.sliding_window");
    let window = layers::windows(fields, layers, window, context, |_| true);
    fields.only("attention.causal", true);
    fields.only("expert_count", 0);
    fields.only("expert_used_count", 0);
    fields.ignore(&["tensor_data_layout"]);
    // Not read, and settings of a scaling that is not used.
    fields.ignore(&["rope.scaling.original_context_length", "rope.scaling.finetuned"]);
    let scaling = match fields.text("rope.scaling.type") {
        None | Some("none") => {
            fields.only("rope.scaling.factor", 1.0);
            fields.only("rope.scale_linear", 1.0);
            RopeScaling::None
        }
        Some("linear") => {
            let factor = fields.number("rope.scaling.factor");
            RopeScaling::Linear { factor: factor.unwrap_or(1.0) }
        }
        Some(kind) => {
            let kind = fields::short(kind);
            let file = fields.file();
            fields.ignore(&["rope.scaling.factor", "rope.scaling.attn_factor"]);
            fields.fail(format!("rotary scaling of type {kind} in {file} is not supported"));
            RopeScaling::None
        }
    };
    if tensors("rope_freqs.weight").is_some() {
        fields.fail("rotary scaling by the tensor rope_freqs.weight is not supported");
    }
    let has = |name: &str| tensors(name).is_some();
    let (qkv, bias) = (has("blk.0.attn_q.bias"), has("blk.0.attn_output.bias"));
    let mlp = has("blk.0.ffn_up.bias");
    Spec {
        vocab: vocab(fields, tensors),
        context,
        layers,
        window,
        heads,
        kv_heads,
        embed,
        head_dim,
        norm: Norm {
            kind: NormKind::Rms,
            eps: fields.number("attention.layer_norm_rms_epsilon").unwrap_or(1e-5),
            ..Norm::default()
        },
        mlp: Mlp {
            gated: true,
            hidden: fields.required("feed_forward_length"),
            activation: fields.activation("hidden_activation", Activation::Silu),
        },
        positions: Positions::Rope(Rope {
            scaling: Pattern::all(scaling),
            // 10,000 is llama.cpp's default.
            ..Rope::new(
                Pattern::all(Some(fields.number("rope.freq_base").unwrap_or(10_000.0))),
                dims,
            )
        }),
        bias,
        qkv_bias: (qkv != bias).then_some(qkv),
        mlp_bias: (mlp != bias).then_some(mlp),
        tie_embeddings: !has("output.weight"),
        ..Spec::default()
    }
}
