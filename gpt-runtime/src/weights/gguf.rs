//! Reads GGUF versions 2 and 3: metadata and the table of tensors (ggml's `docs/gguf.md`).
//!
//! Every length is checked against the rest of the file before memory is allocated for it, so a
//! corrupt file is an error and costs no memory.

use std::collections::BTreeMap;
use std::path::Path;

use super::archive::{Archive, ArchiveEntry, Mapped, tensor_bytes};
use super::stored::FileType;
use crate::Error;

/// A metadata value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// An unsigned integer of any width.
    Unsigned(u64),
    /// A signed integer of any width.
    Signed(i64),
    /// A float of 32 or 64 bits.
    Float(f64),
    /// True or false.
    Bool(bool),
    /// A string.
    Text(String),
    /// An array.
    List(Vec<Value>),
}

/// The metadata of a GGUF file.
#[derive(Clone, Debug, Default)]
pub struct Gguf {
    values: BTreeMap<String, Value>,
}

impl Gguf {
    /// Metadata without a file.
    #[cfg(test)]
    pub fn from_values(values: impl IntoIterator<Item = (String, Value)>) -> Gguf {
        Gguf { values: values.into_iter().collect() }
    }

    /// All keys and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.values.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// The value of `key`.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.values.get(key)
    }

    /// The value of `key`, if it is a string.
    pub fn text(&self, key: &str) -> Option<&str> {
        match self.get(key)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The value of `key`, if it is a non-negative integer.
    pub fn unsigned(&self, key: &str) -> Option<u64> {
        match *self.get(key)? {
            Value::Unsigned(n) => Some(n),
            Value::Signed(n) => u64::try_from(n).ok(),
            _ => None,
        }
    }

    /// The value of `key`, if it is a number.
    pub fn float(&self, key: &str) -> Option<f64> {
        match *self.get(key)? {
            Value::Float(x) => Some(x),
            Value::Unsigned(n) => Some(n as f64),
            Value::Signed(n) => Some(n as f64),
            _ => None,
        }
    }

    /// The value of `key`, if it is a boolean.
    pub fn flag(&self, key: &str) -> Option<bool> {
        match *self.get(key)? {
            Value::Bool(flag) => Some(flag),
            _ => None,
        }
    }

    /// The value of `key`, if it is a list.
    pub fn list(&self, key: &str) -> Option<&[Value]> {
        match self.get(key)? {
            Value::List(list) => Some(list),
            _ => None,
        }
    }

    /// The value of `key`, if it is a list of strings.
    pub fn texts<'a>(&'a self, key: &str) -> Option<Vec<&'a str>> {
        let text = |value: &'a Value| match value {
            Value::Text(text) => Some(text.as_str()),
            _ => None,
        };
        self.list(key)?.iter().map(text).collect()
    }
}

/// Maps `path` and reads its metadata and table of tensors.
pub fn open(path: &Path) -> Result<(Archive, Gguf), Error> {
    read(Mapped::open(path)?, &path.display().to_string())
}

/// Reads the metadata and table of tensors of a mapped file. Messages call it `name`.
pub fn read(mapped: Mapped, name: &str) -> Result<(Archive, Gguf), Error> {
    let (gguf, entries) = read_table(mapped.bytes(), name)?;
    Ok((Archive { files: vec![mapped], entries }, gguf))
}

/// Like [`read`], for bytes that stay with the caller.
pub fn read_table(
    bytes: &[u8],
    name: &str,
) -> Result<(Gguf, BTreeMap<String, ArchiveEntry>), Error> {
    parse(bytes).map_err(|what| {
        Error::weights(format!("{name} is not a GGUF file that can be read: {what}"))
    })
}

/// The text of an error completes the sentence "... is not a GGUF file that can be read: ..".
type Parsed<T> = Result<T, String>;

/// Parses the metadata and table of tensors of a whole file.
pub fn parse(bytes: &[u8]) -> Parsed<(Gguf, BTreeMap<String, ArchiveEntry>)> {
    let mut cursor = Cursor { bytes, at: 0 };
    if cursor.take(4, "the magic number")? != b"GGUF" {
        return Err("it does not begin with the letters GGUF".to_owned());
    }
    let version = cursor.u32("the version")?;
    if !(2..=3).contains(&version) {
        return Err(format!("it is version {version}; versions 2 and 3 are read"));
    }
    let tensors = cursor.u64("the number of tensors")?;
    let pairs = cursor.u64("the number of metadata values")?;
    let mut gguf = Gguf::default();
    for _ in 0..pairs {
        let key = cursor.text("a metadata key")?;
        let kind = cursor.u32(&key)?;
        let value = cursor.value(kind, &key, 0)?;
        if gguf.values.insert(key.clone(), value).is_some() {
            return Err(format!("the metadata key {key} occurs twice"));
        }
    }
    let mut infos = Vec::new();
    for _ in 0..tensors {
        infos.push(cursor.info()?);
    }
    let alignment = gguf.unsigned("general.alignment").unwrap_or(32);
    if alignment == 0 || !alignment.is_power_of_two() || alignment > 1 << 20 {
        return Err(format!(
            "general.alignment is {alignment}, which is not a reasonable power of two"
        ));
    }
    let data = (cursor.at as u64).next_multiple_of(alignment);
    let mut entries = BTreeMap::new();
    for info in infos {
        let (name, entry) = info.place(data, bytes.len() as u64)?;
        if entries.insert(name.clone(), entry).is_some() {
            return Err(format!("the tensor {name} occurs twice"));
        }
    }
    Ok((gguf, entries))
}

