//! Writes GGUF files (ggml's `docs/gguf.md`), which hold quantised blocks and the tokenizer.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use gpt_config::GgufMetadata;
use gpt_plan::{Format, Layout, Plan};
use serde_json::Value as Json;

use super::format::{decode, encode};
use super::gguf::Value;
use super::recipe::Recipe;
use super::slice::{TensorSlice, file_shape, slices};
use super::stored::FileType;
use super::{Weights, finite};
use crate::text::Tokenizer;
use crate::{Error, files};

/// Alignment of a tensor's data in bytes.
const ALIGNMENT: usize = 32;

/// Writes all parameters of `plan` to `path`, matrices in the formats of `recipe`, and `tokenizer`
/// with its chat template. The file is replaced atomically, and tensors are converted one at a
/// time.
///
/// Usually llama.cpp opens the file. Returns sentences that say why it will refuse the file, or
/// what it does not take from the file, such as an activation or a tokenizer that it does not know.
/// [`open`](super::open) reads the file in every case.
///
/// # Errors
/// Fails if no architecture of llama.cpp expresses the spec, if rows are not whole blocks, if a
/// format cannot hold a value, if the weights cannot be read, or if the file cannot be written.
pub fn save_gguf(
    path: &Path,
    plan: &Plan,
    weights: &dyn Weights,
    recipe: impl Into<Recipe>,
    tokenizer: Option<&Tokenizer>,
) -> Result<Vec<String>, Error> {
    let recipe = recipe.into();
    let metadata =
        gpt_config::gguf_metadata(&plan.spec, &PlanTensors::of(plan)).ok_or_else(|| {
            Error::Input(format!(
                "no architecture of llama.cpp has the form of {}, so GGUF has no name for it; save it as safetensors",
                plan.name
            ))
        })?;
    let mut notes = metadata.notes.clone();
    let mut head = Head::default();
    head.metadata(&metadata, &plan.name, recipe);
    match tokenizer {
        // llama.cpp refuses a file that does not name a tokenizer.
        None => head.pair("tokenizer.ggml.model", &Value::Text("none".to_owned())),
        Some(tokenizer) => {
            let written = tokenizer.gguf(plan.spec.vocab)?;
            written.values.iter().for_each(|(key, value)| head.pair(key, value));
            notes.extend(written.note);
        }
    }
    let neighbours = gpt_config::pairs_are_neighbours(metadata.architecture);
    let tensors: Vec<GgufTensor<'_>> = slices(plan)
        .map(|slice| GgufTensor { format: recipe.format(plan, &slice), slice, neighbours })
        .collect();
    tensors.iter().try_for_each(GgufTensor::check_blocks)?;
    let added = added(&metadata, plan);
    let mut offset = 0;
    for tensor in &tensors {
        head.tensor(&tensor.name(), &tensor.shape(), tensor.format, offset);
        offset += tensor.bytes().next_multiple_of(ALIGNMENT);
    }
    for (name, values) in &added {
        head.tensor(name, &[values.len() as u64], Format::F32, offset);
        offset += (4 * values.len()).next_multiple_of(ALIGNMENT);
    }
    let head = head.into_bytes();
    // `replace` takes I/O errors only, so an error of the weights is kept here.
    let mut failure = None;
    let written = files::replace(path, |new| {
        let mut out = BufWriter::new(std::fs::File::create(new)?);
        out.write_all(&head)?;
        for tensor in &tensors {
            match tensor.data(plan, weights) {
                Ok(data) => out.write_all(&data)?,
                Err(error) => {
                    let text = error.to_string();
                    failure = Some(error);
                    return Err(io::Error::other(text));
                }
            }
        }
        for (_, values) in &added {
            let mut data = Vec::new();
            encode(Format::F32, values, &mut data);
            data.resize(data.len().next_multiple_of(ALIGNMENT), 0);
            out.write_all(&data)?;
        }
        out.flush()
    });
    match failure {
        Some(error) => Err(error),
        None => written.map(|()| notes),
    }
}

/// The tensors of a plan, with the names and shapes that they have in a GGUF.
struct PlanTensors(BTreeMap<String, Vec<u64>>);

