//! Writes the `config.json` from which transformers builds a model. `llamas` has the classes with
//! Llama's keys, `others` the rest.

mod llamas;
mod others;

use gpt_plan::{Activation, Role, Spec};
use serde_json::{Value, json};

/// The configuration of `spec` as a class of transformers; `None` if no supported class describes
/// it.
///
/// A candidate is written for each class, with the values that the class can express. The first one
/// that reads back as `spec` is the configuration, so a value that a class cannot express is never
/// lost.
pub fn config(spec: &Spec) -> Option<Value> {
    let own = [gpt2(spec), gpt1(spec)].into_iter().flatten();
    let mut candidates = own.chain(llamas::candidates(spec)).chain(others::candidates(spec));
    candidates.find(|candidate| {
        let read = crate::description(candidate);
        read.is_ok_and(|read| same(&read, spec))
    })
}

/// Whether two specs are the same model, however their biases are written. Dropout is not compared,
/// because it matters only in training.
pub fn same(a: &Spec, b: &Spec) -> bool {
    let normal = |spec: &Spec| {
        let roles = [Role::Qkv, Role::AttentionOut, Role::MlpUp];
        let mut normal = spec.clone();
        [normal.qkv_bias, normal.attn_out_bias, normal.mlp_bias] =
            roles.map(|role| Some(spec.projection_bias(role)));
        normal.norm.bias = Some(spec.norm_bias(&spec.norm));
        if let Some(own) = &mut normal.qk_norm {
            own.norm.bias = Some(spec.norm_bias(&own.norm));
        }
        // The biases of all other layers have separate keys; the head's dense layer uses `bias`.
        normal.bias = spec.head_dense && spec.bias;
        normal.dropout = 0.0;
        normal
    };
    normal(a) == normal(b)
}

fn gpt2(spec: &Spec) -> Option<Value> {
    one_width(spec)?;
    Some(with_bias(
        spec,
        json!({
            "architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "torch_dtype": "float32",
            "vocab_size": spec.vocab, "n_positions": spec.context, "n_ctx": spec.context, "n_layer": spec.layers,
            "n_head": spec.heads, "n_embd": spec.embed, "n_inner": spec.mlp.hidden,
            "activation_function": activation_name(spec)?, "layer_norm_epsilon": spec.norm.eps,
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

/// Adds nanoGPT's key `bias` if `spec` has no biases; transformers has no key for that.
fn with_bias(spec: &Spec, mut config: Value) -> Value {
    if !spec.bias {
        config["bias"] = false.into();
    }
    config
}

/// `config` with the keys of the object `keys` added.
fn with(mut config: Value, keys: Value) -> Value {
    if let (Value::Object(config), Value::Object(keys)) = (&mut config, keys) {
        config.extend(keys);
    }
    config
}

/// `None` unless `spec` has as many key heads as query heads and `heads * head_dim == embed`, which
/// OpenAI's GPTs and many other classes require.
fn one_width(spec: &Spec) -> Option<()> {
    (spec.kv_heads == spec.heads && spec.q_width() == spec.embed).then_some(())
}

/// The name of the activation in transformers.
pub fn activation_name(spec: &Spec) -> Option<&'static str> {
    match spec.mlp.activation.name()? {
        "Gelu" => Some("gelu"),
        "GeluTanh" => Some("gelu_new"),
        "Relu" => Some("relu"),
        "ReluSquared" => Some("relu2"),
        "Silu" => Some("silu"),
        _ => None,
    }
}
