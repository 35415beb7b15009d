//! Compares a spec with a file's description of its model: `config.json` beside safetensors, or the
//! metadata of a GGUF.
//!
//! Tensor shapes reveal most differences. They do not reveal an epsilon, an activation, a rotary
//! base or the number of heads.

use std::path::Path;

use gpt_plan::{Activation, Positions, Spec};
use serde_json::Value as Json;

use super::gguf::Gguf;
use crate::Error;

/// Lists the differences between `config.json` beside `weights` and the spec. Empty if there is no
/// such file.
pub fn check_beside(weights: &Path, spec: &Spec) -> Result<Vec<String>, Error> {
    let path = weights.with_file_name("config.json");
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io("read", &path)(error)),
    };
    let json: Json = serde_json::from_str(&text).map_err(|error| {
        Error::weights(format!("{} is not JSON: {error}", path.display())).caused_by(error)
    })?;
    Ok(check_config(&json, spec))
}

/// Lists the differences between a Hugging Face configuration and the spec.
pub fn check_config(json: &Json, spec: &Spec) -> Vec<String> {
    let mut check = ConfigCheck { file: "config.json", problems: Vec::new() };
    let number = |keys: &[&str]| keys.iter().find_map(|k| json.get(k)).and_then(Json::as_u64);
    let float = |keys: &[&str]| keys.iter().find_map(|k| json.get(k)).and_then(Json::as_f64);
    check.size("vocab_size", number(&["vocab_size"]), spec.vocab);
    check.size("the number of layers", number(&["n_layer", "num_hidden_layers"]), spec.layers);
    check.size("the number of heads", number(&["n_head", "num_attention_heads"]), spec.heads);
    check.size("num_key_value_heads", number(&["num_key_value_heads"]), spec.kv_heads);
    check.size("the width", number(&["n_embd", "hidden_size"]), spec.embed);
    check.size("head_dim", number(&["head_dim"]), spec.head_dim);
    check.size("the MLP's width", number(&["n_inner", "intermediate_size"]), spec.mlp.hidden);
    check.context(number(&["n_positions", "max_position_embeddings"]), spec);
    check.eps(float(&["layer_norm_epsilon", "rms_norm_eps"]), spec);
    check.theta(
        json.get("rope_theta")
            .or_else(|| json.get("rope_parameters")?.get("rope_theta"))
            .and_then(Json::as_f64),
        spec,
    );
    let scaling = json.get("rope_scaling").filter(|s| !s.is_null());
    let kind =
        scaling.and_then(|s| s.get("rope_type").or_else(|| s.get("type"))).and_then(Json::as_str);
    check.scaling(kind);
    check.softcap(float(&["final_logit_softcapping"]), spec);
    if let Some(tied) = json.get("tie_word_embeddings").and_then(Json::as_bool)
        && tied != spec.tie_embeddings
    {
        check.differs("tie_word_embeddings", tied, spec.tie_embeddings);
    }
    let is_first_gpt = json.get("model_type").and_then(Json::as_str) == Some("openai-gpt");
    let activation = ["activation_function", "hidden_act", "afn"]
        .iter()
        .find_map(|k| json.get(k))
        .and_then(Json::as_str);
    if let Some(name) = activation {
        check.activation(name, is_first_gpt, &spec.mlp.activation);
    }
    check.problems
}

