//! Llama and its relatives: `LlamaConfig`, `MistralConfig` and `Qwen2Config` of transformers,
//! `llama` of llama.cpp.
//!
//! Mistral has a sliding window, Qwen 2 a bias of queries, keys and values. llama.cpp's converter
//! gives a Mistral the architecture `llama`, so it is read as one. A GGUF of Qwen 2 is refused:
//! llama.cpp's architecture `qwen2` stores the rows of queries and keys in another order than
//! `llama` does, and the loader of GGUF only knows the latter.

use gpt_plan::{Activation, Mlp, Norm, NormKind, Pattern, Positions, Spec};
use serde_json::{Map, Value};

use crate::Tensors;
use crate::fields::{self, Fields};
use crate::gpt2::{vocab, width_of_heads};

/// What the classes of transformers choose if a key is absent.
struct Defaults {
    vocab: u32,
    hidden: u32,
    kv_heads: Option<u32>,
    context: u32,
}

/// Reads a `config.json`.
pub fn config(fields: &mut Fields<'_>, model_type: &str) -> Spec {
    let (vocab, hidden, kv_heads, context) = match model_type {
        "mistral" => (32_000, 14_336, Some(8), 131_072),
        "qwen2" => (151_936, 22_016, Some(32), 32_768),
        _ => (32_000, 11_008, None, 2_048),
    };
    let default = Defaults { vocab, hidden, kv_heads, context };
    let embed = fields.size("hidden_size").unwrap_or(4_096);
    let heads = fields.size("num_attention_heads").unwrap_or(32);
    // The number of query heads, if the class has no default or the file says null.
    let default_kv = default.kv_heads.filter(|_| !fields.has("num_key_value_heads"));
    let kv_heads = fields.size("num_key_value_heads").or(default_kv).unwrap_or(heads);
    let (width, number) = ("hidden_size", "num_attention_heads");
    let head_dim = match fields.size("head_dim") {
        Some(head_dim) => head_dim,
        None => width_of_heads(fields, (width, embed), (number, heads)),
    };
    let context = fields.size("max_position_embeddings").unwrap_or(default.context);
    let (bias, qkv_bias) = match model_type {
        "mistral" => (false, None),
        "qwen2" => (false, Some(true)),
        _ => (biases(fields), None),
    };
    match model_type {
        "mistral" => {
            // The class has a window of 4,096 unless the file says null.
            let default = Some(4_096).filter(|_| !fields.has("sliding_window"));
            let window = fields.size("sliding_window").or(default);
            fields.window("sliding_window", window, context);
        }
        "qwen2" => {
            let size = fields.size("sliding_window").unwrap_or(4_096);
            let used = fields.flag("use_sliding_window").unwrap_or(false);
            fields.window("sliding_window", used.then_some(size), context);
            // The number of first layers without the window. It has no effect, as a window shorter
            // than the context is refused.
            fields.ignore(&["max_window_layers"]);
            fields.only("use_mrope", false);
        }
        _ => {
            fields.only("sliding_window", Value::Null);
            // A key of nanotron: true if adjacent columns of a head rotate together, as they do not
            // in transformers, which rotates column i with column i + head_dim / 2.
            fields.only("rope_interleaved", false);
            fields.ignore(&["is_llama_config", "pretraining_tp"]);
        }
    }
    layer_types(fields);
    // Dropout is for training.
    fields.ignore(&["attention_dropout"]);
    Spec {
        vocab: fields.size("vocab_size").unwrap_or(default.vocab),
        context,
        layers: fields.size("num_hidden_layers").unwrap_or(32),
        heads,
        kv_heads,
        embed,
        head_dim,
        norm: Norm {
            kind: NormKind::Rms,
            eps: fields.number("rms_norm_eps").unwrap_or(1e-6),
            ..Norm::default()
        },
        mlp: Mlp {
            gated: true,
            hidden: fields.size("intermediate_size").unwrap_or(default.hidden),
            activation: fields.activation("hidden_act", Activation::Silu),
        },
        positions: rope(fields),
        bias,
        qkv_bias,
        tie_embeddings: fields.flag("tie_word_embeddings").unwrap_or(false),
        // As in `gpt2`.
        logit_softcap: fields.number("final_logit_softcapping"),
        ..Spec::default()
    }
}

/// Whether attention and MLP have biases. A spec has one key for the output of the attention and
/// for the MLP.
fn biases(fields: &mut Fields<'_>) -> bool {
    let attention = fields.flag("attention_bias").unwrap_or(false);
    let mlp = fields.flag("mlp_bias").unwrap_or(false);
    if attention != mlp {
        let file = fields.file();
        fields.fail(format!(
            "attention_bias is {attention} and mlp_bias is {mlp} in {file}; only models in which both are the same are supported"
        ));
    }
    attention
}

