//! Writes GGUF files (ggml's `docs/gguf.md`), which hold quantised blocks and the tokenizer.

use std::io::{self, BufWriter, Write};
use std::path::Path;

use gpt_plan::{Format, Layout, NormKind, Plan, Spec};

use super::Weights;
use super::format::{decode, encode};
use super::recipe::Recipe;
use super::slice::{TensorSlice, file_shape, slices};
use super::stored::FileType;
use crate::text::Tokenizer;
use crate::{Error, files};

/// Alignment of a tensor's data in bytes.
const ALIGNMENT: usize = 32;

/// Writes all parameters of `plan` to `path`, matrices in the formats of `recipe`, and the
/// `tokenizer.json` of `tokenizer` as metadata. The file is replaced atomically, and tensors are converted one at a
/// time.
///
/// # Errors
/// A spec that is neither GPT-2's nor Llama's, rows that are not whole blocks, weights that cannot
/// be read, a file that cannot be written.
pub fn save_gguf(
    path: &Path,
    plan: &Plan,
    weights: &dyn Weights,
    recipe: impl Into<Recipe>,
    tokenizer: Option<&Tokenizer>,
) -> Result<(), Error> {
    let recipe = recipe.into();
    let architecture = gpt_config::architecture(&plan.spec).ok_or_else(|| {
        Error::Input(format!(
            "{} is neither a GPT-2 nor a Llama, so GGUF has no name for it; save it as safetensors",
            plan.name
        ))
    })?;
    let mut head = Head::default();
    head.metadata(architecture, plan);
    if let Some(tokenizer) = tokenizer {
        head.text("tokenizer.huggingface.json", &tokenizer.json(false)?);
    }
    let tensors: Vec<GgufTensor<'_>> = slices(plan)
        .map(|slice| GgufTensor { format: recipe.format(plan, &slice), slice })
        .collect();
    tensors.iter().try_for_each(GgufTensor::check_blocks)?;
    let mut offset = 0;
    for tensor in &tensors {
        head.tensor(tensor, offset);
        offset += tensor.bytes().next_multiple_of(ALIGNMENT);
    }
    let head = head.into_bytes();
    // `replace` takes IO errors; an error of the weights is kept beside it.
    let mut failure = None;
    let written = files::replace(path, |new| {
        let mut out = BufWriter::new(std::fs::File::create(new)?);
        out.write_all(&head)?;
        for tensor in &tensors {
            match tensor.data(weights) {
                Ok(data) => out.write_all(&data)?,
                Err(error) => {
                    let text = error.to_string();
                    failure = Some(error);
                    return Err(io::Error::other(text));
                }
            }
        }
        out.flush()
    });
    match failure {
        Some(error) => Err(error),
        None => written,
    }
}

