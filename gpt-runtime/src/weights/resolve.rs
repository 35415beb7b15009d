//! Finds the tensors of a file that hold the parameters of a plan, and lists what does not fit.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use gpt_plan::{
    Component, FileTensor, Format, Layout, Place, Plan, Role, Tensor, TensorId, TensorKind,
};

use super::archive::{Archive, ArchiveEntry};
use super::checkpoint::{Resolved, StoredSlice};
use super::slice::file_shape;
use super::stored::FileType;

/// The kind of a file, which decides the names of its tensors and the order of their rows.
#[derive(Clone, Copy)]
pub enum Container {
    Safetensors,
    Gguf {
        /// Whether rows of queries and keys that rotate together are neighbours, as llama.cpp's
        /// converter orders them for some architectures.
        pairs_are_neighbours: bool,
    },
}

/// The search for the tensors of a plan in a file.
pub struct Resolver<'a> {
    plan: &'static Plan,
    archive: &'a Archive,
    container: Container,
    dtype: Option<Format>,
    /// The names in the file, by their [`trunk`].
    by_trunk: HashMap<&'a str, &'a str>,
    used: BTreeSet<String>,
    pub missing: Vec<String>,
    pub misshapen: Vec<String>,
    /// Conversions by stored types and format: the number of tensors, and the first of them.
    changed: BTreeMap<(String, Format), (usize, String)>,
}

/// A name without the prefixes of modules that contain the model: exporters differ in them, and
/// `torch.compile` and data-parallel training add their own.
fn trunk(name: &str) -> &str {
    const PREFIXES: [&str; 8] = [
        "_orig_mod.",
        "module.",
        "model.",
        "transformer.",
        "gpt_neox.",
        "bert.",
        "roberta.",
        "distilbert.",
    ];
    match PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix)) {
        Some(rest) => trunk(rest),
        None => name,
    }
}

