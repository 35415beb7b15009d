//! The classes that have Llama's keys.

use gpt_plan::{Role, RopeScaling, Spec};
use serde_json::{Map, Value, json};

use super::activation_name;

/// A class: its `model_type`, its name, and a function that changes the keys in which it differs
/// from Llama.
struct Class {
    model_type: &'static str,
    name: &'static str,
    keys: fn(&Spec, &mut Map<String, Value>),
}

static CLASSES: [Class; 18] = [
    Class { model_type: "llama", name: "LlamaForCausalLM", keys: |_, _| {} },
    Class {
        model_type: "qwen2",
        name: "Qwen2ForCausalLM",
        keys: |spec, keys| {
            remove(keys, &["attention_bias", "mlp_bias"]);
            qwen_windows(spec, keys);
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
            let parallel = spec.block.is_parallel();
            keys.insert("use_parallel_residual".to_owned(), parallel.into());
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
    Class {
        model_type: "qwen3",
        name: "Qwen3ForCausalLM",
        keys: |spec, keys| {
            remove(keys, &["mlp_bias"]);
            qwen_windows(spec, keys);
        },
    },
    Class { model_type: "gemma2", name: "Gemma2ForCausalLM", keys: |spec, keys| gemma(spec, keys) },
    Class {
        model_type: "gemma3_text",
        name: "Gemma3ForCausalLM",
        keys: |spec, keys| {
            gemma(spec, keys);
            let theta = |slides: bool| {
                let mut layers = 0..spec.layers;
                let layer = layers.find(|layer| spec.window.of(*layer).is_some() == slides)?;
                spec.rope()?.theta.of(layer)
            };
            keys.remove("rope_theta");
            if let Some(parameters) = keys.get("rope_parameters").cloned() {
                let mut by_kind = json!({ "full_attention": parameters });
                by_kind["full_attention"]["rope_theta"] = json!(theta(false));
                by_kind["sliding_attention"] =
                    json!({ "rope_type": "default", "rope_theta": theta(true) });
                keys.insert("rope_parameters".to_owned(), by_kind);
            }
        },
    },
    Class {
        model_type: "olmo2",
        name: "Olmo2ForCausalLM",
        keys: |_, keys| remove(keys, &["mlp_bias"]),
    },
    Class {
        model_type: "phi",
        name: "PhiForCausalLM",
        keys: |spec, keys| {
            rename_eps(keys, "layer_norm_eps");
            remove(keys, &["attention_bias", "mlp_bias", "head_dim"]);
            keys.insert("qk_layernorm".to_owned(), spec.qk_norm.is_some().into());
        },
    },
    Class {
        model_type: "phi3",
        name: "Phi3ForCausalLM",
        keys: |spec, keys| {
            remove(keys, &["attention_bias", "mlp_bias", "head_dim"]);
            keys.insert("sliding_window".to_owned(), json!(spec.window.of(0)));
        },
    },
    Class {
        model_type: "cohere",
        name: "CohereForCausalLM",
        keys: |spec, keys| {
            rename_eps(keys, "layer_norm_eps");
            remove(keys, &["mlp_bias", "head_dim"]);
            keys.insert("logit_scale".to_owned(), spec.logit_scale.unwrap_or(1.0).into());
            keys.insert("use_qk_norm".to_owned(), spec.qk_norm.is_some().into());
        },
    },
    Class {
        model_type: "gpt_neox",
        name: "GPTNeoXForCausalLM",
        keys: |spec, keys| {
            rename_eps(keys, "layer_norm_eps");
            remove(keys, &["num_key_value_heads", "mlp_bias", "head_dim"]);
            let parallel = spec.block.is_parallel();
            keys.insert("use_parallel_residual".to_owned(), parallel.into());
        },
    },
];

/// Writes the keys that Gemma 2 and 3 have in common.
fn gemma(spec: &Spec, keys: &mut Map<String, Value>) {
    remove(keys, &["mlp_bias"]);
    if let Some(activation) = keys.remove("hidden_act") {
        let tanh = activation == "gelu_new";
        let name = if tanh { json!("gelu_pytorch_tanh") } else { activation };
        keys.insert("hidden_activation".to_owned(), name);
    }
    // The scale is 1 / sqrt(query_pre_attn_scalar).
    let scale = spec.scores(0).scale;
    let scalar = 1.0 / (scale * scale);
    let scalar = if (scalar - scalar.round()).abs() < 1e-9 { scalar.round() } else { scalar };
    keys.insert("query_pre_attn_scalar".to_owned(), scalar.into());
    keys.insert("final_logit_softcapping".to_owned(), json!(spec.logit_softcap));
    keys.insert("attn_logit_softcapping".to_owned(), json!(spec.attention_softcap));
    windows(spec, keys);
}

/// Adds the key that switches windows on or off and, if there are windows, the keys of [`windows`].
fn qwen_windows(spec: &Spec, keys: &mut Map<String, Value>) {
    let used = spec.window.0.iter().any(Option::is_some);
    keys.insert("use_sliding_window".to_owned(), used.into());
    if used {
        windows(spec, keys);
    }
}

/// Adds the window and the kind of each layer.
fn windows(spec: &Spec, keys: &mut Map<String, Value>) {
    let size = spec.window.0.iter().flatten().next();
    let kind = |layer| match spec.window.of(layer) {
        Some(_) => "sliding_attention",
        None => "full_attention",
    };
    let kinds: Vec<&str> = (0..spec.layers).map(kind).collect();
    keys.insert("sliding_window".to_owned(), json!(size));
    keys.insert("layer_types".to_owned(), json!(kinds));
}

/// Removes keys that a class does not have.
fn remove(keys: &mut Map<String, Value>, names: &[&str]) {
    keys.retain(|key, _| !names.contains(&key.as_str()));
}

fn rename_eps(keys: &mut Map<String, Value>, name: &str) {
    if let Some(eps) = keys.remove("rms_norm_eps") {
        keys.insert(name.to_owned(), eps);
    }
}

/// `spec` as each of the classes, with the values that the class can express.
pub fn candidates(spec: &Spec) -> impl Iterator<Item = Value> {
    CLASSES.iter().filter_map(|class| candidate(spec, class))
}

fn candidate(spec: &Spec, class: &Class) -> Option<Value> {
    let rope = spec.rope()?;
    // The base of the first layer that rotates is written for all layers.
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
        "hidden_act": activation_name(spec)?, "rms_norm_eps": spec.norm.eps,
        "rope_parameters": parameters,
        "attention_bias": spec.projection_bias(Role::Qkv),
        "mlp_bias": spec.projection_bias(Role::MlpUp),
        "tie_word_embeddings": spec.tie_embeddings, "bos_token_id": null, "eos_token_id": null,
    });
    let keys = config.as_object_mut()?;
    let old = spec.rotary_tables() == [(theta, RopeScaling::None)] && rope.dims == spec.head_dim;
    if old && class.model_type != "gemma3_text" {
        // All versions of transformers read the form that older ones write.
        keys.remove("rope_parameters");
        keys.insert("rope_theta".to_owned(), theta.into());
    }
    (class.keys)(spec, keys);
    Some(config)
}

/// Adds the keys of a scaling of rotary frequencies.
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
