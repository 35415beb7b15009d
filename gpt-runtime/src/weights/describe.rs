//! Describes a spec as the `config.json` from which transformers builds the model.

use gpt_plan::{Activation, Pattern, Role, RopeScaling, Spec};
use serde_json::{Map, Value, json};

/// The configuration of `spec` as a class of transformers. None if no supported class describes it.
///
/// A candidate is written for each class, with the values that the class can express. The first one
/// that reads back as `spec` is the configuration, so a value that a class cannot express is never
/// lost.
pub fn config(spec: &Spec) -> Option<Value> {
    let relatives = LLAMAS.iter().filter_map(|class| llama(spec, class));
    let candidates = [gpt2(spec), gpt1(spec)].into_iter().flatten().chain(relatives);
    candidates.into_iter().find(|candidate| {
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
        normal.norm.bias = Some(spec.norm_bias());
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

/// A class of Llama's relatives: its `model_type`, its name, and the keys in which it differs.
struct Class {
    model_type: &'static str,
    name: &'static str,
    keys: fn(&Spec, &mut Map<String, Value>),
}

static LLAMAS: [Class; 10] = [
    Class { model_type: "llama", name: "LlamaForCausalLM", keys: |_, _| {} },
    Class {
        model_type: "qwen2",
        name: "Qwen2ForCausalLM",
        keys: |_, keys| {
            remove(keys, &["attention_bias", "mlp_bias"]);
            keys.insert("use_sliding_window".to_owned(), false.into());
        },
    },
    Class {
        model_type: "mistral",
        name: "MistralForCausalLM",
        keys: |spec, keys| {
            remove(keys, &["attention_bias", "mlp_bias"]);
            keys.insert("sliding_window".to_owned(), json!(spec.window.of(0)));
        },
    },
    Class {
        model_type: "gemma",
        name: "GemmaForCausalLM",
        keys: |_, keys| remove(keys, &["mlp_bias"]),
    },
    Class {
        model_type: "granite",
        name: "GraniteForCausalLM",
        keys: |spec, keys| {
            let divisor = spec.logit_scale.map_or(1.0, |scale| 1.0 / scale);
            for (key, value) in [
                ("embedding_multiplier", spec.embedding_scale.unwrap_or(1.0)),
                ("residual_multiplier", spec.residual_scale.unwrap_or(1.0)),
                ("logits_scaling", divisor),
                ("attention_multiplier", spec.scores(0).scale),
            ] {
                keys.insert(key.to_owned(), value.into());
            }
        },
    },
    Class {
        model_type: "smollm3",
        name: "SmolLM3ForCausalLM",
        keys: |spec, keys| {
            let rotates = |layer| u32::from(spec.rotary_table(layer).is_some());
            let flags: Vec<u32> = (0..spec.layers).map(rotates).collect();
            keys.insert("no_rope_layers".to_owned(), json!(flags));
        },
    },
    Class {
        model_type: "olmo",
        name: "OlmoForCausalLM",
        keys: |_, keys| remove(keys, &["rms_norm_eps", "mlp_bias"]),
    },
    Class {
        model_type: "stablelm",
        name: "StableLmForCausalLM",
        keys: |spec, keys| {
            rename_eps(keys, "layer_norm_eps");
            remove(keys, &["attention_bias", "mlp_bias"]);
            keys.insert("use_qkv_bias".to_owned(), spec.projection_bias(Role::Qkv).into());
        },
    },
    Class {
        model_type: "starcoder2",
        name: "Starcoder2ForCausalLM",
        keys: |spec, keys| {
            rename_eps(keys, "norm_epsilon");
            remove(keys, &["attention_bias", "mlp_bias"]);
            keys.insert("use_bias".to_owned(), spec.projection_bias(Role::Qkv).into());
            keys.insert("sliding_window".to_owned(), json!(spec.window.of(0)));
        },
    },
    Class {
        model_type: "nemotron",
        name: "NemotronForCausalLM",
        keys: |_, keys| rename_eps(keys, "norm_eps"),
    },
];

/// Removes keys that a class does not have.
fn remove(keys: &mut Map<String, Value>, names: &[&str]) {
    keys.retain(|key, _| !names.contains(&key.as_str()));
}

fn rename_eps(keys: &mut Map<String, Value>, name: &str) {
    if let Some(eps) = keys.remove("rms_norm_eps") {
        keys.insert(name.to_owned(), eps);
    }
}

/// `spec` as a class of Llama's relatives.
fn llama(spec: &Spec, class: &Class) -> Option<Value> {
    let rope = spec.rope()?;
    // A layer that rotates has the base of all of them.
    let theta = (0..spec.layers).find_map(|layer| rope.theta.of(layer))?;
    let mut parameters = json!({
        "rope_type": "default", "rope_theta": theta,
        "partial_rotary_factor": f64::from(rope.dims) / f64::from(spec.head_dim),
    });
    scaling(rope.scaling.of(0), parameters.as_object_mut()?);
    let mut config = json!({
        "architectures": [class.name], "model_type": class.model_type, "torch_dtype": "float32",
        "vocab_size": spec.vocab, "max_position_embeddings": spec.context,
        "num_hidden_layers": spec.layers, "num_attention_heads": spec.heads,
        "num_key_value_heads": spec.kv_heads, "head_dim": spec.head_dim,
        "hidden_size": spec.embed, "intermediate_size": spec.mlp.hidden,
        "hidden_act": activation(spec)?, "rms_norm_eps": spec.norm.eps,
        "rope_parameters": parameters,
        "attention_bias": spec.projection_bias(Role::Qkv),
        "mlp_bias": spec.projection_bias(Role::MlpUp),
        "tie_word_embeddings": spec.tie_embeddings, "bos_token_id": null, "eos_token_id": null,
    });
    let keys = config.as_object_mut()?;
    if spec.rotary_tables() == [(theta, RopeScaling::None)] && rope.dims == spec.head_dim {
        // As older versions of transformers write it, which all versions read.
        keys.remove("rope_parameters");
        keys.insert("rope_theta".to_owned(), theta.into());
    }
    (class.keys)(spec, keys);
    Some(config)
}

/// Adds the keys of a scaling.
fn scaling(scaling: RopeScaling, keys: &mut Map<String, Value>) {
    let values = match scaling {
        RopeScaling::None => return,
        RopeScaling::Linear { factor } => json!({ "rope_type": "linear", "factor": factor }),
        RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_context } => {
            json!({
                "rope_type": "llama3", "factor": factor, "low_freq_factor": low_freq_factor,
                "high_freq_factor": high_freq_factor,
                "original_max_position_embeddings": original_context,
            })
        }
        RopeScaling::Yarn {
            factor,
            original_context,
            beta_fast,
            beta_slow,
            attention_factor,
            truncate,
        } => json!({
            "rope_type": "yarn", "factor": factor,
            "original_max_position_embeddings": original_context, "beta_fast": beta_fast,
            "beta_slow": beta_slow, "attention_factor": attention_factor, "truncate": truncate,
        }),
    };
    if let Value::Object(values) = values {
        keys.extend(values);
    }
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