impl<'a> Resolver<'a> {
    pub fn new(
        plan: &'static Plan,
        archive: &'a Archive,
        container: Container,
        dtype: Option<Format>,
    ) -> Resolver<'a> {
        Resolver {
            plan,
            archive,
            container,
            dtype,
            by_trunk: archive.entries.keys().map(|name| (trunk(name), name.as_str())).collect(),
            used: BTreeSet::new(),
            missing: Vec::new(),
            misshapen: Vec::new(),
            changed: BTreeMap::new(),
        }
    }

    /// Finds the tensors of each parameter of each layer.
    pub fn resolve(&mut self) -> HashMap<(TensorId, u32), Resolved> {
        let mut all = HashMap::new();
        for (i, tensor) in self.plan.tensors.iter().enumerate() {
            if tensor.sources.is_empty() {
                continue;
            }
            for layer in tensor.layers(self.plan.spec.layers) {
                let slices: Vec<StoredSlice> = tensor
                    .sources
                    .iter()
                    .filter_map(|source| self.slice(tensor, source, layer))
                    .collect();
                if slices.len() == tensor.sources.len() {
                    let resolved = self.choose_format(tensor, slices, layer);
                    all.insert((TensorId(i as u16), layer), resolved);
                }
            }
        }
        all
    }

    fn slice(&mut self, tensor: &Tensor, source: &FileTensor, layer: u32) -> Option<StoredSlice> {
        let pattern = match self.container {
            Container::Safetensors => &source.hf,
            Container::Gguf { .. } => &source.gguf,
        };
        let wanted = source.name_in(pattern, layer);
        let Some(name) = self.lookup(&wanted) else {
            self.missing.push(wanted);
            return None;
        };
        self.used.insert(name.clone());
        // If the file has a tied matrix twice, the more precise copy is read.
        let is_embedding = tensor.role == Role::TokenEmbedding;
        let copy = is_embedding.then(|| self.tied_copy()).flatten();
        let is_larger = |copy: &String| self.entry(copy).len > self.entry(&name).len;
        let name = copy.filter(is_larger).unwrap_or(name);
        let entry = self.entry(&name).clone();
        self.used.insert(name.clone());
        let (layout, offset) = match self.container {
            Container::Safetensors => (source.hf_layout, source.hf_offset),
            Container::Gguf { pairs_are_neighbours: true } => (Layout::RowMajor, 0.0),
            Container::Gguf { pairs_are_neighbours: false } => (source.gguf_layout, 0.0),
        };
        let expected = file_shape(tensor, source.rows, layout);
        // A norm of queries and keys may be stored with a row for each head.
        let same = match tensor.kind {
            TensorKind::Vector => {
                entry.shape.iter().product::<u64>() == expected[0]
                    && (entry.shape.len() == 1 || tensor.role == Role::QkNorm)
            }
            _ => entry.shape == expected,
        };
        if !same {
            self.misshapen.push(format!("{name} is {:?} and should be {expected:?}", entry.shape));
            return None;
        }
        Some(StoredSlice { entry, rows: source.rows as usize, layout, offset })
    }

    fn entry(&self, name: &str) -> &ArchiveEntry {
        &self.archive.entries[name]
    }

    /// The second copy of a tied matrix, stored as the head. Exporters write the same values;
    /// quantisers may store the copy in a different type from the embedding.
    fn tied_copy(&self) -> Option<String> {
        const SAMPLE: usize = 64;
        if !self.plan.spec.tie_embeddings {
            return None;
        }
        let source = &self.plan.tensors.first()?.sources.first()?;
        let (embedding, head) = match self.container {
            Container::Safetensors => (&source.hf, self.lookup_head(".weight")),
            Container::Gguf { .. } => (&source.gguf, self.lookup("output.weight")),
        };
        let head = head?;
        let [a, b] = [self.entry(&self.lookup(&source.name_in(embedding, 0))?), self.entry(&head)];
        if a.shape != b.shape {
            return None;
        }
        if a.stored == b.stored {
            return (self.archive.data(a) == self.archive.data(b)).then_some(head);
        }
        // The values of two types differ by their rounding.
        let [rows, columns] = a.shape[..] else { return None };
        let (rows, columns) = (rows as usize, columns as usize);
        let (mut error, mut square) = (0.0, 0.0);
        let [mut x, mut y] = [vec![0.0; columns], vec![0.0; columns]];
        for row in (0..rows).step_by(rows.div_ceil(SAMPLE).max(1)) {
            for (entry, values) in [(a, &mut x), (b, &mut y)] {
                let data = self.archive.data(entry);
                let bytes = data.len() / rows;
                entry.stored.decode(&data[row * bytes..][..bytes], values);
            }
            for (x, y) in x.iter().zip(&y) {
                error += f64::from(x - y) * f64::from(x - y);
                square += f64::from(*y) * f64::from(*y);
            }
        }
        (error <= 0.05 * square).then_some(head)
    }

    /// The second copy of the bias of an encoder's head, which some exporters write.
    fn head_bias_copy(&self) -> Option<String> {
        let source = &self.plan.tensor(self.plan.role(Role::Head, Component::Bias)?).sources[0];
        let [original, copy] =
            [self.lookup(&source.name_in(&source.hf, 0))?, self.lookup_head(".bias")?];
        let [a, b] = [self.entry(&original), self.entry(&copy)];
        let same = a.stored == b.stored && self.archive.data(a) == self.archive.data(b);
        same.then_some(copy)
    }

    /// The file's name of a tensor of the output head. `end` is the part after the head's name.
    fn lookup_head(&self, end: &str) -> Option<String> {
        const HEADS: [&str; 4] =
            ["lm_head", "cls.predictions.decoder", "lm_head.decoder", "vocab_projector"];
        HEADS.iter().find_map(|head| self.lookup(&format!("{head}{end}")))
    }

    /// The file's name for `wanted`.
    fn lookup(&self, wanted: &str) -> Option<String> {
        if self.archive.entries.contains_key(wanted) {
            return Some(wanted.to_owned());
        }
        self.by_trunk.get(trunk(wanted)).map(|name| (*name).to_owned())
    }

    /// Chooses the format that holds all slices, or the requested one. Records conversions.
    fn choose_format(&mut self, tensor: &Tensor, slices: Vec<StoredSlice>, layer: u32) -> Resolved {
        if tensor.kind != TensorKind::Matrix {
            return Resolved { slices, format: Format::F32, mixed: false };
        }
        let stored: BTreeSet<FileType> = slices.iter().map(|s| s.entry.stored).collect();
        let formats: BTreeSet<Format> = stored.iter().map(|s| s.format()).collect();
        let exact = |stored: &FileType| stored.is_lossless() && stored.format().is_quantised();
        let mixed = self.dtype.is_none() && formats.len() > 1 && stored.iter().all(exact);
        let format = self.dtype.unwrap_or_else(|| match formats.len() {
            1 => *formats.first().expect("one"),
            _ => Format::F32,
        });
        // Engines hold mixed slices as they are, or convert them to f32 without loss.
        let lossless = mixed || stored.iter().all(|s| s.format() == format && s.is_lossless());
        if !lossless {
            let names: Vec<&str> = stored.iter().map(|s| s.name()).collect();
            let count = self.changed.entry((names.join(" + "), format)).or_default();
            count.0 += 1;
            if count.1.is_empty() {
                count.1 = match tensor.place {
                    Place::Model => tensor.name.to_string(),
                    Place::Layers { .. } => format!("{} of layer {layer}", tensor.name),
                };
            }
        }
        Resolved { slices, format, mixed }
    }

    /// Tensors of the file that the plan does not use, except for known buffers without parameters,
    /// divisors of rotary frequencies, which are part of the file's description, the pooler of an
    /// encoder, copies of a tied matrix or of the head's bias, and biases of zeros.
    pub fn unexpected(&self) -> Vec<String> {
        let known = |name: &str| {
            let buffers = [
                ".attn.bias",
                ".attention.bias",
                ".masked_bias",
                "rotary_emb.inv_freq",
                "rope_freqs.weight",
            ];
            // An encoder's pooler is for classification, and does not change hidden states.
            let trunk = trunk(name);
            buffers.iter().any(|buffer| name.ends_with(buffer))
                || trunk == "embeddings.position_ids"
                || trunk.starts_with("pooler.")
        };
        // llama.cpp requires a bias for each projection of a GPT-2, even if the model has none.
        let zeros = |name: &str, entry: &ArchiveEntry| {
            name.ends_with(".bias") && self.archive.data(entry).iter().all(|byte| *byte == 0)
        };
        let copies = [self.tied_copy(), self.head_bias_copy()];
        let is_copy = |name: &String| copies.iter().flatten().any(|copy| copy == name);
        let unused = self.archive.entries.iter().filter(|(name, _)| !self.used.contains(*name));
        unused
            .filter(|(name, entry)| !known(name) && !is_copy(name) && !zeros(name, entry))
            .map(|(name, _)| name.clone())
            .collect()
    }

    pub fn notes(&self) -> Vec<String> {
        let note =
            |((from, to), (count, example)): (&(String, Format), &(usize, String))| match count {
                1 => format!("{example} is {from} in the file and held as {}", to.name()),
                _ => format!(
                    "{count} matrices ({example}, ...) are {from} in the file and held as {}",
                    to.name()
                ),
            };
        self.changed.iter().map(note).collect()
    }
}