/// Lists the differences between a GGUF's metadata and the spec.
pub fn check_gguf(gguf: &Gguf, spec: &Spec) -> Vec<String> {
    let mut check = ConfigCheck { file: "the metadata", problems: Vec::new() };
    let Some(architecture) = gguf.text("general.architecture") else {
        check.problems.push("the metadata names no general.architecture".to_owned());
        return check.problems;
    };
    if !["llama", "gpt2"].contains(&architecture) {
        check.problems.push(format!("its architecture is {architecture}; llama and gpt2 are read"));
        return check.problems;
    }
    let key = |name: &str| format!("{architecture}.{name}");
    let number = |name: &str| gguf.unsigned(&key(name));
    check.size("block_count", number("block_count"), spec.layers);
    check.size("attention.head_count", number("attention.head_count"), spec.heads);
    check.size("attention.head_count_kv", number("attention.head_count_kv"), spec.kv_heads);
    check.size("embedding_length", number("embedding_length"), spec.embed);
    check.size("feed_forward_length", number("feed_forward_length"), spec.mlp.hidden);
    check.size("attention.key_length", number("attention.key_length"), spec.head_dim);
    check.context(number("context_length"), spec);
    let eps = ["attention.layer_norm_rms_epsilon", "attention.layer_norm_epsilon"];
    check.eps(eps.iter().find_map(|name| gguf.float(&key(name))), spec);
    if architecture == "llama" {
        check.size("rope.dimension_count", number("rope.dimension_count"), spec.head_dim);
        // 10,000 is llama.cpp's default.
        check.theta(Some(gguf.float(&key("rope.freq_base")).unwrap_or(10_000.0)), spec);
        check.scaling(gguf.text(&key("rope.scaling.type")));
    }
    check.problems
}

struct ConfigCheck {
    file: &'static str,
    problems: Vec<String>,
}

impl ConfigCheck {
    fn differs(
        &mut self,
        what: &str,
        found: impl std::fmt::Display,
        expected: impl std::fmt::Display,
    ) {
        self.problems
            .push(format!("{what} is {found} in {} and {expected} in the spec", self.file));
    }

    fn size(&mut self, what: &str, found: Option<u64>, expected: u32) {
        if let Some(found) = found.filter(|&n| n != u64::from(expected)) {
            self.differs(what, found, expected);
        }
    }

    /// A rotary model may be declared with a shorter context than the one it was trained for.
    fn context(&mut self, found: Option<u64>, spec: &Spec) {
        let Some(found) = found else { return };
        let fits = if spec.rotary() {
            u64::from(spec.context) <= found
        } else {
            u64::from(spec.context) == found
        };
        if !fits && spec.positions != Positions::Sinusoidal {
            self.differs("the context", found, spec.context);
        }
    }

    fn eps(&mut self, found: Option<f64>, spec: &Spec) {
        let eps = spec.norm.eps;
        // GGUF stores f32, so 1e-5 reads as 9.99999974e-6.
        if let Some(found) = found.filter(|found| (found - eps).abs() > 1e-6 * eps) {
            self.differs("the norm's epsilon", found, eps);
        }
    }

    fn theta(&mut self, found: Option<f64>, spec: &Spec) {
        let Some(theta) = spec.rotary_base() else {
            if spec.rotary() && found.is_some() {
                self.problems.push(format!(
                    "the rotary base is one number in {}, and differs by layer in the spec",
                    self.file
                ));
            }
            return;
        };
        if let Some(found) = found.filter(|found| (found - theta).abs() > 1e-6 * theta) {
            self.differs("the rotary base", found, theta);
        }
    }

    /// A file without the key has logits without a cap.
    fn softcap(&mut self, found: Option<f64>, spec: &Spec) {
        let text = |cap: Option<f64>| cap.map_or("none".to_owned(), |cap| cap.to_string());
        if found != spec.logit_softcap {
            let (found, expected) = (text(found), text(spec.logit_softcap));
            self.differs("the soft cap of the logits", found, expected);
        }
    }

    fn scaling(&mut self, kind: Option<&str>) {
        if let Some(kind) = kind.filter(|k| !["none", "default"].contains(k)) {
            self.problems
                .push(format!("rotary scaling of type {kind} in {} is not supported", self.file));
        }
    }

    fn activation(&mut self, name: &str, is_first_gpt: bool, activation: &Activation) {
        let expected = match name {
            // GPT-1's "gelu" is the tanh approximation.
            "gelu" if is_first_gpt => "GeluTanh",
            "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" => "GeluTanh",
            "gelu" => "Gelu",
            "relu" => "Relu",
            "relu2" => "ReluSquared",
            "silu" | "swish" => "Silu",
            _ => return,
        };
        // A closure may be any of them.
        if let Some(declared) = activation.name()
            && declared != expected
        {
            self.differs("the activation", name, declared);
        }
    }
}
