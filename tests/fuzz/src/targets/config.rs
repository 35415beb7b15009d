//! `config.json`.

use gpt_runtime::weights;

use super::{describes, fixture, sentence};
use crate::Target;

pub const TARGET: Target = Target {
    name: "config",
    seeds,
    words: &[
        "model_type",
        "rope_scaling",
        "rope_parameters",
        "yarn",
        "llama3",
        "linear",
        "layer_types",
        "num_hidden_layers",
        "vocab_size",
        "gelu_new",
        "silu",
    ],
    check: |place, input| {
        let path = place.write("config.json", input);
        let Some(spec) = sentence(weights::read_spec(&path))? else { return Ok(false) };
        describes(place, &spec)?;
        Ok(true)
    },
};

fn seeds() -> Vec<Vec<u8>> {
    let families = std::fs::read_dir(fixture("families")).expect("the fixtures");
    let paths = families.map(|entry| entry.expect("a folder").path().join("config.json"));
    let mut paths: Vec<_> = paths.collect();
    paths.sort();
    let read = |path| std::fs::read(path).expect("a config.json of the fixtures");
    // Without blanks, because a change of a blank has no meaning.
    let json = |bytes: Vec<u8>| serde_json::from_slice::<serde_json::Value>(&bytes);
    paths.into_iter().map(read).map(|b| json(b).expect("JSON").to_string().into_bytes()).collect()
}