/// Newer files list the kind of attention of each layer.
fn layer_types(fields: &mut Fields<'_>) {
    let Some(value) = fields.value("layer_types") else { return };
    let full = value.as_array().is_some_and(|types| types.iter().all(|t| t == "full_attention"));
    if !full {
        let file = fields.file();
        fields.fail(format!("layer_types of {file} has other values than full_attention"));
    }
}

/// The base of rotary angles. Newer files have it in `rope_parameters`.
fn rope(fields: &mut Fields<'_>) -> Positions {
    let outer = fields.number("rope_theta");
    fields.only("partial_rotary_factor", 1.0);
    // The base, and the key of the object that has it.
    let mut inner = None;
    for key in ["rope_scaling", "rope_parameters"] {
        match fields.value(key) {
            None => {}
            Some(Value::Object(values)) => {
                let theta = rope_parameters(fields, key, values);
                inner = theta.map(|theta| (theta, key)).or(inner);
            }
            Some(other) => {
                let (other, file) = (fields::text(other), fields.file());
                fields.fail(format!("{key} is {other} in {file}; it has to be an object"));
            }
        }
    }
    if let (Some(outer), Some((inner, key))) = (outer, inner)
        && outer != inner
    {
        let file = fields.file();
        fields.fail(format!(
            "rope_theta is {outer} in {file}, and {inner} in its {key}; remove one of them"
        ));
    }
    let theta = inner.map(|(theta, _)| theta).or(outer).unwrap_or(10_000.0);
    Positions::Rope { theta: Pattern::all(Some(theta)) }
}

/// Checks an object of rotary parameters, and returns its base.
fn rope_parameters(
    fields: &mut Fields<'_>,
    key: &'static str,
    values: &Map<String, Value>,
) -> Option<f64> {
    let kind = values.get("rope_type").or_else(|| values.get("type"));
    let file = fields.file();
    if let Some(kind) = kind.filter(|kind| !kind.is_null() && *kind != "default") {
        let kind = fields::text(kind);
        fields.fail(format!("rotary scaling of type {kind} in {file} is not supported"));
        return None;
    }
    // The keys of an object are checked like those of the file.
    let mut within = Fields::new("rope_parameters", String::new(), values);
    within.ignore(&["rope_type", "type"]);
    within.only("partial_rotary_factor", 1.0);
    let theta = within.number("rope_theta");
    if let Err(problems) = within.finish(Spec::default()) {
        let problems = problems.into_iter().map(|p| p.replace("rope_parameters", key));
        problems.for_each(|problem| fields.fail(problem));
    }
    theta
}

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
    fields.only("rope.dimension_count", head_dim);
    let context = fields.required("context_length");
    let window = fields.size("attention.sliding_window");
    fields.window("attention.sliding_window", window, context);
    fields.only("attention.causal", true);
    fields.only("expert_count", 0);
    fields.only("expert_used_count", 0);
    fields.ignore(&["tensor_data_layout"]);
    match fields.text("rope.scaling.type") {
        None | Some("none") => {
            fields.only("rope.scaling.factor", 1.0);
            fields.only("rope.scale_linear", 1.0);
            // Settings of a scaling that is not used.
            fields.ignore(&["rope.scaling.original_context_length", "rope.scaling.finetuned"]);
        }
        Some(kind) => {
            let kind = fields::short(kind);
            let file = fields.file();
            fields.ignore(&[
                "rope.scaling.factor",
                "rope.scaling.attn_factor",
                "rope.scaling.original_context_length",
                "rope.scaling.finetuned",
            ]);
            fields.fail(format!("rotary scaling of type {kind} in {file} is not supported"));
        }
    }
    if tensors("rope_freqs.weight").is_some() {
        fields.fail("rotary scaling by the tensor rope_freqs.weight is not supported");
    }
    let has = |name: &str| tensors(name).is_some();
    let (qkv, bias) = (has("blk.0.attn_q.bias"), has("blk.0.attn_output.bias"));
    if bias != has("blk.0.ffn_up.bias") {
        fields.fail("the attention's output has a bias and the MLP has none, or the reverse; only models in which both are the same are supported");
    }
    Spec {
        vocab: vocab(fields, tensors),
        context,
        layers: fields.required("block_count"),
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
        positions: Positions::Rope {
            // 10,000 is llama.cpp's default.
            theta: Pattern::all(Some(fields.number("rope.freq_base").unwrap_or(10_000.0))),
        },
        bias,
        qkv_bias: (qkv != bias).then_some(qkv),
        tie_embeddings: !has("output.weight"),
        ..Spec::default()
    }
}
