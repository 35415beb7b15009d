//! The small models of `fixtures/families`: their logits, which transformers computed in f64, and a
//! summary of the gradients of their loss.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use gpt_plan::Spec;
use gpt_runtime::{Device, Model, Untyped, weights};

use crate::compare::nmse;
use crate::specs;

/// A fixture: its weights with the description of their model, its tokens and the expected logits.
pub struct Fixture {
    /// The name of its folder.
    pub name: String,
    /// A folder with a `config.json` and safetensors, or a GGUF.
    pub weights: PathBuf,
    /// Its tokens.
    pub ids: Vec<u32>,
    /// Logits, or the hidden states of an encoder.
    expected: Vec<f64>,
    is_encoder: bool,
    /// The mean loss of the next tokens; none for an encoder without a head.
    pub loss: Option<f64>,
    /// The norm of the gradient of each tensor of the file, and its sum with the weights of
    /// [`weight`].
    pub gradients: BTreeMap<String, [f64; 2]>,
}

/// The weight of element `i` in the sum of a gradient, as in `families.py`.
pub fn weight(i: usize) -> f64 {
    (0.7 * i as f64 + 0.3).cos()
}

/// The folders of all fixtures.
fn folders() -> Vec<PathBuf> {
    let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/families");
    let entries = std::fs::read_dir(all).unwrap().map(|entry| entry.unwrap().path());
    let mut folders: Vec<PathBuf> = entries.collect();
    folders.sort();
    folders
}

/// All models as transformers saves them.
pub fn of_transformers() -> Vec<Fixture> {
    let read = |folder: &PathBuf| Fixture::read(folder, folder.clone(), folder);
    folders().iter().map(read).collect()
}

/// All models that llama.cpp's converter has written as GGUF. Some are not the models of
/// [`of_transformers`], and have logits of their own.
pub fn of_gguf() -> Vec<Fixture> {
    let all = folders().into_iter().filter_map(|folder| {
        let inner = folder.join("gguf");
        let weights = inner.join("model.gguf");
        let own = inner.join("expected.json").exists();
        let expected = if own { &inner } else { &folder };
        weights.exists().then(|| Fixture::read(&folder, weights, expected))
    });
    all.collect()
}

impl Fixture {
    fn read(folder: &Path, weights: PathBuf, expected: &Path) -> Fixture {
        let text = std::fs::read_to_string(expected.join("expected.json")).unwrap();
        let expected: serde_json::Value = serde_json::from_str(&text).unwrap();
        let numbers = |value: &serde_json::Value| -> Vec<f64> {
            value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
        };
        let rows = expected.get("logits").or(expected.get("hidden")).unwrap();
        Fixture {
            name: folder.file_name().unwrap().to_string_lossy().into_owned(),
            weights,
            ids: numbers(&expected["ids"]).into_iter().map(|x| x as u32).collect(),
            expected: rows.as_array().unwrap().iter().flat_map(numbers).collect(),
            is_encoder: expected.get("hidden").is_some(),
            loss: expected.get("loss").map(|loss| loss.as_f64().unwrap()),
            gradients: match expected.get("gradients") {
                Some(gradients) => serde_json::from_value(gradients.clone()).unwrap(),
                None => BTreeMap::new(),
            },
        }
    }

    /// The spec that the files describe.
    pub fn spec(&self) -> Spec {
        weights::read_spec(&self.weights).unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }

    /// The NMSE of the logits or hidden states of `spec` on `device`, with the weights of the file.
    /// For logits, the prompt is read in chunks of seven tokens.
    pub fn error(&self, spec: &Spec, device: &Device) -> f64 {
        let file = weights::open(&self.weights, specs::plan(&self.name, &self.spec()), None);
        let file = file.unwrap_or_else(|error| panic!("{}: {error}", self.name));
        let plan = specs::plan(&self.name, spec);
        let model = Model::<Untyped>::from_plan(plan, &file, device).unwrap();
        if self.is_encoder {
            let hidden = model.session().open().unwrap().hidden(&self.ids).unwrap();
            return nmse(&hidden, &self.expected);
        }
        let mut logits = Vec::new();
        let mut session = model.session().all_logits().chunk(7).open().unwrap();
        session.each_logits(&self.ids, |_, row| logits.extend_from_slice(row)).unwrap();
        nmse(&logits, &self.expected)
    }
}
