//! Safetensors: a file, and the index of a model in several files.

use gpt_plan::Format;
use gpt_runtime::__private::parsers::read_tensors;
use gpt_runtime::weights::{self, RandomWeights};

use super::{gpt2, llama, reads, sentence, written};
use crate::{Place, Target};

pub const TARGET: Target = Target {
    name: "safetensors",
    seeds,
    words: &[
        "F32",
        "BF16",
        "F16",
        "I64",
        "F8_E4M3",
        "\"shape\":[",
        "\"data_offsets\":[0,0]",
        "__metadata__",
        "[]",
        "{}",
    ],
    check,
};

fn seeds() -> Vec<Vec<u8>> {
    let file = |plan| {
        let weights = RandomWeights::new(plan, 1, Format::F32);
        written(|path| weights::save(path, plan, &weights).expect("it is written"))
    };
    let header = br#"{"wte.weight":{"dtype":"F16","shape":[3,2],"data_offsets":[0,12]}}      "#;
    let mut small = (header.len() as u64).to_le_bytes().to_vec();
    small.extend(header);
    small.extend([0x3C; 12]);
    vec![file(gpt2()), file(llama()), small]
}

fn check(place: &Place, input: &[u8]) -> Result<bool, String> {
    let path = place.write("model.safetensors", input);
    let accepted = sentence(read_tensors(&path))?.is_some();
    if accepted {
        for plan in [gpt2(), llama()] {
            if let Some(weights) = sentence(weights::open(&path, plan, None))? {
                reads(plan, &weights)?;
            }
        }
    }
    Ok(accepted)
}

pub const INDEX: Target = Target {
    name: "safetensors_index",
    seeds: || {
        let index = br#"{"metadata":{"total_size":72},"weight_map":{"wte.weight":"a.safetensors","ln_f.weight":"a.safetensors"}}"#;
        vec![index.to_vec(), [b"\xEF\xBB\xBF", &index[..]].concat()]
    },
    words: &["weight_map", "../a.safetensors", "/", ".", "..", "a.safetensors", "\u{feff}"],
    check: |place, input| {
        place.keep("a.safetensors", || seeds().remove(2));
        let path = place.write("model.safetensors.index.json", input);
        Ok(sentence(read_tensors(&path))?.is_some())
    },
};
