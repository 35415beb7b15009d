//! The table of parsers, and what their functions share.

mod caches;
mod chat;
mod checkpoints;
mod config;
mod gguf;
mod safetensors;
mod spec;
mod tokenizers;
mod vocabulary;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use gpt_plan::{Plan, Spec};
use gpt_runtime::weights::{Checkpoint, Weights};
use gpt_runtime::{Error, Tokenizer};

use crate::run::is_sentence;
use crate::{Place, Target};

/// All parsers of files and texts.
pub const TARGETS: &[Target] = &[
    gguf::TARGET,
    safetensors::TARGET,
    safetensors::INDEX,
    tokenizers::JSON,
    tokenizers::CONFIG,
    vocabulary::TARGET,
    chat::TARGET,
    config::TARGET,
    checkpoints::STATE,
    checkpoints::MOMENTS,
    caches::PIPELINES,
    caches::TUNING,
    spec::KEYS,
    spec::DECLARATIONS,
];

/// The value, or none after checking that the error is a sentence.
fn sentence<T>(result: Result<T, Error>) -> Result<Option<T>, String> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) => is_sentence(&error.to_string()).map(|()| None),
    }
}

/// A plan that lives as long as the program.
fn plan(keys: &str) -> &'static Plan {
    let spec = gpt_codegen::spec(keys).expect("a valid spec");
    Box::leak(Box::new(gpt_codegen::plan::plan("tiny", &spec)))
}

/// A GPT-2 whose files have about 1 KB.
fn gpt2() -> &'static Plan {
    static PLAN: OnceLock<&'static Plan> = OnceLock::new();
    PLAN.get_or_init(|| plan("vocab: 3, context: 2, layers: 1, heads: 1, embed: 2"))
}

/// A Llama whose files have about 1 KB.
fn llama() -> &'static Plan {
    static PLAN: OnceLock<&'static Plan> = OnceLock::new();
    PLAN.get_or_init(|| {
        plan(
            "vocab: 3, context: 2, layers: 1, heads: 1, embed: 2, norm: RmsNorm, bias: false, \
             mlp: Gated { hidden: 2, activation: Silu }, positions: Rope",
        )
    })
}

/// The bytes that `write` writes at the path that it gets.
fn written(write: impl FnOnce(&Path)) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let path = folder.path().join("file");
    write(&path);
    std::fs::read(&path).expect("a file was written")
}

/// A file below `tests/fixtures`.
fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures").join(name)
}

/// The next step for a spec that a file describes: the compiler compiles it or says why not. This
/// takes as long as a hundred inputs, so only some specs get there.
fn describes(place: &Place, spec: &Spec) -> Result<(), String> {
    if !place.is_due(&format!("{spec:?}"), 64) {
        return Ok(());
    }
    let problems = gpt_codegen::check_spec(spec);
    problems.iter().try_for_each(|problem| is_sentence(problem))?;
    if problems.is_empty() {
        gpt_codegen::plan::plan("it", spec);
    }
    Ok(())
}

/// The next step for weights: every tensor is read.
fn reads(plan: &Plan, weights: &Checkpoint) -> Result<(), String> {
    for (id, layer) in plan.trained() {
        if let Some(tensor) = sentence(weights.tensor(id, layer))? {
            let expected = tensor.rows * tensor.format.row_bytes(tensor.columns);
            if tensor.data.len() != expected {
                return Err(format!("{} has {} bytes", plan.tensor(id).name, tensor.data.len()));
            }
        }
    }
    Ok(())
}

/// The next step for a tokenizer: it encodes and decodes.
fn encodes(tokenizer: &Tokenizer) -> Result<(), String> {
    for text in ["a line, 12 of 3 It's", " \u{e9}<s>\n\t\u{1F980}"] {
        let Some(ids) = sentence(tokenizer.encode_prompt(text))? else { continue };
        let mut stream = tokenizer.stream(&[]);
        ids.iter().for_each(|id| drop(stream.push(*id)));
        stream.flush();
        sentence(tokenizer.encode_continuation(text))?;
    }
    // Ids that do not come from a text.
    let mut stream = tokenizer.stream(&[0, u32::MAX]);
    (0..8).for_each(|id| drop(stream.push(id)));
    stream.flush();
    sentence(tokenizer.check_vocab(8))?;
    Ok(())
}
