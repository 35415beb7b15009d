//! Reads the spec of a model from the file that describes it: a Hugging Face `config.json`, or the
//! metadata of a GGUF. `write` writes the `config.json` of a spec.
//!
//! Each family of architectures has a module: `gpt2`, `gpt1`, `gpt_j`, `gpt_neo`, `falcon`,
//! `bloom`, `mpt`, `opt`, the encoders `bert` and `modernbert`, and `llama` for all classes with
//! the keys of Llama. To add a family, write a module and add a row to `FAMILIES`. `gguf` reads and
//! writes the metadata of GGUF files; it has a row for each supported architecture of llama.cpp.
//!
//! `Fields` returns the values of a file and records which keys were read. Every key of a
//! `config.json` must be read. So must every key of a GGUF that begins with the architecture
//! (`llama.`). A key sets a field of the spec, has only one supported value, or is on a list of
//! keys that do not change the model. Any other such key is an error that names it: with a key that
//! is ignored by mistake, a model would compute something else. Other keys of a GGUF, such as the
//! tokenizer's, are not read here. An absent key has the default of transformers' class (named in
//! each module), or of llama.cpp.
//!
//! In a spec from a file, values have the right types and no size is zero. The compiler
//! (`gpt_codegen`) checks later whether the sizes fit each other and the limits of devices.
//!
//! ```
//! let config = serde_json::json!({
//!     "model_type": "llama", "vocab_size": 32_000, "hidden_size": 512, "num_hidden_layers": 8,
//!     "num_attention_heads": 8, "intermediate_size": 1_376,
//! });
//! let spec = gpt_config::description(&config).unwrap();
//! assert_eq!((spec.head_dim, spec.kv_heads), (64, 8));
//!
//! let unknown = serde_json::json!({ "model_type": "gpt2", "window": 128 });
//! let problems = gpt_config::description(&unknown).unwrap_err();
//! assert!(problems[0].starts_with("the key window of config.json is unknown"));
//! ```

#![warn(missing_docs)]
// A library must not print; the program that uses it decides what to print.
#![cfg_attr(not(test), warn(clippy::print_stdout, clippy::print_stderr))]

mod activation;
mod bert;
mod bloom;
mod falcon;
mod fields;
mod gguf;
mod gpt1;
mod gpt2;
mod gpt_j;
mod gpt_neo;
mod layers;
mod llama;
mod modernbert;
mod mpt;
mod opt;
mod rope;
#[cfg(test)]
mod tests;
mod write;

pub use write::{config, same};

use gpt_plan::Spec;
use serde_json::Value;

use fields::Fields;
pub use gguf::{
    GgufMetadata, Tensors, architectures, gguf_description, gguf_metadata, pairs_are_neighbours,
};

/// Architectures that one function reads.
struct Family {
    /// The values of `model_type` that name them.
    model_types: &'static [&'static str],
    config: fn(&mut Fields<'_>, &str) -> Spec,
}

static FAMILIES: [Family; 14] = [
    Family { model_types: &["gpt2"], config: gpt2::config },
    Family { model_types: &["gpt_bigcode"], config: gpt2::bigcode },
    Family { model_types: &["openai-gpt"], config: gpt1::config },
    Family { model_types: &["gptj"], config: gpt_j::config },
    Family { model_types: &["gpt_neo"], config: gpt_neo::config },
    Family { model_types: &["falcon"], config: falcon::config },
    Family { model_types: &["bloom"], config: bloom::config },
    Family { model_types: &["mpt"], config: mpt::config },
    Family { model_types: &["opt"], config: opt::config },
    Family { model_types: &["bert"], config: bert::bert },
    Family { model_types: &["roberta"], config: bert::roberta },
    Family { model_types: &["distilbert"], config: bert::distilbert },
    Family { model_types: &["modernbert"], config: modernbert::config },
    Family { model_types: &llama::MODEL_TYPES, config: llama::config },
];

/// The supported values of `model_type` in a `config.json`.
pub fn model_types() -> impl Iterator<Item = &'static str> {
    FAMILIES.iter().flat_map(|family| family.model_types.iter().copied())
}

/// The spec that a Hugging Face `config.json` describes.
///
/// # Errors
/// Fails with all problems of the file, one sentence each.
pub fn description(config: &Value) -> Result<Spec, Vec<String>> {
    let Value::Object(values) = config else {
        return Err(vec!["config.json is not a JSON object".to_owned()]);
    };
    let mut fields = Fields::new("config.json", String::new(), values);
    let Some(model_type) = fields.text("model_type") else {
        let none = "config.json has no model_type; docs/src/weights.md lists the supported ones";
        return Err(fields.problem_or(none.to_owned()));
    };
    let family = FAMILIES.iter().find(|family| family.model_types.contains(&model_type));
    let Some(family) = family else {
        return Err(vec![format!(
            "the model_type {} of config.json is not supported; {}",
            fields::short(model_type),
            nearest(model_type, model_types())
        )]);
    };
    let spec = (family.config)(&mut fields, model_type);
    fields.finish(spec)
}

/// The few of the `known` names that are nearest to an unknown one, and where all are listed.
fn nearest(unknown: &str, known: impl Iterator<Item = &'static str>) -> String {
    // A similarity takes time in proportion to the length.
    let unknown: String = unknown.chars().take(64).collect();
    // Relatives share the start of their names, which this similarity counts most.
    let similarity = |name: &str| strsim::jaro_winkler(&unknown, name);
    let mut known: Vec<&str> = known.collect();
    known.sort_by(|a, b| similarity(b).total_cmp(&similarity(a)));
    format!(
        "the nearest of the {} supported ones are {}; docs/src/weights.md lists all",
        known.len(),
        list(known.into_iter().take(3))
    )
}

/// Joins names as `a, b and c`.
fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    match names.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
        None => String::new(),
    }
}
