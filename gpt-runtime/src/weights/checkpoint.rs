//! Maps a plan's tensors to those of a file.
//!
//! Opening a checkpoint resolves each tensor of each layer to the slices that the file stores and
//! chooses its format. All mismatches are collected into one message. Data is read only when an
//! engine requests a tensor.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

use gpt_plan::{Format, Init, Layout, Plan, Tensor, TensorId};

use super::archive::{Archive, ArchiveEntry, Mapped};
use super::container;
use super::gguf::Gguf;
use super::names::gather;
use super::resolve::{Container, Resolver};
use super::stored::FileType;
use super::tables::sinusoidal;
use super::{HostTensor, Weights, config, finite, format, gguf};
use crate::Error;

/// Weights of a plan in files that are mapped or in memory.
pub struct Checkpoint {
    plan: &'static Plan,
    archive: Archive,
    gguf: Option<Gguf>,
    resolved: HashMap<(TensorId, u32), Resolved>,
    notes: Vec<String>,
}

/// One tensor of one layer: slices of its rows, in order.
pub struct Resolved {
    pub slices: Vec<StoredSlice>,
    /// The format of the whole tensor.
    pub format: Format,
    /// Whether slices have quantised formats that differ, so that only f32 holds them all.
    pub mixed: bool,
}

/// A tensor of the file, which holds some rows of a plan's tensor.
pub struct StoredSlice {
    pub entry: ArchiveEntry,
    pub rows: usize,
    pub layout: Layout,
    /// Added to the file's values.
    pub offset: f32,
}

/// Opens `path`: a GGUF, a safetensors file, the index or one of the parts of a sharded model, or a
/// folder with one of these. The first bytes of a file tell its type. Matrices keep the file's
/// format unless `dtype` is given; types that are no [`Format`] are converted to one.
///
/// # Errors
/// Fails if a file cannot be read, if a part is missing, or if the file and the plan differ; one
/// message lists all differences.
pub fn open(path: &Path, plan: &'static Plan, dtype: Option<Format>) -> Result<Checkpoint, Error> {
    let (path, archive, gguf) = container::open(path)?;
    let problems = match &gguf {
        Some(gguf) => config::check_gguf(gguf, &archive, &plan.spec),
        None => config::read_beside(&path)?
            .map_or(Vec::new(), |config| config::check_config(&config, &plan.spec)),
    };
    resolve(&path.display().to_string(), archive, gguf, problems, plan, dtype)
}

/// Opens a GGUF file that is embedded in the program, like [`open`]. Messages call it `name`.
///
/// # Errors
/// See [`open`].
pub fn open_embedded(
    name: &str,
    gguf: &'static [u8],
    plan: &'static Plan,
    dtype: Option<Format>,
) -> Result<Checkpoint, Error> {
    open_mapped(name, Mapped::Embedded(gguf), plan, dtype)
}

/// Opens a GGUF file that was read into memory, like [`open`]. Messages call it `name`.
///
/// # Errors
/// See [`open`].
pub fn open_bytes(
    name: &str,
    gguf: Vec<u8>,
    plan: &'static Plan,
    dtype: Option<Format>,
) -> Result<Checkpoint, Error> {
    open_mapped(name, Mapped::Read(gguf), plan, dtype)
}

fn open_mapped(
    name: &str,
    mapped: Mapped,
    plan: &'static Plan,
    dtype: Option<Format>,
) -> Result<Checkpoint, Error> {
    let (archive, gguf) = gguf::read(mapped, name)?;
    let problems = config::check_gguf(&gguf, &archive, &plan.spec);
    resolve(name, archive, Some(gguf), problems, plan, dtype)
}

fn resolve(
    name: &str,
    archive: Archive,
    gguf: Option<Gguf>,
    mut problems: Vec<String>,
    plan: &'static Plan,
    dtype: Option<Format>,
) -> Result<Checkpoint, Error> {
    let container = match &gguf {
        None => Container::Safetensors,
        Some(gguf) => Container::Gguf {
            pairs_are_neighbours: gpt_config::pairs_are_neighbours(
                gguf.text("general.architecture").unwrap_or_default(),
            ),
        },
    };
    let mut resolver = Resolver::new(plan, &archive, container, dtype);
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
    /// The metadata of a GGUF file; none for safetensors.
    pub fn gguf(&self) -> Option<&Gguf> {
        self.gguf.as_ref()
    }

    /// Conversions to another format, one sentence for each pair of types. Lossless replacements of
    /// types that are no [`Format`] are left out.
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
            Some(resolved) => self.joined((id, layer), &resolved.slices, columns, format)?,
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
            let data = self.joined((id, layer), std::slice::from_ref(slice), columns, format)?;
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
    /// The rows of slices in canonical order, in `format`; borrowed if the file stores them in this
    /// way.
    fn joined(
        &self,
        tensor: (TensorId, u32),
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
            self.append(tensor, slice, columns, format, &mut data)?;
        }
        Ok(Cow::Owned(data))
    }

    /// Appends the rows of a slice in canonical order, converted to `format`.
    fn append(
        &self,
        (id, layer): (TensorId, u32),
        slice: &StoredSlice,
        columns: usize,
        format: Format,
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let stored = slice.entry.stored;
        let bytes = self.archive.data(&slice.entry);
        let name = || finite::name(self.plan, id, layer);
        if slice.layout == Layout::Transposed {
            let convert = |row: &[f32]| finite::convert(format, row, out, name);
            return each_transposed(bytes, stored, slice.rows, columns, convert);
        }
        let row_bytes = bytes.len() / (slice.rows + slice.layout.unused_rows() as usize);
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
                finite::convert(format, &row, out, name)?;
            }
        }
        Ok(())
    }
}

/// Calls `each` with the rows of a matrix that the file stores as `[columns, rows]`.
fn each_transposed(
    bytes: &[u8],
    stored: FileType,
    rows: usize,
    columns: usize,
    mut each: impl FnMut(&[f32]) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut values = vec![0.0; rows * columns];
    stored.decode(bytes, &mut values);
    let mut row = vec![0.0; columns];
    for r in 0..rows {
        for (c, x) in row.iter_mut().enumerate() {
            *x = values[c * rows + r];
        }
        each(&row)?;
    }
    Ok(())
}