impl PlanTensors {
    fn of(plan: &Plan) -> PlanTensors {
        let tensor = |slice: TensorSlice<'_>| (name(&slice), shape(&slice));
        PlanTensors(slices(plan).map(tensor).collect())
    }
}

impl gpt_config::Tensors for PlanTensors {
    fn shape(&self, name: &str) -> Option<Vec<u64>> {
        self.0.get(name).cloned()
    }

    fn vector(&self, _name: &str, _most: u32) -> Option<Vec<f32>> {
        None
    }
}

/// Tensors that llama.cpp needs in the file although the model does not have them: divisors of
/// rotary frequencies, and biases of zeros.
fn added(metadata: &GgufMetadata, plan: &Plan) -> Vec<(String, Vec<f32>)> {
    let mut added = Vec::new();
    if !metadata.divisors.is_empty() {
        added.push(("rope_freqs.weight".to_owned(), metadata.divisors.clone()));
    }
    for slice in slices(plan) {
        let bias = slice.source.gguf.replace(".weight", ".bias");
        if metadata.zeros.contains(&&*bias) {
            added.push((slice.source.name_in(&bias, slice.layer), vec![0.0; slice.rows.len()]));
        }
    }
    added
}

fn name(slice: &TensorSlice<'_>) -> String {
    slice.source.name_in(&slice.source.gguf, slice.layer)
}

fn shape(slice: &TensorSlice<'_>) -> Vec<u64> {
    file_shape(slice.tensor, slice.source.rows, Layout::RowMajor)
}

/// A slice of a plan's tensor as a tensor of the file.
struct GgufTensor<'a> {
    slice: TensorSlice<'a>,
    format: Format,
    /// Whether the file has rotary pairs side by side, as the plan has them.
    neighbours: bool,
}

impl GgufTensor<'_> {
    /// Rejects rows that are not whole blocks, which GGUF does not pad.
    fn check_blocks(&self) -> Result<(), Error> {
        let (format, tensor) = (self.format, self.slice.tensor);
        if (tensor.columns as usize).is_multiple_of(format.block()) {
            return Ok(());
        }
        let other = if format.is_k_quant() { Recipe::Q4KM.name() } else { Format::F16.name() };
        Err(Error::Input(format!(
            "rows of {} have {} elements, and {} in GGUF takes multiples of {}; choose {other}",
            tensor.name,
            tensor.columns,
            format.name(),
            format.block()
        )))
    }

    fn bytes(&self) -> usize {
        let columns = self.slice.tensor.columns as usize;
        self.slice.rows.len() * self.format.row_bytes(columns)
    }

    fn name(&self) -> String {
        name(&self.slice)
    }

    fn shape(&self) -> Vec<u64> {
        shape(&self.slice)
    }

    /// The rows in the file's format and order, padded to the alignment.
    fn data(&self, plan: &Plan, weights: &dyn Weights) -> Result<Vec<u8>, Error> {
        let tensor = weights.tensor(self.slice.id, self.slice.layer)?;
        let row_bytes = self.format.row_bytes(tensor.columns);
        let mut data = vec![0; self.bytes()];
        let (mut row, mut encoded) = (vec![0.0; tensor.columns], Vec::with_capacity(row_bytes));
        for (r, bytes) in self.slice.data(&tensor).enumerate() {
            encoded.clear();
            if tensor.format == self.format {
                encoded.extend_from_slice(bytes);
            } else {
                decode(tensor.format, bytes, &mut row);
                let name = || finite::name(plan, self.slice.id, self.slice.layer);
                finite::convert(self.format, &row, &mut encoded, name)?;
            }
            let r = if self.neighbours { r } else { self.slice.source.gguf_layout.file_row(r) };
            data[r * row_bytes..][..row_bytes].copy_from_slice(&encoded);
        }
        data.resize(data.len().next_multiple_of(ALIGNMENT), 0);
        Ok(data)
    }
}

/// The part of the file before the data.
#[derive(Default)]
struct Head {
    pairs: u64,
    metadata: Vec<u8>,
    tensors: u64,
    table: Vec<u8>,
}

impl Head {
    fn metadata(&mut self, metadata: &GgufMetadata, name: &str, recipe: Recipe) {
        self.pair("general.name", &Value::Text(name.to_owned()));
        self.pair("general.file_type", &Value::Unsigned(recipe.file_type()));
        self.pair("general.quantization_version", &Value::Unsigned(2));
        for (key, value) in &metadata.values {
            self.pair(key, &of_json(value));
        }
    }

