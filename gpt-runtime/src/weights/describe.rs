//! Describes a spec as the `config.json` from which transformers builds the model.

use gpt_plan::{Activation, Block, Mask, Norm, NormKind, Pattern, Positions, Role, Rope, Spec};
use serde_json::{Value, json};

/// The configuration of `spec` as GPT-2, GPT-1, Llama or Qwen 2. None if it is not one of these
/// architectures.
pub fn config(spec: &Spec) -> Option<Value> {
    // The keys that these configurations can express; every other key has to have its default.
    let described = Spec {
        vocab: spec.vocab,
        context: spec.context,
        layers: spec.layers,
        heads: spec.heads,
        kv_heads: spec.kv_heads,
        embed: spec.embed,
        head_dim: spec.head_dim,
        norm: Norm { kind: spec.norm.kind, eps: spec.norm.eps, ..Norm::default() },
        block: spec.block,
        mlp: spec.mlp.clone(),
        positions: spec.positions.clone(),
        mask: Pattern::all(Mask::Causal),
        bias: spec.bias,
        qkv_bias: spec.qkv_bias,
        attn_out_bias: spec.attn_out_bias,
        mlp_bias: spec.mlp_bias,
        tie_embeddings: spec.tie_embeddings,
        dropout: spec.dropout,
        ..Spec::default()
    };
    if *spec != described {
        return None;
    }
    let gated = spec.mlp.gated;
    let [qkv, out, mlp] =
        [Role::Qkv, Role::AttentionOut, Role::MlpUp].map(|role| spec.projection_bias(role));
    let same = [qkv, out, mlp, spec.bias] == [qkv; 4];
    match (spec.norm.kind, &spec.positions, spec.block, gated) {
        (NormKind::Layer, Positions::Learned, Block::PreNorm, false) if same => gpt2(spec),
        (NormKind::Layer, Positions::Learned, Block::PostNorm, false) if same => gpt1(spec),
        (NormKind::Rms, Positions::Rope(rope), Block::PreNorm, true) => {
            let theta = rope.theta.of(0)?;
            // No key of these architectures says more.
            if *rope != Rope::new(Pattern::all(Some(theta)), spec.head_dim) {
                return None;
            }
            match [qkv, out, mlp] {
                [true, false, false] => qwen2(spec, theta),
                _ if qkv == out => llama(spec, theta),
                _ => None,
            }
        }
        _ => None,
    }
}

/// The spec's architecture by its GGUF name. None if it is neither GPT-2 nor Llama.
pub fn architecture(spec: &Spec) -> Option<&'static str> {
    match config(spec)?.get("model_type")?.as_str()? {
        "gpt2" => Some("gpt2"),
        "llama" => Some("llama"),
        _ => None,
    }
}

fn gpt2(spec: &Spec) -> Option<Value> {
    one_width(spec)?;
    Some(with_bias(
        spec,
        json!({
            "architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "torch_dtype": "float32",
            "vocab_size": spec.vocab, "n_positions": spec.context, "n_ctx": spec.context, "n_layer": spec.layers,
            "n_head": spec.heads, "n_embd": spec.embed, "n_inner": spec.mlp.hidden,
            "activation_function": activation(spec)?, "layer_norm_epsilon": spec.norm.eps,
            "tie_word_embeddings": spec.tie_embeddings,
            "resid_pdrop": spec.dropout, "embd_pdrop": spec.dropout, "attn_pdrop": spec.dropout,
            "bos_token_id": null, "eos_token_id": null,
        }),
    ))
}

fn gpt1(spec: &Spec) -> Option<Value> {
    one_width(spec)?;
    // GPT-1's "gelu" is the tanh approximation; it has no name for the exact GELU.
    let activation = match spec.mlp.activation {
        Activation::GeluTanh => "gelu",
        Activation::Relu => "relu",
        Activation::Silu => "silu",
        _ => return None,
    };
    (spec.mlp.hidden == 4 * spec.embed).then(|| {
        with_bias(spec, json!({
            "architectures": ["OpenAIGPTLMHeadModel"], "model_type": "openai-gpt", "torch_dtype": "float32",
            "vocab_size": spec.vocab, "n_positions": spec.context, "n_layer": spec.layers, "n_head": spec.heads,
            "n_embd": spec.embed, "afn": activation, "layer_norm_epsilon": spec.norm.eps,
            "tie_word_embeddings": spec.tie_embeddings,
            "resid_pdrop": spec.dropout, "embd_pdrop": spec.dropout, "attn_pdrop": spec.dropout,
        }))
    })
}