/// A slice of a plan's tensor as a tensor of the file.
struct GgufTensor<'a> {
    slice: TensorSlice<'a>,
    format: Format,
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

    /// The rows in the file's format, padded to the alignment.
    fn data(&self, weights: &dyn Weights) -> Result<Vec<u8>, Error> {
        let tensor = weights.tensor(self.slice.id, self.slice.layer)?;
        let mut data = Vec::with_capacity(self.bytes() + ALIGNMENT);
        let mut row = vec![0.0; tensor.columns];
        for bytes in self.slice.data(&tensor) {
            if tensor.format == self.format {
                data.extend_from_slice(bytes);
            } else {
                decode(tensor.format, bytes, &mut row);
                encode(self.format, &row, &mut data);
            }
        }
        data.resize(data.len().next_multiple_of(ALIGNMENT), 0);
        Ok(data)
    }

    /// GGUF's number of the element type.
    fn kind(&self) -> u32 {
        FileType::of(self.format).gguf()
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
    fn metadata(&mut self, architecture: &str, plan: &Plan) {
        let spec: &Spec = &plan.spec;
        self.text("general.architecture", architecture);
        self.text("general.name", &plan.name);
        let mut number = |name: &str, n: u32| self.number(&format!("{architecture}.{name}"), n);
        number("context_length", spec.context);
        number("embedding_length", spec.embed);
        number("block_count", spec.layers);
        number("feed_forward_length", spec.mlp.hidden);
        number("attention.head_count", spec.heads);
        number("attention.head_count_kv", spec.kv_heads);
        number("attention.key_length", spec.head_dim);
        number("attention.value_length", spec.head_dim);
        number("vocab_size", spec.vocab);
        let name = match spec.norm.kind {
            NormKind::Layer => "attention.layer_norm_epsilon",
            NormKind::Rms => "attention.layer_norm_rms_epsilon",
        };
        self.float(&format!("{architecture}.{name}"), spec.norm.eps);
        // llama.cpp computes the architecture's own activation. Files with another one name it.
        let usual = if spec.mlp.gated { "silu" } else { "gelu_new" };
        if let Some(name) = gpt_config::activation_name(spec).filter(|name| *name != usual) {
            self.text(&format!("{architecture}.hidden_activation"), name);
        }
        // The supported architectures have one base and no scaling.
        if let Some((rope, theta)) = spec.rope().and_then(|rope| Some((rope, rope.theta.of(0)?))) {
            let dimensions = format!("{architecture}.rope.dimension_count");
            self.number(&dimensions, rope.dims);
            self.float(&format!("{architecture}.rope.freq_base"), theta);
        }
    }

    fn key(&mut self, name: &str, kind: u32) {
        self.pairs += 1;
        text(&mut self.metadata, name);
        self.metadata.extend(kind.to_le_bytes());
    }

    fn number(&mut self, name: &str, value: u32) {
        self.key(name, 4);
        self.metadata.extend(value.to_le_bytes());
    }

    fn float(&mut self, name: &str, value: f64) {
        self.key(name, 6);
        self.metadata.extend((value as f32).to_le_bytes());
    }

    fn text(&mut self, name: &str, value: &str) {
        self.key(name, 8);
        text(&mut self.metadata, value);
    }

    fn tensor(&mut self, tensor: &GgufTensor<'_>, offset: usize) {
        self.tensors += 1;
        let TensorSlice { source, layer, .. } = tensor.slice;
        text(&mut self.table, &source.name_in(&source.gguf, layer));
        let mut shape = file_shape(tensor.slice.tensor, source.rows, Layout::RowMajor);
        // GGUF lists the fastest dimension first.
        shape.reverse();
        self.table.extend((shape.len() as u32).to_le_bytes());
        self.table.extend(shape.iter().flat_map(|n| n.to_le_bytes()));
        self.table.extend(tensor.kind().to_le_bytes());
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

fn text(out: &mut Vec<u8>, value: &str) {
    out.extend((value.len() as u64).to_le_bytes());
    out.extend(value.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::{RandomWeights, open, open_embedded, testing};

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
                for (id, layer) in plan.trained() {
                    let expected = rounded.tensor(id, layer).unwrap();
                    for read in [&opened, &embedded] {
                        let read = read.tensor(id, layer).unwrap();
                        assert_eq!(read.format, expected.format);
                        assert_eq!(read.data, expected.data, "{}", plan.tensor(id).name);
                    }
                }
                let read = Tokenizer::beside(&path, opened.gguf()).unwrap().unwrap();
                assert_eq!(read.encode("hole").unwrap(), tokenizer.encode("hole").unwrap());
            }
        }
    }

    #[test]
    fn specs_that_gguf_cannot_describe_are_rejected() {
        let post_norm = Spec { block: gpt_plan::Block::PostNorm, ..testing::gpt2_spec() };
        let narrow = Spec { heads: 1, kv_heads: 1, embed: 16, ..testing::gpt2_spec() };
        for (spec, part) in
            [(post_norm, "neither a GPT-2 nor a Llama"), (narrow, "multiples of 32")]
        {
            let plan = testing::plan(&spec);
            let weights = RandomWeights::new(plan, 1, Format::F32);
            let path = Path::new("no/such/folder/model.gguf");
            let error = save_gguf(path, plan, &weights, Format::Q8, None).unwrap_err();
            assert!(error.to_string().contains(part), "{error}");
        }
    }
}