    fn pair(&mut self, key: &str, value: &Value) {
        self.pairs += 1;
        text(&mut self.metadata, key);
        self.metadata.extend(kind(value).to_le_bytes());
        self.value(value);
    }

    fn value(&mut self, value: &Value) {
        let out = &mut self.metadata;
        match value {
            Value::Unsigned(n) => out.extend((*n as u32).to_le_bytes()),
            Value::Signed(n) => out.extend((*n as i32).to_le_bytes()),
            Value::Float(x) => out.extend((*x as f32).to_le_bytes()),
            Value::Bool(flag) => out.push(u8::from(*flag)),
            Value::Text(value) => text(out, value),
            Value::List(list) => {
                // Only merges, which are strings, may be an empty list.
                out.extend(list.first().map_or(8, kind).to_le_bytes());
                out.extend((list.len() as u64).to_le_bytes());
                list.iter().for_each(|value| self.value(value));
            }
        }
    }

    fn tensor(&mut self, name: &str, shape: &[u64], format: Format, offset: usize) {
        self.tensors += 1;
        text(&mut self.table, name);
        self.table.extend((shape.len() as u32).to_le_bytes());
        // GGUF lists the fastest dimension first.
        self.table.extend(shape.iter().rev().flat_map(|n| n.to_le_bytes()));
        self.table.extend(FileType::of(format).gguf().to_le_bytes());
        self.table.extend((offset as u64).to_le_bytes());
    }

    fn into_bytes(self) -> Vec<u8> {
        let mut bytes = b"GGUF".to_vec();
        bytes.extend(3u32.to_le_bytes());
        bytes.extend(self.tensors.to_le_bytes());
        bytes.extend(self.pairs.to_le_bytes());
        bytes.extend(self.metadata);
        bytes.extend(self.table);
        bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
        bytes
    }
}

/// GGUF's number for the type of a value: u32, i32, f32, bool, string, array.
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

fn of_json(value: &Json) -> Value {
    match value {
        Json::Bool(flag) => Value::Bool(*flag),
        Json::String(text) => Value::Text(text.clone()),
        Json::Array(list) => Value::List(list.iter().map(of_json).collect()),
        value => match value.as_u64() {
            Some(n) => Value::Unsigned(n),
            None => Value::Float(value.as_f64().unwrap_or_default()),
        },
    }
}

fn text(out: &mut Vec<u8>, value: &str) {
    out.extend((value.len() as u64).to_le_bytes());
    out.extend(value.as_bytes());
}

#[cfg(test)]
mod tests {
    use gpt_plan::Spec;

    use super::*;
    use crate::weights::{RandomWeights, open, open_bytes, open_embedded, testing};

