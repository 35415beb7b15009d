//! Classes with keys of their own.

use gpt_plan::{Block, Positions, Spec};
use serde_json::{Value, json};

use super::{activation_name, one_width, with};

/// `spec` as each of the classes, with the values that the class can express.
pub fn candidates(spec: &Spec) -> impl Iterator<Item = Value> {
    let classes = [gpt_j, gpt_neo, gpt_bigcode, falcon, bloom, mpt, opt, bert, roberta, distilbert];
    classes.into_iter().filter_map(|class| class(spec))
}

/// The keys of all classes that OpenAI's GPTs inspired.
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
    // The old architecture shares one head of keys and values, or none.
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
    keys_of_bert(spec, "bert", "BertModel", spec.context)
}

fn roberta(spec: &Spec) -> Option<Value> {
    // Two rows of its table of positions are unused.
    let keys = keys_of_bert(spec, "roberta", "RobertaModel", spec.context.checked_add(2)?)?;
    Some(with(keys, json!({ "pad_token_id": 1 })))
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
    Some(json!({
        "architectures": ["DistilBertModel"], "model_type": "distilbert",
        "torch_dtype": "float32", "vocab_size": spec.vocab,
        "max_position_embeddings": spec.context, "n_layers": spec.layers, "n_heads": spec.heads,
        "dim": spec.embed, "hidden_dim": spec.mlp.hidden, "activation": activation_name(spec)?,
        "tie_word_embeddings": spec.tie_embeddings, "dropout": spec.dropout,
        "attention_dropout": spec.dropout,
    }))
}
