//! Describes a spec as the `config.json` from which transformers builds the model. `llamas` has the
//! classes with Llama's keys, `others` those with keys of their own.

mod llamas;
mod others;

use gpt_plan::{Activation, Pattern, Role, RopeScaling, Spec};
use serde_json::{Value, json};

/// The configuration of `spec` as a class of transformers. None if no supported class describes it.
///
/// A candidate is written for each class, with the values that the class can express. The first one
/// that reads back as `spec` is the configuration, so a value that a class cannot express is never
/// lost.
pub fn config(spec: &Spec) -> Option<Value> {
    let own = [gpt2(spec), gpt1(spec)].into_iter().flatten();
    let mut candidates = own.chain(llamas::candidates(spec)).chain(others::candidates(spec));
    candidates.find(|candidate| {
        let read = gpt_config::description(candidate);
        read.is_ok_and(|read| same(&read, spec))
    })
}

/// Whether two specs are the same model, however their biases and patterns are written. Dropout is
/// for training.
fn same(a: &Spec, b: &Spec) -> bool {
    let normal = |spec: &Spec| {
        let roles = [Role::Qkv, Role::AttentionOut, Role::MlpUp];
        let mut normal = spec.clone();
        [normal.qkv_bias, normal.attn_out_bias, normal.mlp_bias] =
            roles.map(|role| Some(spec.projection_bias(role)));
        normal.norm.bias = Some(spec.norm_bias(&spec.norm));
        if let Some(own) = &mut normal.qk_norm {
            own.norm.bias = Some(spec.norm_bias(&own.norm));
        }
        (normal.bias, normal.dropout) = (false, 0.0);
        normal
    };
    normal(a) == normal(b)
}

/// The spec's architecture by its GGUF name. None if it is neither GPT-2 nor Llama.
pub fn architecture(spec: &Spec) -> Option<&'static str> {
    match config(spec)?.get("model_type")?.as_str()? {
        "gpt2" => Some("gpt2"),
        // The metadata of a scaling are not written.
        "llama" if spec.rope()?.scaling == Pattern::all(RopeScaling::None) => Some("llama"),
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

/// `config` with the keys of another object.
fn with(mut config: Value, keys: Value) -> Value {
    if let (Value::Object(config), Value::Object(keys)) = (&mut config, keys) {
        config.extend(keys);
    }
    config
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
    use gpt_plan::{Block, Mask, Positions};

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
        for model_type in gpt_config::model_types() {
            let spec = gpt_config::description(&json!({ "model_type": model_type })).unwrap();
            let config = config(&spec).unwrap();
            assert_eq!(config["model_type"], model_type);
            assert!(same(&gpt_config::description(&config).unwrap(), &spec), "{config}");
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

    #[test]
    fn rotary_settings_are_written() {
        for scaling in [
            json!({ "rope_type": "linear", "factor": 3.0 }),
            json!({
                "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                "high_freq_factor": 4.0, "original_max_position_embeddings": 512,
            }),
            json!({ "rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 512 }),
        ] {
            let file = json!({
                "model_type": "llama", "partial_rotary_factor": 0.5, "rope_parameters": scaling,
            });
            let spec = gpt_config::description(&file).unwrap();
            let written = config(&spec).unwrap();
            assert_eq!(gpt_config::description(&written), Ok(spec.clone()));
            assert_eq!(architecture(&spec), None);
        }
    }
}