    /// Weights and tokenizer read back unchanged, from a file and from memory.
    #[test]
    fn a_round_trip() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.gguf");
        let tokenizer = Tokenizer::characters("hello").unwrap();
        for format in Format::ALL {
            let plans = match format.is_k_quant() {
                true => vec![testing::wide_llama()],
                false => vec![testing::gpt2(), testing::llama()],
            };
            for plan in plans {
                let weights = RandomWeights::new(plan, 3, Format::F32);
                save_gguf(&path, plan, &weights, format, Some(&tokenizer)).unwrap();
                let rounded = RandomWeights::new(plan, 3, format);
                let opened = open(&path, plan, None).unwrap();
                let bytes: &'static [u8] = std::fs::read(&path).unwrap().leak();
                let embedded = open_embedded("it", bytes, plan, None).unwrap();
                let in_memory = open_bytes("it", bytes.to_vec(), plan, None).unwrap();
                for (id, layer) in plan.trained() {
                    let expected = rounded.tensor(id, layer).unwrap();
                    for read in [&opened, &embedded, &in_memory] {
                        let read = read.tensor(id, layer).unwrap();
                        assert_eq!(read.format, expected.format);
                        assert_eq!(read.data, expected.data, "{}", plan.tensor(id).name);
                    }
                }
                let read = Tokenizer::of_weights(&path, opened.gguf()).unwrap().unwrap();
                assert_eq!(read.encode("hole").unwrap(), tokenizer.encode("hole").unwrap());
            }
        }
    }

    /// The architecture of each class of transformers that the fixtures have.
    #[test]
    fn architectures_of_classes() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/families");
        let mut found = BTreeMap::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let spec = crate::weights::read_spec(&entry.path()).unwrap();
            let plan = testing::plan(&spec);
            let metadata = gpt_config::gguf_metadata(&spec, &PlanTensors::of(plan));
            let name = entry.file_name().into_string().unwrap();
            found.insert(name, metadata.map(|metadata| metadata.architecture));
        }
        let none: Vec<&str> =
            found.iter().filter(|(_, found)| found.is_none()).map(|(name, _)| &**name).collect();
        // llama.cpp has no such class, or not with the window, scale or order of the fixture.
        // Encoders are not written as GGUF.
        let expected = [
            "bert",
            "bert_masked_words",
            "distilbert",
            "distilbert_masked_words",
            "falcon_serial",
            "gemma2",
            "gemma3",
            "gpt1",
            "gpt_neo",
            "gptj",
            "modernbert",
            "modernbert_masked_words",
            "modernbert_plain_masked_words",
            "opt",
            "phi",
            "qwen2",
            "qwen3",
            "roberta",
            "roberta_masked_words",
            "smollm3",
            "starcoder2",
        ];
        assert_eq!(none, expected);
        assert_eq!(found["llama_llama3"], Some("llama"));
        assert_eq!(found["cohere"], Some("command-r"));
    }

    /// A file that llama.cpp refuses is written, and a sentence says why it will be refused.
    #[test]
    fn a_refusal_of_llama_cpp_is_a_note() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/families");
        let spec = |class: &str| crate::weights::read_spec(&folder.join(class)).unwrap();
        let notes = |spec: &Spec| {
            let tensors = PlanTensors::of(testing::plan(spec));
            gpt_config::gguf_metadata(spec, &tensors).unwrap().notes
        };
        for (class, change, reason) in [
            (
                "cohere",
                (|_| {}) as fn(&mut Spec),
                "command-r expects norms of queries and keys in models of 64 or more layers, and in no others",
            ),
            (
                "cohere",
                |spec| {
                    spec.qk_norm = None;
                    spec.bias = true;
                },
                "command-r takes no attn_output.bias, ffn_gate.bias, ffn_up.bias, ffn_down.bias",
            ),
            (
                "cohere",
                |spec| {
                    spec.qk_norm = None;
                    spec.tie_embeddings = false;
                },
                "command-r takes no output.weight",
            ),
            (
                "falcon",
                |spec| spec.bias = true,
                "falcon takes no attn_qkv.bias, attn_output.bias, ffn_up.bias, ffn_down.bias",
            ),
            (
                "gpt_neox",
                |spec| {
                    spec.qkv_bias = Some(false);
                    spec.attn_out_bias = Some(false);
                },
                "gptneox needs attn_qkv.bias, attn_output.bias",
            ),
            ("gpt_neox", |spec| spec.tie_embeddings = true, "gptneox needs output.weight"),
        ] {
            let mut spec = spec(class);
            let before = notes(&spec);
            let is_refused = before.iter().any(|note| note.contains("refuse"));
            assert_eq!(is_refused, class == "cohere", "{class}: {before:?}");
            change(&mut spec);
            let expected = format!("llama.cpp will refuse the file: its loader of {reason}");
            assert_eq!(notes(&spec)[..1], [expected], "{class}");
        }
    }

    #[test]
    fn specs_that_gguf_cannot_describe_are_rejected() {
        let post_norm = Spec { block: gpt_plan::Block::PostNorm, ..testing::gpt2_spec() };
        let narrow = Spec { heads: 1, kv_heads: 1, embed: 16, ..testing::gpt2_spec() };
        for (spec, part) in
            [(post_norm, "no architecture of llama.cpp"), (narrow, "multiples of 32")]
        {
            let plan = testing::plan(&spec);
            let weights = RandomWeights::new(plan, 1, Format::F32);
            let path = Path::new("no/such/folder/model.gguf");
            let error = save_gguf(path, plan, &weights, Format::Q8, None).unwrap_err();
            assert!(error.to_string().contains(part), "{error}");
        }
    }
}