/// An entry of the table of tensors, before its place is checked.
struct Info {
    name: String,
    /// The slowest dimension first.
    shape: Vec<u64>,
    kind: u32,
    offset: u64,
}

impl Info {
    fn place(self, data: u64, file: u64) -> Parsed<(String, ArchiveEntry)> {
        let Info { name, shape, kind, offset } = self;
        let stored = FileType::from_gguf(kind).ok_or_else(|| {
            format!("the tensor {name} is of type {kind}, which is none of {}", FileType::names())
        })?;
        let len = tensor_bytes(stored, &shape).ok_or_else(|| {
            format!(
                "the tensor {name} has the shape {shape:?}, which {} cannot store",
                stored.name()
            )
        })?;
        let start = data.checked_add(offset);
        let end = start.and_then(|start| start.checked_add(len));
        match (start, end) {
            (Some(start), Some(end)) if end <= file => {
                let entry = ArchiveEntry {
                    file: 0,
                    start: start as usize,
                    len: len as usize,
                    stored,
                    shape,
                };
                Ok((name, entry))
            }
            _ => Err(format!(
                "the tensor {name} of {len} bytes at {offset} reaches beyond the end of the file ({file} bytes)"
            )),
        }
    }
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, len: u64, what: &str) -> Parsed<&'a [u8]> {
        let left = &self.bytes[self.at..];
        if len > left.len() as u64 {
            return Err(format!("it ends within {what}"));
        }
        self.at += len as usize;
        Ok(&left[..len as usize])
    }

    fn array<const N: usize>(&mut self, what: &str) -> Parsed<[u8; N]> {
        Ok(self.take(N as u64, what)?.try_into().expect("as many bytes as were taken"))
    }

    fn u32(&mut self, what: &str) -> Parsed<u32> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    fn u64(&mut self, what: &str) -> Parsed<u64> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    fn text(&mut self, what: &str) -> Parsed<String> {
        let len = self.u64(what)?;
        let bytes = self.take(len, what)?;
        String::from_utf8(bytes.to_vec()).map_err(|_| format!("{what} is not UTF-8"))
    }

    fn value(&mut self, kind: u32, key: &str, depth: u32) -> Parsed<Value> {
        Ok(match kind {
            0 => Value::Unsigned(u8::from_le_bytes(self.array(key)?).into()),
            1 => Value::Signed(i8::from_le_bytes(self.array(key)?).into()),
            2 => Value::Unsigned(u16::from_le_bytes(self.array(key)?).into()),
            3 => Value::Signed(i16::from_le_bytes(self.array(key)?).into()),
            4 => Value::Unsigned(self.u32(key)?.into()),
            5 => Value::Signed(i32::from_le_bytes(self.array(key)?).into()),
            6 => Value::Float(f32::from_le_bytes(self.array(key)?).into()),
            7 => Value::Bool(self.array::<1>(key)? != [0]),
            8 => Value::Text(self.text(key)?),
            9 => {
                let kind = self.u32(key)?;
                let len = self.u64(key)?;
                let least = match kind {
                    0 | 1 | 7 => 1,
                    2 | 3 => 2,
                    4..=6 => 4,
                    8 | 10..=12 => 8,
                    9 if depth < 3 => 12,
                    _ => return Err(format!("{key} is a list of the unknown type {kind}")),
                };
                if len > (self.bytes.len() - self.at) as u64 / least {
                    return Err(format!(
                        "{key} is a list of {len} elements, which the file is too short for"
                    ));
                }
                let list = (0..len).map(|_| self.value(kind, key, depth + 1));
                Value::List(list.collect::<Parsed<_>>()?)
            }
            10 => Value::Unsigned(self.u64(key)?),
            11 => Value::Signed(i64::from_le_bytes(self.array(key)?)),
            12 => Value::Float(f64::from_le_bytes(self.array(key)?)),
            other => return Err(format!("{key} is of the unknown type {other}")),
        })
    }

    fn info(&mut self) -> Parsed<Info> {
        let name = self.text("the name of a tensor")?;
        let dimensions = self.u32(&name)?;
        if dimensions > 4 {
            return Err(format!(
                "the tensor {name} has {dimensions} dimensions; at most four are allowed"
            ));
        }
        let mut shape = (0..dimensions).map(|_| self.u64(&name)).collect::<Parsed<Vec<_>>>()?;
        shape.reverse();
        Ok(Info { kind: self.u32(&name)?, offset: self.u64(&name)?, name, shape })
    }
}
