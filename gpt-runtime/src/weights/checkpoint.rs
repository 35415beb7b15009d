//! Maps a plan's tensors to those of a file.
//!
//! Opening a checkpoint resolves each tensor of each layer to the slices that the file stores and
//! chooses its format. All mismatches are collected into one message. Data is read only when an
//! engine requests a tensor.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use gpt_plan::{FileTensor, Format, Init, Layout, Place, Plan, Tensor, TensorId, TensorKind};

use super::archive::{Archive, ArchiveEntry, Mapped};
use super::container;
use super::gguf::Gguf;
use super::names::gather;
use super::slice::file_shape;
use super::stored::FileType;
use super::tables::sinusoidal;
use super::{HostTensor, Weights, config, format, gguf};
use crate::Error;

/// Weights of a plan in mapped files.
pub struct Checkpoint {
    plan: &'static Plan,
    archive: Archive,
    gguf: Option<Gguf>,
    resolved: HashMap<(TensorId, u32), Resolved>,
    notes: Vec<String>,
}

/// One tensor of one layer: slices of its rows, in order.
struct Resolved {
    slices: Vec<StoredSlice>,
    /// The format of the whole tensor.
    format: Format,
    /// Whether slices have quantised formats that differ, so that only f32 holds them all.
    mixed: bool,
}

/// A tensor of the file, which holds some rows of a plan's tensor.
struct StoredSlice {
    entry: ArchiveEntry,
    rows: usize,
    layout: Layout,
    /// Added to the file's values.
    offset: f32,
}

/// Opens `path`: a GGUF, a safetensors file, the index of a sharded model, one of several parts, or
/// a folder with one of them. The first bytes of a file say what it is. Matrices keep the file's
/// format unless `dtype` is given.
///
/// # Errors
/// A file that cannot be read, a missing part; one message with all differences between the file
/// and the plan.
pub fn open(path: &Path, plan: &'static Plan, dtype: Option<Format>) -> Result<Checkpoint, Error> {
    let (path, archive, gguf) = container::open(path)?;
    let problems = match &gguf {
        Some(gguf) => config::check_gguf(gguf, &archive, &plan.spec),
        None => config::read_beside(&path)?
            .map_or(Vec::new(), |config| config::check_config(&config, &plan.spec)),
    };
    fit(&path.display().to_string(), archive, gguf, problems, plan, dtype)
}

/// Opens a GGUF file that is embedded in the program, like [`open`]. Messages call it `name`.
///
/// # Errors
/// As [`open`].
pub fn open_embedded(
    name: &str,
    gguf: &'static [u8],
    plan: &'static Plan,
    dtype: Option<Format>,
) -> Result<Checkpoint, Error> {
    let (archive, gguf) = gguf::read(Mapped::Embedded(gguf), name)?;
    let problems = config::check_gguf(&gguf, &archive, &plan.spec);
    fit(name, archive, Some(gguf), problems, plan, dtype)
}

fn fit(
    name: &str,
    archive: Archive,
    gguf: Option<Gguf>,
    mut problems: Vec<String>,
    plan: &'static Plan,
    dtype: Option<Format>,
) -> Result<Checkpoint, Error> {
    let mut resolver = Resolver {
        plan,
        archive: &archive,
        gguf: gguf.is_some(),
        dtype,
        used: BTreeSet::new(),
        missing: Vec::new(),
        misshapen: Vec::new(),
        changed: BTreeMap::new(),
    };
    let resolved = resolver.resolve();
    let unexpected = resolver.unexpected();
    let notes = resolver.notes();
    let mut list = |what: &str, names: Vec<String>| {
        if !names.is_empty() {
            problems.push(format!("{what}: {}", gather(&names).join(", ")));
        }
    };
    list("missing", resolver.missing);
    list("unexpected", unexpected);
    list("misshapen", resolver.misshapen);
    if !problems.is_empty() {
        let lines: String = problems.iter().map(|p| format!("\n  {p}")).collect();
        return Err(Error::weights(format!("{name} does not fit the model {}:{lines}", plan.name)));
    }
    Ok(Checkpoint { plan, archive, gguf, resolved, notes })
}

