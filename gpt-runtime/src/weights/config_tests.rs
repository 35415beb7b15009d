//! Tests of the `config.json` that is written for a spec, of the comparison of a config with a
//! spec, and of the description in a GGUF in memory.

use gpt_config::{config, same};
use gpt_plan::{Activation, Block, Format, Mask, Pattern, Positions, Spec};
use serde_json::json;

use super::config::{check_config, describe_bytes, read_spec};
use super::{RandomWeights, save_gguf, testing};
use crate::{Device, LoadOptions, Model};

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
    // The runtime writes and reads the specs that the compiler accepts.
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
    }
}

/// A GGUF in memory is described and loaded as the file is.
#[test]
fn a_file_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let plan = testing::llama();
    let weights = RandomWeights::new(plan, 3, Format::F32);
    save_gguf(&path, plan, &weights, Format::Q8, None).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let described = describe_bytes("it", &bytes).unwrap();
    assert_eq!(described.spec, read_spec(&path).unwrap());
    assert_eq!(described.formats, [Format::Q8]);
    let error = describe_bytes("it", &bytes[..100]).err().unwrap().to_string();
    assert!(error.starts_with("it is not a GGUF file that can be read: "), "{error}");

    let (device, options) = (Device::cpu().unwrap(), LoadOptions::default());
    let logits = |model: Model| {
        let mut session = model.session().open().unwrap();
        session.push(&[1, 2, 3]).unwrap().to_vec()
    };
    let of_file = Model::load_plan(plan, &path, &device, &options).unwrap();
    let of_bytes = Model::load_plan_bytes(plan, "it", bytes, &device, &options).unwrap();
    assert_eq!(logits(of_bytes), logits(of_file));
}
