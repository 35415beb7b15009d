//! The keys that not every class has, and how else each class differs from Llama.

use gpt_plan::{Activation, Block, NormGroups, Positions, QkNorm, RotaryPairs, Spec, TensorNames};
use serde_json::Value;

use crate::fields::Fields;
use crate::{layers, rope};

/// Reads the keys that are specific to the class `model_type`, or to a few classes, into `spec`,
/// which already has the values of Llama's keys.
pub fn keys(fields: &mut Fields<'_>, model_type: &str, spec: &mut Spec) {
    match model_type {
        "mistral" => {
            // Without the key, the class has a window of 4,096 tokens; null means none.
            let default = Some(4_096).filter(|_| !fields.has("sliding_window"));
            let size = fields.size("sliding_window").or(default);
            windows(fields, spec, size, |_| true);
        }
        "qwen2" => {
            spec.qkv_bias = Some(true);
            qwen_windows(fields, spec);
            fields.only("use_mrope", false);
        }
        "qwen3" => {
            // Only the projections of the attention can have biases: there is no `mlp_bias`.
            biases(fields, spec, false);
            spec.qk_norm = Some(QkNorm { norm: spec.norm, over: NormGroups::Head });
            qwen_windows(fields, spec);
        }
        "gemma" => {
            biases(fields, spec, false);
            gemma(fields, spec);
            // Gemma always uses the tanh approximation of GELU, so "gelu" in a file means it too.
            spec.mlp.activation = match &spec.mlp.activation {
                Activation::Gelu => Activation::GeluTanh,
                other => other.clone(),
            };
            fields.only("hidden_activation", "gelu_pytorch_tanh");
            no_windows(fields, spec);
        }
        "gemma2" => {
            gemma2(fields, spec);
            spec.logit_softcap = softcap(fields, "final_logit_softcapping", Some(30.0));
            spec.attention_softcap = softcap(fields, "attn_logit_softcapping", Some(50.0));
            let size = window_or(fields, 4_096);
            windows(fields, spec, size, |layer| layer % 2 == 0);
        }
        "gemma3_text" => {
            gemma2(fields, spec);
            spec.logit_softcap = softcap(fields, "final_logit_softcapping", None);
            spec.attention_softcap = softcap(fields, "attn_logit_softcapping", None);
            spec.qk_norm = Some(QkNorm { norm: spec.norm, over: NormGroups::Head });
            let period = fields.size("sliding_window_pattern").unwrap_or(6);
            let period = fields.size("_sliding_window_pattern").unwrap_or(period);
            let size = window_or(fields, 4_096);
            let sliding = layers::sliding(fields, spec.layers, |n| (n + 1) % period != 0);
            let key = "rope_local_base_freq";
            let local = rope::local(fields, spec.head_dim, spec.context, key, 10_000.0);
            if let Positions::Rope(global) = &mut spec.positions {
                *global = rope::by_kind(global.clone(), &local, &sliding);
            }
            windows(fields, spec, size, |layer| sliding[layer as usize]);
        }
        "granite" => {
            biases(fields, spec, true);
            let mut scale = |key| fields.number(key).filter(|scale| *scale != 1.0);
            spec.embedding_scale = scale("embedding_multiplier");
            spec.residual_scale = scale("residual_multiplier");
            spec.logit_scale = scale("logits_scaling").map(|divisor| 1.0 / divisor);
            spec.attention_scale = Some(fields.number("attention_multiplier").unwrap_or(1.0));
            no_windows(fields, spec);
        }
        "smollm3" => {
            biases(fields, spec, true);
            let interval = fields.size("no_rope_layer_interval").unwrap_or(4);
            let rotates = layers::flags(fields, "no_rope_layers", spec.layers)
                .unwrap_or_else(|| (1..=spec.layers).map(|n| n % interval != 0).collect());
            if let Positions::Rope(rope) = &mut spec.positions {
                let theta = rope.theta.of(0);
                let theta = |rotates: &bool| theta.filter(|_| *rotates);
                rope.theta = layers::pattern(rotates.iter().map(theta).collect());
            }
            let used = fields.flag("use_sliding_window").unwrap_or(false);
            let size = fields.size("sliding_window").filter(|_| used);
            // Layers without rotation have the window.
            windows(fields, spec, size, |layer| !rotates[layer as usize]);
        }
        "olmo" => {
            // The MLP has no biases.
            biases(fields, spec, false);
            fields.only("clip_qkv", Value::Null);
            no_windows(fields, spec);
        }
        "olmo2" => {
            biases(fields, spec, false);
            spec.block = Block::PostBranch;
            spec.qk_norm = Some(QkNorm { norm: spec.norm, over: NormGroups::Width });
            no_windows(fields, spec);
        }
        "phi" => {
            spec.names = TensorNames::Phi;
            spec.block = Block::Parallel { norms: 1 };
            spec.mlp.gated = false;
            (spec.bias, spec.head_bias) = (true, true);
            if fields.flag("qk_layernorm").unwrap_or(false) {
                spec.qk_norm = Some(QkNorm { norm: spec.norm, over: NormGroups::Head });
            }
            fields.ignore(&["resid_pdrop", "embd_pdrop"]);
            no_windows(fields, spec);
        }
        "phi3" => {
            spec.names = TensorNames::Phi3;
            fields.ignore(&["resid_pdrop", "embd_pdrop"]);
            let size = fields.size("sliding_window");
            windows(fields, spec, size, |_| true);
        }
        "cohere" => {
            biases(fields, spec, false);
            spec.block = Block::Parallel { norms: 1 };
            let scale = fields.number("logit_scale").unwrap_or(0.0625);
            spec.logit_scale = Some(scale).filter(|scale| *scale != 1.0);
            if fields.flag("use_qk_norm").unwrap_or(false) {
                spec.qk_norm = Some(QkNorm { norm: spec.norm, over: NormGroups::EachHead });
            }
            if let Positions::Rope(rope) = &mut spec.positions {
                rope.pairs = RotaryPairs::Interleaved;
            }
            no_windows(fields, spec);
        }
        "stablelm" => {
            let qkv = fields.flag("use_qkv_bias").unwrap_or(false);
            spec.qkv_bias = qkv.then_some(true);
            fields.only("qk_layernorm", false);
            if fields.flag("use_parallel_residual").unwrap_or(false) {
                spec.block = Block::Parallel { norms: 1 };
            }
            no_windows(fields, spec);
        }
        "starcoder2" => {
            spec.mlp.gated = false;
            spec.bias = fields.flag("use_bias").unwrap_or(true);
            spec.norm.bias = (!spec.bias).then_some(true);
            // Keys of early files. The class does not read them.
            fields.ignore(&["activation_function", "attention_softmax_in_fp32", "mlp_type"]);
            fields.ignore(&["layer_norm_epsilon", "norm_type", "scale_attention_softmax_in_fp32"]);
            fields.ignore(&["scale_attn_weights"]);
            let size = fields.size("sliding_window");
            windows(fields, spec, size, |_| true);
        }
        "nemotron" => {
            spec.mlp.gated = false;
            biases(fields, spec, true);
            no_windows(fields, spec);
        }
        "gpt_neox" => {
            spec.names = TensorNames::GptNeoX;
            spec.mlp.gated = false;
            let attention = fields.flag("attention_bias").unwrap_or(true);
            (spec.bias, spec.norm.bias) = (true, None);
            (spec.qkv_bias, spec.attn_out_bias) = match attention {
                true => (None, None),
                false => (Some(false), Some(false)),
            };
            if fields.flag("use_parallel_residual").unwrap_or(true) {
                spec.block = Block::Parallel { norms: 2 };
            }
            fields.ignore(&["classifier_dropout", "is_decoder"]);
            no_windows(fields, spec);
        }
        _ => {
            biases(fields, spec, true);
            fields.only("sliding_window", Value::Null);
            // Some files of the hub have this key, which says whether rotation pairs neighbouring
            // elements of a head. The class ignores the key and always pairs elements that are half
            // a head apart.
            fields.only("rope_interleaved", false);
            fields.ignore(&["is_llama_config", "pretraining_tp"]);
            no_windows(fields, spec);
        }
    }
}

