//! Classes whose keys differ from Llama's.

use gpt_plan::{Block, Positions, Role, RopeScaling, Spec};
use serde_json::{Value, json};

use super::{activation_name, one_width, with};

/// `spec` as each of the classes, with the values that the class can express.
pub fn candidates(spec: &Spec) -> impl Iterator<Item = Value> {
    let encoders = [bert, roberta, distilbert, modernbert];
    let classes = [gpt_j, gpt_neo, gpt_bigcode, falcon, bloom, mpt, opt];
    classes.into_iter().chain(encoders).filter_map(|class| class(spec))
}

/// The keys that GPT-J and GPTBigCode share with GPT-2.
fn openai(spec: &Spec, model_type: &str, name: &str) -> Option<Value> {
    Some(json!({
        "architectures": [name], "model_type": model_type, "torch_dtype": "float32",
        "vocab_size": spec.vocab, "n_positions": spec.context, "n_layer": spec.layers,
        "n_head": spec.heads, "n_embd": spec.embed, "n_inner": spec.mlp.hidden,
        "activation_function": activation_name(spec)?, "layer_norm_epsilon": spec.norm.eps,
        "tie_word_embeddings": spec.tie_embeddings, "bos_token_id": null, "eos_token_id": null,
    }))
}

fn gpt_j(spec: &Spec) -> Option<Value> {
    one_width(spec)?;
    let rotary = json!({ "rotary_dim": spec.rope()?.dims });
    Some(with(openai(spec, "gptj", "GPTJForCausalLM")?, rotary))
}

fn gpt_bigcode(spec: &Spec) -> Option<Value> {
    let config = openai(spec, "gpt_bigcode", "GPTBigCodeForCausalLM")?;
    Some(with(config, json!({ "multi_query": spec.kv_heads != spec.heads })))
}

fn gpt_neo(spec: &Spec) -> Option<Value> {
    one_width(spec)?;
    let kind = |layer| if spec.window.of(layer).is_some() { "local" } else { "global" };
    let kinds: Vec<&str> = (0..spec.layers).map(kind).collect();
    Some(json!({
        "architectures": ["GPTNeoForCausalLM"], "model_type": "gpt_neo", "torch_dtype": "float32",
        "vocab_size": spec.vocab, "max_position_embeddings": spec.context,
        "num_layers": spec.layers, "num_heads": spec.heads, "hidden_size": spec.embed,
        "intermediate_size": spec.mlp.hidden, "activation_function": activation_name(spec)?,
        "layer_norm_epsilon": spec.norm.eps, "attention_types": [[kinds, 1]],
        "window_size": spec.window.0.iter().flatten().next().unwrap_or(&256),
        "tie_word_embeddings": spec.tie_embeddings, "bos_token_id": null, "eos_token_id": null,
    }))
}

fn falcon(spec: &Spec) -> Option<Value> {
    (spec.q_width() == spec.embed).then_some(())?;
    let theta = spec.rope()?.theta.of(0)?;
    // In the old architecture, the query heads share one head of keys and values, or none.
    let shares_some = spec.kv_heads != 1 && spec.kv_heads != spec.heads;
    let norms = match spec.block {
        Block::Parallel { norms } => Some(norms),
        _ => None,
    };
    let new = shares_some || norms == Some(2);
    Some(json!({
        "architectures": ["FalconForCausalLM"], "model_type": "falcon", "torch_dtype": "float32",
        "vocab_size": spec.vocab, "max_position_embeddings": spec.context,
        "num_hidden_layers": spec.layers, "num_attention_heads": spec.heads,
        "num_kv_heads": spec.kv_heads, "hidden_size": spec.embed,
        "ffn_hidden_size": spec.mlp.hidden, "activation": activation_name(spec)?,
        "layer_norm_epsilon": spec.norm.eps, "rope_theta": theta, "alibi": false,
        "bias": spec.bias, "multi_query": spec.kv_heads == 1, "parallel_attn": norms.is_some(),
        "new_decoder_architecture": new, "num_ln_in_parallel_attn": norms.filter(|_| new),
        "tie_word_embeddings": spec.tie_embeddings, "bos_token_id": null, "eos_token_id": null,
    }))
}

fn bloom(spec: &Spec) -> Option<Value> {
    one_width(spec)?;
    Some(json!({
        "architectures": ["BloomForCausalLM"], "model_type": "bloom", "torch_dtype": "float32",
        "vocab_size": spec.vocab, "seq_length": spec.context, "n_layer": spec.layers,
        "n_head": spec.heads, "hidden_size": spec.embed, "layer_norm_epsilon": spec.norm.eps,
        "tie_word_embeddings": spec.tie_embeddings, "bos_token_id": null, "eos_token_id": null,
    }))
}

fn mpt(spec: &Spec) -> Option<Value> {
    one_width(spec)?;
    let Positions::Alibi { max_bias } = spec.positions else { return None };
    Some(json!({
        "architectures": ["MptForCausalLM"], "model_type": "mpt", "torch_dtype": "float32",
        "vocab_size": spec.vocab, "max_seq_len": spec.context, "n_layers": spec.layers,
        "n_heads": spec.heads, "d_model": spec.embed, "layer_norm_epsilon": spec.norm.eps,
        "attn_config": { "alibi_bias_max": max_bias, "softmax_scale": spec.attention_scale },
        "tie_word_embeddings": spec.tie_embeddings, "bos_token_id": null, "eos_token_id": null,
    }))
}