/// transformers has no key for a GPT without biases, and nanoGPT's is `bias`.
fn with_bias(spec: &Spec, mut config: Value) -> Value {
    if !spec.bias {
        config["bias"] = false.into();
    }
    config
}

fn llama(spec: &Spec, theta: f64) -> Option<Value> {
    Some(json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "float32",
        "vocab_size": spec.vocab, "max_position_embeddings": spec.context, "num_hidden_layers": spec.layers,
        "num_attention_heads": spec.heads, "num_key_value_heads": spec.kv_heads, "head_dim": spec.head_dim,
        "hidden_size": spec.embed, "intermediate_size": spec.mlp.hidden, "hidden_act": activation(spec)?,
        "rms_norm_eps": spec.norm.eps, "rope_theta": theta, "attention_bias": spec.projection_bias(Role::Qkv),
        "mlp_bias": spec.projection_bias(Role::MlpUp),
        "tie_word_embeddings": spec.tie_embeddings, "bos_token_id": null, "eos_token_id": null,
    }))
}

/// Llama with a bias of queries, keys and values alone.
fn qwen2(spec: &Spec, theta: f64) -> Option<Value> {
    let mut config = llama(spec, theta)?;
    config["architectures"] = json!(["Qwen2ForCausalLM"]);
    config["model_type"] = "qwen2".into();
    config["use_sliding_window"] = false.into();
    let keys = config.as_object_mut()?;
    keys.retain(|key, _| key != "attention_bias" && key != "mlp_bias");
    Some(config)
}

/// OpenAI's GPTs have as many key heads as query heads, and `heads * head_dim == embed`.
fn one_width(spec: &Spec) -> Option<()> {
    (spec.kv_heads == spec.heads && spec.q_width() == spec.embed).then_some(())
}

/// transformers' name of the activation.
pub fn activation(spec: &Spec) -> Option<&'static str> {
    match spec.mlp.activation.name()? {
        "Gelu" => Some("gelu"),
        "GeluTanh" => Some("gelu_new"),
        "Relu" => Some("relu"),
        "ReluSquared" => Some("relu2"),
        "Silu" => Some("silu"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::config::check_config;
    use crate::weights::testing;

    /// A written config matches its spec, and specs of other architectures have no config.
    #[test]
    fn a_config_matches_its_spec() {
        let gpt1_spec = Spec { block: Block::PostNorm, ..testing::gpt2_spec() };
        for (spec, kind) in [
            (testing::gpt2_spec(), "gpt2"),
            (gpt1_spec.clone(), "openai-gpt"),
            (testing::llama_spec(), "llama"),
        ] {
            let config = config(&spec).unwrap();
            assert_eq!(config["model_type"], kind);
            assert_eq!(check_config(&config, &spec), Vec::<String>::new());
            let capped = Spec { logit_softcap: Some(30.0), ..spec.clone() };
            assert_eq!(check_config(&config, &capped).len(), 1);
            let mut gemma = config.clone();
            gemma["final_logit_softcapping"] = 30.0.into();
            assert_eq!(check_config(&gemma, &capped), Vec::<String>::new());
            assert_eq!(check_config(&gemma, &spec).len(), 1);
            let deeper = Spec { layers: 7, ..spec.clone() };
            assert_eq!(check_config(&config, &deeper).len(), 1);
            assert_eq!(gpt_config::description(&config).as_ref(), Ok(&spec));
        }
        // What the compiler declares, the runtime writes and reads.
        let unbiased = Spec { bias: false, ..testing::gpt2_spec() };
        let qwen2 = Spec { qkv_bias: Some(true), ..testing::llama_spec() };
        for spec in [unbiased, qwen2] {
            assert_eq!(gpt_config::description(&config(&spec).unwrap()).as_ref(), Ok(&spec));
        }
        for spec in [
            Spec { positions: Positions::Sinusoidal, ..testing::gpt2_spec() },
            Spec { mask: Pattern::all(Mask::Bidirectional), ..testing::gpt2_spec() },
            Spec { block: Block::PostNorm, ..testing::llama_spec() },
            Spec { head_dim: 8, ..testing::gpt2_spec() },
        ] {
            assert_eq!(config(&spec), None);
        }
        let mut exact = gpt1_spec;
        exact.mlp.activation = Activation::Gelu;
        assert_eq!(config(&exact), None);
        let mut squared = testing::llama_spec();
        squared.mlp.activation = gpt_codegen::activations::find("ReluSquared").unwrap();
        let written = config(&squared).unwrap();
        assert_eq!(written["hidden_act"], "relu2");
        assert_eq!(check_config(&written, &squared), Vec::<String>::new());
        assert_eq!(check_config(&written, &testing::llama_spec()).len(), 1);
    }
}