impl Checkpoint {
    /// The metadata of a GGUF file.
    pub fn gguf(&self) -> Option<&Gguf> {
        self.gguf.as_ref()
    }

    /// Conversions to another format, one sentence for each pair of types.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }
}

impl Weights for Checkpoint {
    fn tensor(&self, id: TensorId, layer: u32) -> Result<HostTensor<'_>, Error> {
        let tensor = self.plan.tensor(id);
        let (rows, columns) = (tensor.rows as usize, tensor.columns as usize);
        let format = self.format(id, layer);
        let data = match self.resolved.get(&(id, layer)) {
            None => computed(tensor),
            Some(resolved) => self.joined(&resolved.slices, columns, format)?,
        };
        Ok(HostTensor { format, rows, columns, data })
    }

    fn parts(&self, id: TensorId, layer: u32) -> Result<Vec<HostTensor<'_>>, Error> {
        let Some(resolved) = self.resolved.get(&(id, layer)).filter(|r| r.mixed) else {
            return Ok(vec![self.tensor(id, layer)?]);
        };
        let columns = self.plan.tensor(id).columns as usize;
        let part = |slice: &StoredSlice| {
            let format = slice.entry.stored.format();
            let data = self.joined(std::slice::from_ref(slice), columns, format)?;
            Ok(HostTensor { format, rows: slice.rows, columns, data })
        };
        resolved.slices.iter().map(part).collect()
    }

    fn part_formats(&self, id: TensorId, layer: u32) -> Vec<(Format, usize)> {
        let resolved = self.resolved.get(&(id, layer)).filter(|resolved| resolved.mixed);
        let slices = resolved.into_iter().flat_map(|resolved| &resolved.slices);
        slices.map(|slice| (slice.entry.stored.format(), slice.rows)).collect()
    }

    fn format(&self, id: TensorId, layer: u32) -> Format {
        self.resolved.get(&(id, layer)).map_or(Format::F32, |r| r.format)
    }
}

/// The f32 bytes of a computed tensor, which files do not store.
pub fn computed(tensor: &Tensor) -> Cow<'static, [u8]> {
    debug_assert_eq!(tensor.init, Init::Sinusoidal);
    let mut data = Vec::new();
    let mut row = vec![0.0; tensor.columns as usize];
    for position in 0..tensor.rows as usize {
        sinusoidal(position, &mut row);
        format::encode(Format::F32, &row, &mut data);
    }
    Cow::Owned(data)
}

fn is_native(stored: FileType, format: Format) -> bool {
    stored.is_native() && stored.format() == format
}

impl Checkpoint {
    /// The rows of slices in canonical order, in `format`; borrowed if the file has them so.
    fn joined(
        &self,
        slices: &[StoredSlice],
        columns: usize,
        format: Format,
    ) -> Result<Cow<'_, [u8]>, Error> {
        if let [slice] = slices
            && slice.layout == Layout::RowMajor
            && slice.offset == 0.0
            && is_native(slice.entry.stored, format)
        {
            return Ok(Cow::Borrowed(self.archive.data(&slice.entry)));
        }
        let rows: usize = slices.iter().map(|slice| slice.rows).sum();
        let mut data = Vec::with_capacity(rows * format.row_bytes(columns));
        for slice in slices {
            self.append(slice, columns, format, &mut data)?;
        }
        Ok(Cow::Owned(data))
    }

    /// Appends the rows of a slice in canonical order, converted to `format`.
    fn append(
        &self,
        slice: &StoredSlice,
        columns: usize,
        format: Format,
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let stored = slice.entry.stored;
        let bytes = self.archive.data(&slice.entry);
        if slice.layout == Layout::Transposed {
            append_transposed(bytes, stored, slice.rows, columns, format, out);
            return Ok(());
        }
        let row_bytes = bytes.len() / slice.rows;
        let mut row = vec![0.0; columns];
        for r in 0..slice.rows {
            let bytes = &bytes[slice.layout.file_row(r) * row_bytes..][..row_bytes];
            if stored.is_lossless() && stored.format() == format && slice.offset == 0.0 {
                stored.convert(bytes, out).ok_or_else(|| {
                    Error::weights(format!(
                        "a {} block has a scale beyond what {} can hold; load with --dtype f32",
                        stored.name(),
                        FileType::of(format).name()
                    ))
                })?;
            } else {
                stored.decode(bytes, &mut row);
                if slice.offset != 0.0 {
                    row.iter_mut().for_each(|x| *x += slice.offset);
                }
                format::encode(format, &row, out);
            }
        }
        Ok(())
    }
}