fn opt(spec: &Spec) -> Option<Value> {
    one_width(spec)?;
    Some(json!({
        "architectures": ["OPTForCausalLM"], "model_type": "opt", "torch_dtype": "float32",
        "vocab_size": spec.vocab, "max_position_embeddings": spec.context,
        "num_hidden_layers": spec.layers, "num_attention_heads": spec.heads,
        "hidden_size": spec.embed, "word_embed_proj_dim": spec.embed, "ffn_dim": spec.mlp.hidden,
        "activation_function": activation_name(spec)?, "enable_bias": spec.bias,
        "layer_norm_elementwise_affine": spec.norm.affine,
        "tie_word_embeddings": spec.tie_embeddings, "bos_token_id": null, "eos_token_id": null,
    }))
}

fn bert(spec: &Spec) -> Option<Value> {
    let class = class_of(spec, "BertModel", "BertForMaskedLM")?;
    keys_of_bert(spec, "bert", class, spec.context)
}

fn roberta(spec: &Spec) -> Option<Value> {
    // Two rows of RoBERTa's table of positions are unused.
    let class = class_of(spec, "RobertaModel", "RobertaForMaskedLM")?;
    let keys = keys_of_bert(spec, "roberta", class, spec.context.checked_add(2)?)?;
    Some(with(keys, json!({ "pad_token_id": 1 })))
}

/// `masked_words` if `spec` has the head for masked words, `encoder` if it has no such head, `None`
/// if it has only a part of it.
fn class_of(
    spec: &Spec,
    encoder: &'static str,
    masked_words: &'static str,
) -> Option<&'static str> {
    match (spec.head_dense, spec.head_bias) {
        (false, false) => Some(encoder),
        (true, true) => Some(masked_words),
        _ => None,
    }
}

fn keys_of_bert(spec: &Spec, model_type: &str, name: &str, positions: u32) -> Option<Value> {
    one_width(spec)?;
    Some(json!({
        "architectures": [name], "model_type": model_type, "torch_dtype": "float32",
        "vocab_size": spec.vocab, "max_position_embeddings": positions,
        "num_hidden_layers": spec.layers, "num_attention_heads": spec.heads,
        "hidden_size": spec.embed, "intermediate_size": spec.mlp.hidden,
        "hidden_act": activation_name(spec)?, "layer_norm_eps": spec.norm.eps,
        "type_vocab_size": spec.token_types?, "tie_word_embeddings": spec.tie_embeddings,
        "hidden_dropout_prob": spec.dropout, "attention_probs_dropout_prob": spec.dropout,
    }))
}

fn distilbert(spec: &Spec) -> Option<Value> {
    one_width(spec)?;
    let class = class_of(spec, "DistilBertModel", "DistilBertForMaskedLM")?;
    Some(json!({
        "architectures": [class], "model_type": "distilbert",
        "torch_dtype": "float32", "vocab_size": spec.vocab,
        "max_position_embeddings": spec.context, "n_layers": spec.layers, "n_heads": spec.heads,
        "dim": spec.embed, "hidden_dim": spec.mlp.hidden, "activation": activation_name(spec)?,
        "tie_word_embeddings": spec.tie_embeddings, "dropout": spec.dropout,
        "attention_dropout": spec.dropout,
    }))
}

fn modernbert(spec: &Spec) -> Option<Value> {
    one_width(spec)?;
    let class = if spec.head_dense { "ModernBertForMaskedLM" } else { "ModernBertModel" };
    let slides = |layer| spec.window.of(layer).is_some();
    let kind = |layer| if slides(layer) { "sliding_attention" } else { "full_attention" };
    let kinds: Vec<&str> = (0..spec.layers).map(kind).collect();
    let window = spec.window.0.iter().flatten().next();
    let rope = spec.rope()?;
    let of_kind = |wanted: bool, key: &str| -> Option<Value> {
        let layer = (0..spec.layers).find(|layer| slides(*layer) == wanted)?;
        // Only layers without a scaling can be written.
        let plain = rope.scaling.of(layer) == RopeScaling::None;
        let theta = rope.theta.of(layer)?;
        plain.then(|| json!({ key: { "rope_type": "default", "rope_theta": theta } }))
    };
    let full = of_kind(false, "full_attention").unwrap_or(json!({}));
    let parameters = with(full, of_kind(true, "sliding_attention").unwrap_or(json!({})));
    Some(json!({
        "architectures": [class], "model_type": "modernbert", "torch_dtype": "float32",
        "vocab_size": spec.vocab, "max_position_embeddings": spec.context,
        "num_hidden_layers": spec.layers, "num_attention_heads": spec.heads,
        "hidden_size": spec.embed, "intermediate_size": spec.mlp.hidden,
        "hidden_activation": activation_name(spec)?,
        "classifier_activation": activation_name(spec)?, "norm_eps": spec.norm.eps,
        "norm_bias": spec.norm_bias(&spec.norm), "layer_types": kinds,
        "local_attention": window.map_or(128, |window| 2 * (window - 1)),
        "rope_parameters": parameters, "attention_bias": spec.projection_bias(Role::Qkv),
        "mlp_bias": spec.projection_bias(Role::MlpUp), "classifier_bias": spec.bias,
        "decoder_bias": spec.head_bias, "tie_word_embeddings": spec.tie_embeddings,
        "attention_dropout": spec.dropout, "embedding_dropout": spec.dropout,
        "mlp_dropout": spec.dropout, "pad_token_id": null, "bos_token_id": null,
        "eos_token_id": null, "cls_token_id": null, "sep_token_id": null,
    }))
}
