//! GGUF: its metadata, the spec that the metadata describe, and its tensors.

use std::path::Path;

use gpt_plan::Format;
use gpt_runtime::__private::parsers::read_tensors;
use gpt_runtime::Tokenizer;
use gpt_runtime::weights::{self, RandomWeights, Value};

use super::{describes, fixture, gpt2, llama, reads, sentence, written};
use crate::{Place, Target};

pub const TARGET: Target = Target {
    name: "gguf",
    seeds,
    words: &[
        "GGUF",
        "general.architecture",
        "general.alignment",
        "split.count",
        "llama",
        "gpt2",
        "gemma3",
        "\x09\0\0\0\x09\0\0\0\x01\0\0\0\0\0\0\0",
        "\x09\0\0\0\x08\0\0\0",
        "\x0c\0\0\0\0\0\0\0",
    ],
    check,
};

fn seeds() -> Vec<Vec<u8>> {
    let tokenizer = Tokenizer::characters("abc").expect("three characters");
    let mut seeds = Vec::new();
    for plan in [gpt2(), llama()] {
        let weights = RandomWeights::new(plan, 1, Format::F32);
        for (format, tokenizer) in [(Format::F32, None), (Format::F16, Some(&tokenizer))] {
            seeds.push(written(|path| {
                weights::save_gguf(path, plan, &weights, format, tokenizer).expect("it is written");
            }));
        }
    }
    // The metadata of every architecture that the fixtures have.
    let families = std::fs::read_dir(fixture("families")).expect("the fixtures");
    let paths = families.map(|entry| entry.expect("a folder").path().join("gguf/model.gguf"));
    let mut paths: Vec<_> = paths.filter(|path| path.exists()).collect();
    paths.sort();
    seeds.extend(paths.iter().map(|path| metadata_of(path)));
    seeds
}

/// A file with the metadata of another one, and no tensors.
fn metadata_of(path: &Path) -> Vec<u8> {
    let gguf = weights::read_metadata(path).expect("a GGUF of the fixtures");
    let values = gguf.iter().map(|(key, value)| (key.to_owned(), value.clone()));
    bytes(&values.collect::<Vec<_>>())
}

/// A GGUF of some values.
pub fn bytes(values: &[(String, Value)]) -> Vec<u8> {
    let mut bytes = b"GGUF\x03\0\0\0".to_vec();
    bytes.extend(0u64.to_le_bytes());
    bytes.extend((values.len() as u64).to_le_bytes());
    for (key, value) in values {
        text(&mut bytes, key);
        bytes.extend(kind(value).to_le_bytes());
        push(&mut bytes, value);
    }
    bytes
}

fn kind(value: &Value) -> u32 {
    match value {
        Value::Unsigned(_) => 4,
        Value::Signed(_) => 5,
        Value::Float(_) => 6,
        Value::Bool(_) => 7,
        Value::Text(_) => 8,
        Value::List(_) => 9,
    }
}

fn push(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Unsigned(n) => out.extend((*n as u32).to_le_bytes()),
        Value::Signed(n) => out.extend((*n as i32).to_le_bytes()),
        Value::Float(x) => out.extend((*x as f32).to_le_bytes()),
        Value::Bool(flag) => out.push(u8::from(*flag)),
        Value::Text(value) => text(out, value),
        Value::List(list) => {
            out.extend(list.first().map_or(8, kind).to_le_bytes());
            out.extend((list.len() as u64).to_le_bytes());
            list.iter().for_each(|value| push(out, value));
        }
    }
}

fn text(out: &mut Vec<u8>, value: &str) {
    out.extend((value.len() as u64).to_le_bytes());
    out.extend(value.as_bytes());
}

fn check(place: &Place, input: &[u8]) -> Result<bool, String> {
    let path = place.write("model.gguf", input);
    if sentence(weights::read_metadata(&path))?.is_none() {
        return Ok(false);
    }
    sentence(read_tensors(&path))?;
    if let Some(spec) = sentence(weights::read_spec(&path))? {
        describes(place, &spec)?;
    }
    for plan in [gpt2(), llama()] {
        if let Some(weights) = sentence(weights::open(&path, plan, None))? {
            reads(plan, &weights)?;
        }
    }
    Ok(true)
}
