//! Llama and its relatives, `llama` of llama.cpp. Each class of transformers is a row of `CLASSES`,
//! with its defaults, and a branch of `config` if it has keys of its own.
//!
//! llama.cpp's converter gives a Mistral the architecture `llama`, too. It stores the rows of
//! queries and keys of a `qwen2` in another order, which the loader of GGUF does not support, so
//! Qwen 2 is read from `config.json` only.

use gpt_plan::{Activation, Mlp, Norm, NormKind, Pattern, Positions, Rope, RopeScaling, Spec};
use serde_json::Value;

use crate::fields::{self, Fields};
use crate::gpt2::{vocab, width_of_heads};
use crate::{Tensors, activation, layers, rope};

/// The classes that are read, as `model_type` names them.
pub const MODEL_TYPES: [&str; 10] = [
    "llama",
    "mistral",
    "qwen2",
    "gemma",
    "granite",
    "smollm3",
    "olmo",
    "stablelm",
    "starcoder2",
    "nemotron",
];

/// What a class of transformers chooses if a key is absent.
struct Class {
    model_type: &'static str,
    vocab: u32,
    embed: u32,
    hidden: u32,
    layers: u32,
    heads: u32,
    /// None: as many as query heads.
    kv_heads: Option<u32>,
    context: u32,
    tied: bool,
    activation: Activation,
    rope: rope::Defaults,
    /// The norm, with the key of its epsilon if that is a setting.
    norm: Norm,
    eps: Option<&'static str>,
}

/// `LlamaConfig`, which the others differ from.
const LLAMA: Class = Class {
    model_type: "llama",
    vocab: 32_000,
    embed: 4_096,
    hidden: 11_008,
    layers: 32,
    heads: 32,
    kv_heads: None,
    context: 2_048,
    tied: false,
    activation: Activation::Silu,
    rope: rope::USUAL,
    norm: RMS,
    eps: Some("rms_norm_eps"),
};

const RMS: Norm =
    Norm { kind: NormKind::Rms, eps: 1e-6, affine: true, bias: None, unit_offset: false };

/// LayerNorm with a shift, whatever other biases there are.
const LAYER: Norm = Norm { kind: NormKind::Layer, eps: 1e-5, bias: Some(true), ..RMS };

static CLASSES: [Class; 9] = [
    LLAMA,
    Class { model_type: "mistral", hidden: 14_336, kv_heads: Some(8), context: 131_072, ..LLAMA },
    Class {
        model_type: "qwen2",
        vocab: 151_936,
        hidden: 22_016,
        kv_heads: Some(32),
        context: 32_768,
        ..LLAMA
    },
    Class {
        model_type: "gemma",
        vocab: 256_000,
        embed: 3_072,
        hidden: 24_576,
        layers: 28,
        heads: 16,
        kv_heads: Some(16),
        context: 8_192,
        tied: true,
        activation: Activation::GeluTanh,
        norm: Norm { unit_offset: true, ..RMS },
        ..LLAMA
    },
    Class { model_type: "granite", ..LLAMA },
    Class {
        model_type: "smollm3",
        vocab: 128_256,
        embed: 2_048,
        layers: 36,
        heads: 16,
        kv_heads: Some(4),
        context: 32_768,
        tied: true,
        rope: rope::Defaults { theta: 2_000_000.0, partial: 1.0 },
        ..LLAMA
    },
    Class {
        model_type: "olmo",
        vocab: 50_304,
        norm: Norm { affine: false, bias: None, ..LAYER },
        eps: None,
        ..LLAMA
    },
    Class {
        model_type: "stablelm",
        vocab: 50_304,
        embed: 2_560,
        hidden: 6_912,
        kv_heads: Some(32),
        context: 4_096,
        rope: rope::Defaults { theta: 10_000.0, partial: 0.25 },
        norm: LAYER,
        eps: Some("layer_norm_eps"),
        ..LLAMA
    },
    Class {
        model_type: "starcoder2",
        vocab: 49_152,
        embed: 3_072,
        hidden: 12_288,
        layers: 30,
        heads: 24,
        kv_heads: Some(2),
        context: 4_096,
        tied: true,
        activation: Activation::GeluTanh,
        norm: Norm { bias: None, ..LAYER },
        eps: Some("norm_epsilon"),
        ..LLAMA
    },
];

/// `NemotronConfig`. Its activation is no constant.
fn nemotron() -> Class {
    Class {
        model_type: "nemotron",
        vocab: 256_000,
        embed: 6_144,
        hidden: 24_576,
        heads: 48,
        context: 4_096,
        activation: activation::relu_squared(),
        rope: rope::Defaults { theta: 10_000.0, partial: 0.5 },
        norm: Norm { unit_offset: true, ..LAYER },
        eps: Some("norm_eps"),
        ..LLAMA
    }
}