/// Appends a matrix that the file stores as `[columns, rows]`, converted to `format`.
fn append_transposed(
    bytes: &[u8],
    stored: FileType,
    rows: usize,
    columns: usize,
    format: Format,
    out: &mut Vec<u8>,
) {
    let mut values = vec![0.0; rows * columns];
    stored.decode(bytes, &mut values);
    let mut row = vec![0.0; columns];
    for r in 0..rows {
        for (c, x) in row.iter_mut().enumerate() {
            *x = values[c * rows + r];
        }
        format::encode(format, &row, out);
    }
}

struct Resolver<'a> {
    plan: &'static Plan,
    archive: &'a Archive,
    gguf: bool,
    dtype: Option<Format>,
    used: BTreeSet<String>,
    missing: Vec<String>,
    misshapen: Vec<String>,
    /// Conversions by stored types and format: the number of tensors, and the first of them.
    changed: BTreeMap<(String, Format), (usize, String)>,
}

impl Resolver<'_> {
    fn resolve(&mut self) -> HashMap<(TensorId, u32), Resolved> {
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
        let pattern = if self.gguf { &source.gguf } else { &source.hf };
        let wanted = source.name_in(pattern, layer);
        let Some(name) = self.lookup(&wanted) else {
            self.missing.push(wanted);
            return None;
        };
        let entry = self.archive.entries[&name].clone();
        self.used.insert(name.clone());
        let (layout, offset) =
            if self.gguf { (Layout::RowMajor, 0.0) } else { (source.hf_layout, source.hf_offset) };
        let expected = file_shape(tensor, source.rows, layout);
        if entry.shape != expected {
            self.misshapen.push(format!("{name} is {:?} and should be {expected:?}", entry.shape));
            return None;
        }
        Some(StoredSlice { entry, rows: source.rows as usize, layout, offset })
    }

    /// The file's name for `wanted`. Exporters differ in the prefix of the trunk.
    fn lookup(&self, wanted: &str) -> Option<String> {
        let has = |name: &str| self.archive.entries.contains_key(name).then(|| name.to_owned());
        has(wanted)
            .or_else(|| has(&format!("transformer.{wanted}")))
            .or_else(|| wanted.strip_prefix("model.").and_then(has))
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

    /// Tensors of the file that the plan does not use, except for known buffers without parameters.
    fn unexpected(&self) -> Vec<String> {
        let known = |name: &str| {
            name.ends_with(".attn.bias")
                || name.ends_with(".attn.masked_bias")
                || name.ends_with("rotary_emb.inv_freq")
        };
        // Some exporters write a tied head a second time.
        let tied_copy = |name: &str, entry: &ArchiveEntry| {
            name == "lm_head.weight" && self.plan.spec.tie_embeddings && {
                let source = &self.plan.tensors[0].sources[0];
                let embedding =
                    self.lookup(&source.name_in(&source.hf, 0)).map(|n| &self.archive.entries[&n]);
                embedding.is_some_and(|e| {
                    e.stored == entry.stored && self.archive.data(e) == self.archive.data(entry)
                })
            }
        };
        let unused = self.archive.entries.iter().filter(|(name, _)| !self.used.contains(*name));
        unused
            .filter(|(name, entry)| !known(name) && !tied_copy(name, entry))
            .map(|(name, _)| name.clone())
            .collect()
    }

    fn notes(&self) -> Vec<String> {
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
