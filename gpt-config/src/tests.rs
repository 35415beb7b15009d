//! Descriptions of several families, their defaults, and what is refused.

use gpt_plan::{Activation, Block, NormKind, Pattern, Positions, Rope, RopeScaling, Spec};
use serde_json::{Value, json};

use super::*;

#[track_caller]
fn read(config: Value) -> Spec {
    description(&config).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

/// The only problem of a file.
#[track_caller]
fn problem(config: Value) -> String {
    let problems = description(&config).expect_err("the file has a problem");
    assert_eq!(problems.len(), 1, "{problems:#?}");
    problems.into_iter().next().unwrap()
}

fn with(mut config: Value, key: &str, value: Value) -> Value {
    config[key] = value;
    config
}

fn theta(spec: &Spec) -> f64 {
    spec.rope().and_then(|rope| rope.theta.of(0)).expect("a rotary model")
}

/// The published `config.json` of GPT-2.
fn gpt2() -> Value {
    json!({
        "activation_function": "gelu_new", "architectures": ["GPT2LMHeadModel"],
        "attn_pdrop": 0.1, "bos_token_id": 50256, "embd_pdrop": 0.1, "eos_token_id": 50256,
        "initializer_range": 0.02, "layer_norm_epsilon": 1e-05, "model_type": "gpt2",
        "n_ctx": 1024, "n_embd": 768, "n_head": 12, "n_layer": 12, "n_positions": 1024,
        "resid_pdrop": 0.1, "summary_activation": null, "summary_first_dropout": 0.1,
        "summary_proj_to_labels": true, "summary_type": "cls_index", "summary_use_proj": true,
        "task_specific_params": { "text-generation": { "do_sample": true, "max_length": 50 } },
        "vocab_size": 50257
    })
}

/// The published `config.json` of SmolLM2-135M.
fn smollm2() -> Value {
    json!({
        "_name_or_path": "HuggingFaceTB/SmolLM2-135M", "architectures": ["LlamaForCausalLM"],
        "attention_bias": false, "attention_dropout": 0.0, "bos_token_id": 0, "eos_token_id": 0,
        "hidden_act": "silu", "hidden_size": 576, "initializer_range": 0.041666666666666664,
        "intermediate_size": 1536, "is_llama_config": true, "max_position_embeddings": 8192,
        "mlp_bias": false, "model_type": "llama", "num_attention_heads": 9,
        "num_hidden_layers": 30, "num_key_value_heads": 3, "pretraining_tp": 1,
        "rms_norm_eps": 1e-05, "rope_interleaved": false, "rope_scaling": null,
        "rope_theta": 100000, "tie_word_embeddings": true, "torch_dtype": "bfloat16",
        "transformers_version": "4.40.1", "use_cache": true, "vocab_size": 49152
    })
}

/// The published `config.json` of Qwen2.5-0.5B.
fn qwen2() -> Value {
    json!({
        "architectures": ["Qwen2ForCausalLM"], "attention_dropout": 0.0, "bos_token_id": 151643,
        "eos_token_id": 151643, "hidden_act": "silu", "hidden_size": 896,
        "initializer_range": 0.02, "intermediate_size": 4864, "max_position_embeddings": 32768,
        "max_window_layers": 24, "model_type": "qwen2", "num_attention_heads": 14,
        "num_hidden_layers": 24, "num_key_value_heads": 2, "rms_norm_eps": 1e-06,
        "rope_theta": 1000000.0, "sliding_window": 32768, "tie_word_embeddings": true,
        "torch_dtype": "bfloat16", "transformers_version": "4.40.1", "use_cache": true,
        "use_mrope": false, "use_sliding_window": false, "vocab_size": 151936
    })
}

#[test]
fn gpt2_is_read() {
    let spec = read(gpt2());
    assert_eq!((spec.vocab, spec.context, spec.layers), (50_257, 1_024, 12));
    assert_eq!((spec.heads, spec.kv_heads, spec.embed, spec.head_dim), (12, 12, 768, 64));
    assert_eq!((spec.mlp.hidden, &spec.mlp.activation), (3_072, &Activation::GeluTanh));
    assert!(spec.bias && spec.tie_embeddings && !spec.mlp.gated);
    // The defaults of the class are the values of the smallest GPT-2.
    assert_eq!(read(json!({ "model_type": "gpt2" })), spec);
    let narrow = with(with(gpt2(), "n_inner", json!(512)), "bias", json!(false));
    let narrow = read(narrow);
    assert_eq!((narrow.mlp.hidden, narrow.bias), (512, false));
}

#[test]
fn gpt1_is_read() {
    let spec = read(json!({ "model_type": "openai-gpt", "afn": "gelu", "n_special": 0 }));
    assert_eq!((spec.vocab, spec.context, spec.mlp.hidden), (40_478, 512, 3_072));
    assert_eq!((spec.block, &spec.mlp.activation), (Block::PostNorm, &Activation::GeluTanh));
    // transformers has its own names for the activations of this family.
    assert!(problem(json!({ "model_type": "openai-gpt", "afn": "gelu_new" })).contains("gelu_new"));
}

#[test]
fn llama_is_read() {
    let spec = read(smollm2());
    assert_eq!((spec.vocab, spec.context, spec.layers), (49_152, 8_192, 30));
    assert_eq!((spec.heads, spec.kv_heads, spec.embed, spec.head_dim), (9, 3, 576, 64));
    assert_eq!((spec.norm.kind, spec.norm.eps), (NormKind::Rms, 1e-5));
    assert_eq!((theta(&spec), spec.mlp.hidden, spec.mlp.gated), (100_000.0, 1_536, true));
    assert!(spec.tie_embeddings && !spec.bias);

    let spec = read(json!({ "model_type": "llama" }));
    assert_eq!((spec.vocab, spec.context, spec.layers), (32_000, 2_048, 32));
    assert_eq!((spec.heads, spec.kv_heads, spec.embed, spec.head_dim), (32, 32, 4_096, 128));
    assert_eq!((spec.norm.eps, theta(&spec), spec.mlp.hidden), (1e-6, 10_000.0, 11_008));
    assert!(!spec.tie_embeddings);

    let wide = with(with(smollm2(), "head_dim", json!(80)), "num_key_value_heads", Value::Null);
    let wide = read(wide);
    assert_eq!((wide.head_dim, wide.kv_heads), (80, 9));
    let both = with(with(smollm2(), "attention_bias", json!(true)), "mlp_bias", json!(true));
    assert!(read(both).bias);
    let squared = read(with(smollm2(), "hidden_act", json!("relu2")));
    assert_eq!(squared.mlp.activation.name(), Some("ReluSquared"));
}

#[test]
fn mistral_is_read() {
    let config = json!({
        "model_type": "mistral", "hidden_size": 1024, "max_position_embeddings": 4096,
        "rope_theta": 1e6,
    });
    let spec = read(config.clone());
    assert_eq!((spec.kv_heads, spec.mlp.hidden, spec.head_dim), (8, 14_336, 32));
    assert_eq!(theta(&spec), 1e6);
    // If the key is absent, the window has 4,096 tokens; if it is null, there is no window.
    let long = with(config, "max_position_embeddings", json!(8192));
    assert_eq!(read(long.clone()).window, Pattern::all(Some(4_096)));
    for none in [Value::Null, json!(8192)] {
        assert_eq!(read(with(long.clone(), "sliding_window", none)).window, Pattern::all(None));
    }
}

#[test]
fn qwen2_is_read() {
    let spec = read(qwen2());
    assert_eq!((spec.bias, spec.qkv_bias), (false, Some(true)));
    assert_eq!((spec.heads, spec.kv_heads, spec.head_dim), (14, 2, 64));
    assert_eq!((theta(&spec), spec.norm.eps), (1e6, 1e-6));
    let sliding = with(qwen2(), "use_sliding_window", json!(true));
    assert_eq!(read(sliding.clone()), spec);
    let mut short = with(sliding, "sliding_window", json!(64));
    short["max_window_layers"] = json!(22);
    let window = read(short).window;
    assert_eq!((window.of(21), window.of(22), window.of(23)), (None, Some(64), Some(64)));
    let spec = read(json!({ "model_type": "qwen2" }));
    assert_eq!((spec.vocab, spec.kv_heads, spec.mlp.hidden), (151_936, 32, 22_016));
}

#[test]
fn rotary_bases_have_two_places() {
    let new = json!({ "rope_type": "default", "rope_theta": 500_000.0 });
    let mut config = with(smollm2(), "rope_parameters", new.clone());
    let twice = "rope_theta is 100000 in config.json, and 500000 in its rope_parameters; remove one of them";
    assert_eq!(problem(config.clone()), twice);
    let scaling = problem(with(smollm2(), "rope_scaling", new));
    assert_eq!(scaling, twice.replace("rope_parameters", "rope_scaling"));
    config.as_object_mut().unwrap().remove("rope_theta");
    let spec = read(config.clone());
    assert_eq!(theta(&spec), 500_000.0);
    let rope = Positions::Rope(Rope::new(Pattern::all(Some(500_000.0)), 64));
    assert_eq!(spec.positions, rope);
    for key in ["rope_scaling", "rope_parameters"] {
        let other = with(config.clone(), key, json!({ "type": "longrope", "factor": 4.0 }));
        let message = "rotary scaling of type longrope in config.json is not supported";
        assert_eq!(problem(other), message);
        let unknown = with(config.clone(), key, json!({ "rope_type": "default", "factor": 4.0 }));
        assert!(problem(unknown).starts_with(&format!("the key factor of {key} is unknown")));
        assert!(problem(with(config.clone(), key, json!([1]))).contains("has to be an object"));
    }
}

#[test]
fn rotary_scalings_are_read() {
    let scaling = |parameters: Value| {
        let mut config = with(smollm2(), "rope_scaling", parameters);
        config["max_position_embeddings"] = json!(8_192);
        let spec = read(config);
        spec.rope().unwrap().scaling.of(0)
    };
    let linear = json!({ "type": "linear", "factor": 4.0 });
    assert_eq!(scaling(linear), RopeScaling::Linear { factor: 4.0 });
    let llama3 = json!({
        "rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 2_048,
    });
    let expected = RopeScaling::Llama3 {
        factor: 32.0,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_context: 2_048,
    };
    assert_eq!(scaling(llama3), expected);
    let yarn = |attention_factor| RopeScaling::Yarn {
        factor: 4.0,
        original_context: 2_048,
        beta_fast: 32.0,
        beta_slow: 1.0,
        attention_factor,
        truncate: true,
    };
    // Without a factor, the ratio of the contexts is used.
    let plain = json!({ "rope_type": "yarn", "original_max_position_embeddings": 2_048 });
    assert_eq!(scaling(plain.clone()), yarn(None));
    let mut scaled = plain;
    scaled["mscale"] = json!(1.0);
    scaled["mscale_all_dim"] = json!(0.5);
    let factor = (0.1 * 4f64.ln() + 1.0) / (0.05 * 4f64.ln() + 1.0);
    assert_eq!(scaling(scaled), yarn(Some(factor)));
    // Half of each head rotates.
    let half = read(with(smollm2(), "partial_rotary_factor", json!(0.5)));
    assert_eq!(half.rope().unwrap().dims, 32);
    let missing = with(smollm2(), "rope_scaling", json!({ "type": "linear" }));
    assert_eq!(problem(missing), "rope_scaling has no factor");
}

/// If these values were ignored, each file would load and compute something else.
#[test]
fn values_that_are_not_supported_are_refused() {
    for (config, key, value) in [
        (gpt2(), "scale_attn_by_inverse_layer_idx", json!(true)),
        (gpt2(), "scale_attn_weights", json!(false)),
        (gpt2(), "add_cross_attention", json!(true)),
        (gpt2(), "is_encoder_decoder", json!(true)),
        (gpt2(), "n_ctx", json!(512)),
        (gpt2(), "activation_function", json!("quick_gelu")),
        (smollm2(), "rope_interleaved", json!(true)),
        (smollm2(), "partial_rotary_factor", json!("half")),
        (smollm2(), "sliding_window", json!(4096)),
        (smollm2(), "layer_types", json!(["full_attention", "sliding_attention"])),
        (smollm2(), "hidden_act", json!("mish")),
        (smollm2(), "hidden_size", json!(577)),
        (smollm2(), "quantization_config", json!({ "bits": 4 })),
        (qwen2(), "use_mrope", json!(true)),
        (qwen2(), "dual_chunk_attention_config", json!({})),
    ] {
        let message = problem(with(config, key, value));
        assert!(message.contains(key), "{key}: {message}");
        assert!(message.contains("config.json"), "{key}: {message}");
    }
}

#[test]
fn unknown_keys_and_architectures_are_named() {
    let unknown = problem(with(gpt2(), "windows", json!(3)));
    let expected = "the key windows of config.json is unknown; remove it if it does not change what the model computes";
    assert_eq!(unknown, expected);
    let other = problem(json!({ "model_type": "gemma3" }));
    let expected = "the model_type gemma3 of config.json is not supported; the nearest of the 31 \
                    supported ones are gemma, gemma2 and gemma3_text; docs/src/weights.md lists all";
    assert_eq!(other, expected);
    // A name that is not shown as a whole.
    let long = problem(json!({ "model_type": "gemma3".repeat(1_000) }));
    assert!(long.len() < 300, "{long}");
    assert!(problem(json!({ "n_layer": 2 })).starts_with("config.json has no model_type"));
    assert!(problem(json!({ "model_type": 7 })).contains("model_type is 7"));
    assert!(problem(json!([])).contains("is not a JSON object"));
}

/// Every key of four files, with a value of another type or of an absurd size.
#[test]
fn wrong_types_are_problems_and_never_panic() {
    let deep = (0..100).fold(json!(1), |inner, _| json!([inner]));
    let wrong = [
        json!(-1),
        json!(0),
        json!(1.5),
        json!(1e300),
        json!(u64::MAX),
        json!("12"),
        json!(true),
        json!({ "rope_theta": "x", "rope_type": 3 }),
        json!("\u{1b}[2J".repeat(1_000)),
        deep,
    ];
    for config in [gpt2(), smollm2(), qwen2(), with(gpt2(), "model_type", json!("openai-gpt"))] {
        for key in config.as_object().unwrap().keys() {
            for value in &wrong {
                let found = description(&with(config.clone(), key, value.clone()));
                for problem in found.err().into_iter().flatten() {
                    assert!(problem.len() < 400, "{problem}");
                    assert!(!problem.contains(char::is_control), "{problem}");
                }
            }
        }
    }
    let zero = problem(with(gpt2(), "n_layer", json!(0)));
    let expected = "n_layer is 0 in config.json; it has to be an integer from 1 to 4294967295";
    assert_eq!(zero, expected);
    let none = problem(with(gpt2(), "layer_norm_epsilon", json!(0.0)));
    assert!(none.contains("a number above 0"), "{none}");
}

/// The published `config.json` of all-MiniLM-L6-v2, and the differences of other encoders.
#[test]
fn encoders() {
    let minilm = json!({
        "_name_or_path": "nreimers/MiniLM-L6-H384-uncased", "architectures": ["BertModel"],
        "attention_probs_dropout_prob": 0.1, "gradient_checkpointing": false, "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1, "hidden_size": 384, "initializer_range": 0.02,
        "intermediate_size": 1536, "layer_norm_eps": 1e-12, "max_position_embeddings": 512,
        "model_type": "bert", "num_attention_heads": 12, "num_hidden_layers": 6, "pad_token_id": 0,
        "position_embedding_type": "absolute", "transformers_version": "4.8.2",
        "type_vocab_size": 2, "use_cache": true, "vocab_size": 30522
    });
    let spec = read(minilm.clone());
    assert_eq!((spec.layers, spec.head_dim, spec.mlp.hidden), (6, 32, 1_536));
    assert_eq!((spec.block, spec.token_types), (Block::PostNorm, Some(2)));
    assert!(!spec.is_causal() && spec.embedding_norm);
    let decoder = problem(with(minilm.clone(), "is_decoder", true.into()));
    assert_eq!(decoder, "is_decoder is true in config.json; only false is supported");
    let relative = with(minilm, "position_embedding_type", "relative_key".into());
    assert!(problem(relative).starts_with("position_embedding_type is relative_key"));
    // Two rows of RoBERTa's table of positions are unused.
    let roberta = json!({ "model_type": "roberta", "max_position_embeddings": 514 });
    assert_eq!(read(roberta.clone()).context, 512);
    assert_eq!(read(roberta.clone()).vocab, 50_265);
    assert!(problem(with(roberta.clone(), "pad_token_id", 0.into())).starts_with("pad_token_id"));
    let short = problem(with(roberta, "max_position_embeddings", 2.into()));
    assert!(short.starts_with("max_position_embeddings is 2"), "{short}");
    assert_eq!(read(json!({ "model_type": "distilbert" })).token_types, None);
}

/// The class of a file says whether it has the head for masked words.
#[test]
fn heads_for_masked_words() {
    for (model_type, class) in [
        ("bert", "BertForMaskedLM"),
        ("roberta", "RobertaForMaskedLM"),
        ("distilbert", "DistilBertForMaskedLM"),
        ("modernbert", "ModernBertForMaskedLM"),
    ] {
        let encoder = json!({ "model_type": model_type });
        let of = |config: Value| {
            let spec = read(config);
            (spec.head_dense, spec.head_bias)
        };
        assert_eq!(of(encoder.clone()), (false, false), "{model_type}");
        assert_eq!(of(with(encoder.clone(), "architectures", json!([class]))), (true, true));
        assert_eq!(of(with(encoder, "architectures", json!(["Other"]))), (false, false));
    }
    let other = json!({ "architectures": ["RobertaForMaskedLM"], "hidden_act": "relu" });
    let other = problem(with(other, "model_type", "roberta".into()));
    assert!(other.starts_with("hidden_act of config.json is not gelu"), "{other}");
}

/// The keys of the published `config.json` of ModernBERT-base that change its spec.
#[test]
fn modernbert_is_read() {
    let base = json!({
        "architectures": ["ModernBertForMaskedLM"], "model_type": "modernbert",
        "attention_bias": false, "attention_dropout": 0.0, "classifier_activation": "gelu",
        "classifier_bias": false, "cls_token_id": 50281, "decoder_bias": true,
        "global_attn_every_n_layers": 3, "global_rope_theta": 160000.0, "hidden_activation": "gelu",
        "hidden_size": 768, "intermediate_size": 1152, "layer_norm_eps": 1e-5,
        "local_attention": 128, "local_rope_theta": 10000.0, "max_position_embeddings": 8192,
        "norm_bias": false, "norm_eps": 1e-5, "num_attention_heads": 12, "num_hidden_layers": 22,
        "position_embedding_type": "absolute", "sep_token_id": 50282, "vocab_size": 50368
    });
    let spec = read(base.clone());
    assert_eq!(*spec.window.0, [None, Some(65), Some(65)]);
    let theta = &spec.rope().unwrap().theta;
    assert_eq!(*theta.0, [Some(160_000.0), Some(10_000.0), Some(10_000.0)]);
    assert!(spec.first_attn_bare && spec.head_bias && !spec.bias);
    let relu = with(base, "classifier_activation", "relu".into());
    assert!(problem(relu).starts_with("classifier_activation of config.json is not"));
}