/// Reads a `config.json`.
pub fn config(fields: &mut Fields<'_>, model_type: &str) -> Spec {
    let nemotron = nemotron();
    let class = CLASSES.iter().chain([&nemotron]).find(|class| class.model_type == model_type);
    let class = class.unwrap_or(&LLAMA);
    let embed = fields.size("hidden_size").unwrap_or(class.embed);
    let heads = fields.size("num_attention_heads").unwrap_or(class.heads);
    let layers = fields.size("num_hidden_layers").unwrap_or(class.layers);
    let context = fields.size("max_position_embeddings").unwrap_or(class.context);
    // If the file says null, there are as many as query heads, as where the class has no default.
    let default_kv = class.kv_heads.filter(|_| !fields.has("num_key_value_heads"));
    let kv_heads = fields.size("num_key_value_heads").or(default_kv).unwrap_or(heads);
    let (width, number) = ("hidden_size", "num_attention_heads");
    let default_head = (model_type == "gemma").then_some(256).filter(|_| !fields.has("head_dim"));
    let head_dim = match fields.size("head_dim").or(default_head) {
        Some(head_dim) => head_dim,
        None => width_of_heads(fields, (width, embed), (number, heads)),
    };
    let mut spec = Spec {
        vocab: fields.size("vocab_size").unwrap_or(class.vocab),
        context,
        layers,
        heads,
        kv_heads,
        embed,
        head_dim,
        norm: Norm {
            eps: class.eps.and_then(|key| fields.number(key)).unwrap_or(class.norm.eps),
            ..class.norm
        },
        mlp: Mlp {
            gated: true,
            hidden: fields.size("intermediate_size").unwrap_or(class.hidden),
            activation: fields.activation("hidden_act", class.activation.clone()),
        },
        positions: Positions::Rope(rope::read(fields, head_dim, context, class.rope)),
        bias: false,
        tie_embeddings: fields.flag("tie_word_embeddings").unwrap_or(class.tied),
        // Gemma 2's key, which this project writes for any model with a soft cap.
        logit_softcap: fields.number("final_logit_softcapping"),
        ..Spec::default()
    };
    // Dropout is for training.
    fields.ignore(&[
        "attention_dropout",
        "hidden_dropout",
        "residual_dropout",
        "embedding_dropout",
    ]);
    let mut window = (None, 0);
    match model_type {
        "mistral" => {
            // The class has a window of 4,096 unless the file says null.
            let default = Some(4_096).filter(|_| !fields.has("sliding_window"));
            window.0 = fields.size("sliding_window").or(default);
        }
        "qwen2" => {
            spec.qkv_bias = Some(true);
            let size = fields.size("sliding_window").unwrap_or(4_096);
            let used = fields.flag("use_sliding_window").unwrap_or(false);
            // Layers with an index below it have no window. 28 is the default of the class.
            let first = fields.index("max_window_layers").unwrap_or(28);
            window = (used.then_some(size), first);
            fields.only("use_mrope", false);
        }
        "gemma" => {
            biases(fields, &mut spec);
            // Gemma has no other activation: files with "gelu" mean the approximation.
            spec.mlp.activation = match spec.mlp.activation {
                Activation::Gelu => Activation::GeluTanh,
                other => other,
            };
            fields.only("hidden_activation", "gelu_pytorch_tanh");
            fields.only("use_bidirectional_attention", false);
            spec.embedding_scale = Some(f64::from(embed).sqrt());
        }
        "granite" => {
            biases(fields, &mut spec);
            let mut scale = |key| fields.number(key).filter(|scale| *scale != 1.0);
            spec.embedding_scale = scale("embedding_multiplier");
            spec.residual_scale = scale("residual_multiplier");
            spec.logit_scale = scale("logits_scaling").map(|divisor| 1.0 / divisor);
            spec.attention_scale = Some(fields.number("attention_multiplier").unwrap_or(1.0));
        }
        "smollm3" => {
            biases(fields, &mut spec);
            let interval = fields.size("no_rope_layer_interval").unwrap_or(4);
            let rotates = layers::flags(fields, "no_rope_layers", layers)
                .unwrap_or_else(|| (1..=layers).map(|n| n % interval != 0).collect());
            if let Positions::Rope(rope) = &mut spec.positions {
                let theta = rope.theta.of(0);
                rope.theta = layers::pattern(
                    rotates.iter().map(|rotates| theta.filter(|_| *rotates)).collect(),
                );
            }
            let used = fields.flag("use_sliding_window").unwrap_or(false);
            let size = fields.size("sliding_window").filter(|_| used);
            // Layers without rotation slide.
            let slides = |layer: u32| !rotates[layer as usize];
            spec.window = layers::windows(fields, layers, size, context, slides);
            return spec;
        }
        "olmo" => {
            biases(fields, &mut spec);
            fields.only("clip_qkv", Value::Null);
        }
        "stablelm" => {
            let qkv = fields.flag("use_qkv_bias").unwrap_or(false);
            spec.qkv_bias = qkv.then_some(true);
            fields.only("qk_layernorm", false);
            fields.only("use_parallel_residual", false);
        }
        "starcoder2" => {
            spec.mlp.gated = false;
            spec.bias = fields.flag("use_bias").unwrap_or(true);
            spec.norm.bias = (!spec.bias).then_some(true);
            window.0 = fields.size("sliding_window");
        }
        "nemotron" => {
            spec.mlp.gated = false;
            biases(fields, &mut spec);
        }
        _ => {
            biases(fields, &mut spec);
            fields.only("sliding_window", Value::Null);
            // Whether rows of queries and keys are interleaved; converted files say false.
            fields.only("rope_interleaved", false);
            fields.ignore(&["is_llama_config", "pretraining_tp"]);
        }
    }
    let (size, first) = window;
    spec.window = layers::windows(fields, layers, size, context, |layer| layer >= first);
    spec
}

/// The biases of attention and MLP.
fn biases(fields: &mut Fields<'_>, spec: &mut Spec) {
    spec.bias = fields.flag("attention_bias").unwrap_or(false);
    let mlp = fields.flag("mlp_bias").unwrap_or(false);
    spec.mlp_bias = (mlp != spec.bias).then_some(mlp);
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
