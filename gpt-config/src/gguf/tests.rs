//! The metadata of each architecture, and what is refused.

use gpt_plan::{Activation, Block, NormKind, Positions, RopeScaling, RotaryPairs};
use serde_json::{Map, Value, json};

use super::*;

/// Tensors by name: the embedding, and others whose shapes do not matter. The second field has the
/// values of each of the others.
struct Names(Vec<&'static str>, Vec<f32>);

impl Tensors for Names {
    fn shape(&self, name: &str) -> Option<Vec<u64>> {
        match name {
            "token_embd.weight" => Some(vec![48, 32]),
            name => self.0.contains(&name).then(|| vec![1]),
        }
    }

    fn vector(&self, name: &str, _most: u32) -> Option<Vec<f32>> {
        self.has(name).then(|| self.1.clone())
    }
}

fn names(names: &[&'static str]) -> Names {
    Names(names.to_vec(), Vec::new())
}

/// The keys that every architecture has, and others.
fn metadata(architecture: &str, others: &[(&str, Value)]) -> Map<String, Value> {
    let common = [
        ("context_length", json!(64)),
        ("embedding_length", json!(32)),
        ("block_count", json!(2)),
        ("feed_forward_length", json!(64)),
        ("attention.head_count", json!(4)),
        ("attention.head_count_kv", json!(2)),
    ];
    let keys = common.iter().chain(others);
    let mut all: Map<String, Value> =
        keys.map(|(key, value)| (format!("{architecture}.{key}"), value.clone())).collect();
    all.insert("general.architecture".to_owned(), json!(architecture));
    all.insert("tokenizer.ggml.model".to_owned(), json!("gpt2"));
    all
}

#[track_caller]
fn read(architecture: &str, others: &[(&str, Value)], tensors: &[&'static str]) -> Spec {
    gguf_description(&metadata(architecture, others), &names(tensors))
        .unwrap_or_else(|problems| panic!("{architecture}: {problems:#?}"))
}

#[track_caller]
fn problem(metadata: &Map<String, Value>, tensors: &Names) -> String {
    let problems = gguf_description(metadata, tensors).expect_err("the file has a problem");
    assert_eq!(problems.len(), 1, "{problems:#?}");
    problems.into_iter().next().unwrap()
}

#[test]
fn llama_is_read() {
    let keys = [
        ("vocab_size", json!(48)),
        ("attention.layer_norm_rms_epsilon", json!(1e-6)),
        ("rope.dimension_count", json!(8)),
        ("rope.freq_base", json!(500_000.0)),
    ];
    let spec = read("llama", &keys, &[]);
    assert_eq!((spec.vocab, spec.context, spec.layers), (48, 64, 2));
    assert_eq!((spec.heads, spec.kv_heads, spec.head_dim), (4, 2, 8));
    assert_eq!((spec.norm.kind, spec.norm.eps), (NormKind::Rms, 1e-6));
    assert_eq!(spec.rope().unwrap().theta.of(0), Some(500_000.0));
    assert_eq!((spec.bias, spec.qkv_bias, spec.tie_embeddings), (false, None, true));
    let spec = read("llama", &keys, &["blk.0.attn_q.bias", "output.weight"]);
    assert_eq!((spec.bias, spec.qkv_bias, spec.tie_embeddings), (false, Some(true), false));
    let spec = read("llama", &keys, &["blk.0.ffn_up.bias"]);
    assert_eq!((spec.bias, spec.mlp_bias), (false, Some(true)));
    assert!(pairs_are_neighbours("llama") && !pairs_are_neighbours("qwen2"));
}

#[test]
fn gpt2_is_read() {
    let metadata = json!({
        "general.architecture": "gpt2", "gpt2.context_length": 1024, "gpt2.embedding_length": 768,
        "gpt2.block_count": 12, "gpt2.feed_forward_length": 3072, "gpt2.attention.head_count": 12,
        "gpt2.attention.layer_norm_epsilon": 1e-5,
    });
    let tensors = names(&[
        "blk.0.attn_qkv.bias",
        "blk.0.attn_output.bias",
        "blk.0.ffn_up.bias",
        "output_norm.bias",
    ]);
    let spec = gguf_description(metadata.as_object().unwrap(), &tensors).unwrap();
    let of_class = crate::description(&json!({ "model_type": "gpt2", "vocab_size": 48 })).unwrap();
    assert_eq!(spec, of_class);
}

/// Every architecture reads the keys that all have, and refuses one that it does not know.
#[test]
fn unknown_keys_are_refused() {
    for architecture in architectures() {
        read(architecture, &[], &[]);
        let keys = metadata(architecture, &[("attention.sink_count", json!(4))]);
        let message = problem(&keys, &names(&[]));
        let start =
            format!("the key {architecture}.attention.sink_count of the metadata is unknown");
        assert!(message.starts_with(&start), "{message}");
    }
    let message = problem(&metadata("starcoder3", &[]), &names(&[]));
    let expected = "the architecture starcoder3 of the GGUF is not supported; the nearest of the \
                    22 supported ones are starcoder, starcoder2 and stablelm; docs/src/weights.md \
                    lists all";
    assert_eq!(message, expected);
    let message = problem(&Map::new(), &names(&[]));
    assert_eq!(message, "the metadata has no general.architecture");
}

#[test]
fn wrong_values_are_refused() {
    for (architecture, key, value) in [
        ("llama", "rope.scaling.type", json!("longrope")),
        ("llama", "rope.scaling.type", json!("yarn")),
        ("llama", "attention.value_length", json!(4)),
        ("llama", "expert_count", json!(8)),
        ("llama", "vocab_size", json!(47)),
        ("llama", "attention.clamp_kqv", json!(1.0)),
        ("llama", "context_length", Value::Null),
        ("llama", "feed_forward_length", json!([1, 2])),
        ("qwen2", "attention.sliding_window", json!(8)),
        ("olmo", "attention.clamp_kqv", json!(1.0)),
        ("mpt", "attention.max_alibi_bias", json!(0.0)),
        ("gemma2", "rope.freq_base_swa", json!(5.0)),
        ("gemma3", "attention.sliding_window_pattern", json!([true])),
        ("gemma3", "attention.sliding_window_pattern", json!(0)),
        ("granite", "rope.scaling.finetuned", json!(false)),
        ("gptneox", "use_parallel_residual", json!("yes")),
        ("smollm3", "block_count", json!(u32::MAX)),
    ] {
        let message = problem(&metadata(architecture, &[(key, value)]), &names(&[]));
        let name = key.strip_suffix(".type").map_or(key, |_| "rotary scaling of type");
        assert!(message.contains(name), "{key}: {message}");
    }
    let llama = metadata("llama", &[]);
    for tensor in ["rope_freqs.weight", "rope_factors_long.weight"] {
        assert!(problem(&llama, &names(&[tensor])).contains(tensor));
    }
    let heads = problem(&metadata("stablelm", &[]), &names(&["blk.0.attn_q_norm.weight"]));
    assert!(heads.contains("StableLM"));
    struct Nothing;
    impl Tensors for Nothing {
        fn shape(&self, _name: &str) -> Option<Vec<u64>> {
            None
        }
        fn vector(&self, _name: &str, _most: u32) -> Option<Vec<f32>> {
            None
        }
    }
    let problems = gguf_description(&llama, &Nothing).unwrap_err();
    assert!(problems[0].contains("token_embd.weight"), "{problems:?}");
}

#[test]
fn rotary_scaling_is_read() {
    let scaling = |keys: &[(&str, Value)]| read("llama", keys, &[]).rope().unwrap().scaling.of(1);
    let factor = ("rope.scaling.factor", json!(4.0));
    assert_eq!(scaling(std::slice::from_ref(&factor)), RopeScaling::Linear { factor: 4.0 });
    assert_eq!(scaling(&[("rope.scale_linear", json!(2.0))]), RopeScaling::Linear { factor: 2.0 });
    let none = [factor.clone(), ("rope.scaling.type", json!("none"))];
    assert_eq!(scaling(&none), RopeScaling::None);
    let yarn = [
        factor,
        ("rope.scaling.type", json!("yarn")),
        ("rope.scaling.original_context_length", json!(16)),
        ("rope.scaling.yarn_attn_factor", json!(1.5)),
    ];
    let expected = RopeScaling::Yarn {
        factor: 4.0,
        original_context: 16,
        beta_fast: 32.0,
        beta_slow: 1.0,
        attention_factor: Some(1.5),
        truncate: true,
    };
    assert_eq!(scaling(&yarn), expected);
    // Divisors of 1 change nothing.
    let freqs = Names(vec!["rope_freqs.weight"], vec![1.0, 1.0, 1.0, 1.0]);
    let spec = gguf_description(&metadata("llama", &[]), &freqs).unwrap();
    assert_eq!(spec.rope().unwrap().scaling.of(0), RopeScaling::None);
}

/// The differences of architectures from Llama that small models do not show.
#[test]
fn defaults_of_architectures() {
    let width = 1.0 / 8f64.sqrt();
    let gemma2 = read("gemma2", &[("context_length", json!(8_192))], &[]);
    assert_eq!((gemma2.attention_softcap, gemma2.logit_softcap), (Some(50.0), Some(30.0)));
    assert_eq!([0, 1, 2].map(|at| gemma2.window.of(at)), [Some(4_096), None, Some(4_096)]);
    assert_eq!(gemma2.attention_scale, Some(width));
    // The largest Gemma 2 and 3 have other scales.
    let large = |layers: u32| [("block_count", json!(layers)), ("attention.key_length", json!(4))];
    assert_eq!(read("gemma2", &large(46), &[]).attention_scale, Some(width));
    assert_eq!(read("gemma3", &large(62), &[]).attention_scale, Some(width));
    assert_eq!(read("gemma3", &large(46), &[]).attention_scale, Some(0.5));
    let keys = [
        ("block_count", json!(12)),
        ("attention.sliding_window", json!(8)),
        ("rope.freq_base", json!(1e6)),
        ("rope.scaling.factor", json!(8.0)),
    ];
    let gemma3 = read("gemma3", &keys, &[]);
    let rope = gemma3.rope().unwrap();
    let kinds = [4, 5, 6].map(|at| (gemma3.window.of(at), rope.of(at).unwrap()));
    let local = (Some(8), (10_000.0, RopeScaling::None));
    assert_eq!(kinds, [local, (None, (1e6, RopeScaling::Linear { factor: 8.0 })), local]);
    let listed = [
        ("attention.sliding_window", json!(8)),
        ("attention.sliding_window_pattern", json!([false, true])),
    ];
    let listed = read("gemma3", &listed, &[]);
    assert_eq!((listed.window.of(0), listed.window.of(1)), (None, Some(8)));
    assert_eq!(read("gemma3", &[], &[]).window.of(0), None);
    let smollm3 = read("smollm3", &[("block_count", json!(8))], &[]);
    let rotates = [2, 3, 4, 7].map(|at| smollm3.rope().unwrap().of(at).is_some());
    assert_eq!(rotates, [true, false, true, false]);
    assert_eq!(read("phi3", &[("attention.sliding_window", json!(0))], &[]).window.of(0), None);
    let granite = [
        ("logit_scale", json!(8.0)),
        ("embedding_scale", json!(1.0)),
        ("attention.scale", json!(0.5)),
    ];
    let granite = read("granite", &granite, &[]);
    assert_eq!((granite.logit_scale, granite.embedding_scale), (Some(0.125), None));
    assert_eq!((granite.residual_scale, granite.attention_scale), (None, Some(0.5)));
    let cohere = read("command-r", &[("logit_scale", json!(0.25))], &[]);
    assert_eq!((cohere.logit_scale, cohere.qk_norm), (Some(0.25), None));
    assert_eq!(cohere.rope().unwrap().pairs, RotaryPairs::Interleaved);
    let block = |name: &str, keys: &[_], tensors: &[&'static str]| read(name, keys, tensors).block;
    let serial = [("use_parallel_residual", json!(false))];
    assert_eq!(block("gptneox", &serial, &[]), Block::PreNorm);
    assert_eq!(block("gptneox", &[], &[]), Block::Parallel { norms: 2 });
    // StableLM's key is not reliable.
    assert_eq!(block("stablelm", &serial, &[]), Block::Parallel { norms: 1 });
    assert_eq!(block("stablelm", &[], &["blk.0.ffn_norm.weight"]), Block::PreNorm);
    assert_eq!(block("falcon", &[], &["blk.0.attn_norm_2.weight"]), Block::Parallel { norms: 2 });
    assert_eq!(read("bloom", &[], &[]).positions, Positions::Alibi { max_bias: 8.0 });
    assert_eq!(read("falcon", &[], &[]).mlp.activation, Activation::Gelu);
    let named = read("gpt2", &[("hidden_activation", json!("relu"))], &[]);
    assert_eq!(named.mlp.activation, Activation::Relu);
}