/// Reads whether the attention has biases. `of_mlp` says whether the class also has a key for
/// biases of the MLP.
fn biases(fields: &mut Fields<'_>, spec: &mut Spec, of_mlp: bool) {
    spec.bias = fields.flag("attention_bias").unwrap_or(false);
    let mlp = of_mlp && fields.flag("mlp_bias").unwrap_or(false);
    spec.mlp_bias = (mlp != spec.bias).then_some(mlp);
}

/// Sets what Gemma, Gemma 2 and Gemma 3 have in common beyond Llama's keys.
fn gemma(fields: &mut Fields<'_>, spec: &mut Spec) {
    fields.only("use_bidirectional_attention", false);
    spec.embedding_scale = Some(f64::from(spec.embed).sqrt());
}

/// Sets what Gemma 2 and Gemma 3 have in common beyond Llama's keys.
fn gemma2(fields: &mut Fields<'_>, spec: &mut Spec) {
    biases(fields, spec, false);
    gemma(fields, spec);
    spec.block = Block::Sandwich;
    spec.mlp.activation = fields.activation("hidden_activation", Activation::GeluTanh);
    let scalar = fields.number("query_pre_attn_scalar").unwrap_or(256.0);
    spec.attention_scale = Some(1.0 / scalar.sqrt());
}

/// A soft cap, which the file may switch off with null.
fn softcap(fields: &mut Fields<'_>, key: &'static str, default: Option<f64>) -> Option<f64> {
    fields.number(key).or(default.filter(|_| !fields.has(key)))
}

/// The window, which the file may switch off with null.
fn window_or(fields: &mut Fields<'_>, default: u32) -> Option<u32> {
    fields.size("sliding_window").or(Some(default).filter(|_| !fields.has("sliding_window")))
}

/// Reads the windows of Qwen 2 and 3.
fn qwen_windows(fields: &mut Fields<'_>, spec: &mut Spec) {
    let size = fields.size("sliding_window").unwrap_or(4_096);
    let used = fields.flag("use_sliding_window").unwrap_or(false);
    // Layers with an index below `max_window_layers` have no window. 28 is the default of the
    // class.
    let first = fields.index("max_window_layers").unwrap_or(28);
    windows(fields, spec, used.then_some(size), |layer| layer >= first);
}

fn no_windows(fields: &mut Fields<'_>, spec: &mut Spec) {
    windows(fields, spec, None, |_| false);
}

fn windows(
    fields: &mut Fields<'_>,
    spec: &mut Spec,
    size: Option<u32>,
    slides: impl Fn(u32) -> bool,
) {
    spec.window = layers::windows(fields, spec.layers, size, spec.context, slides);
}
