//! Finds and opens the files of a checkpoint.
//!
//! The first bytes of a file say what it is. Its name does not: blobs of caches and downloads have
//! names without an extension. Names matter in two cases. In a folder, weight files are found by
//! their name or extension. If a checkpoint is in several files, their names say which belong
//! together: the parts of a GGUF that llama.cpp split, or shards of safetensors without their
//! index, are called `NAME-00001-of-00003.EXT`. The name of any part opens all of them.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::archive::{Archive, Mapped};
use super::gguf::Gguf;
use super::{gguf, safetensors};
use crate::{Error, files};

/// The kind of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Gguf,
    Safetensors,
    /// A `config.json`, or the index of shards.
    Json,
}

/// The longest header of a safetensors file, a limit of the format.
const LONGEST_HEADER: u64 = 100_000_000;

/// Files that are mistaken for weights: their first bytes, and what they are.
const MISTAKEN: [(&[u8], &str); 6] = [
    (b"version https://git-lfs", "a pointer of Git LFS, not the file itself; run git lfs pull"),
    (b"PK\x03\x04", "a zip archive, such as PyTorch writes; convert it to safetensors"),
    (b"\x80\x02", "a pickle, such as PyTorch writes; convert it to safetensors"),
    (b"<", "a page of HTML or XML; download the file itself"),
    (b"tjgg", "a GGML file from before GGUF; convert the model again"),
    (b"lmgg", "a GGML file from before GGUF; convert the model again"),
];

impl Kind {
    /// The kind of a file that begins with `bytes`. Messages call it `name`.
    ///
    /// # Errors
    /// Fails if the file is of no known kind.
    pub fn of(bytes: &[u8], name: &Path) -> Result<Kind, Error> {
        if bytes.starts_with(b"GGUF") {
            return Ok(Kind::Gguf);
        }
        // The length of a header in JSON. In text, no eight bytes are so small a number.
        if let Some((length, [b'{', ..])) = bytes.split_first_chunk::<8>()
            && u64::from_le_bytes(*length) <= LONGEST_HEADER
        {
            return Ok(Kind::Safetensors);
        }
        let text = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
        if let [b'{' | b'[', ..] = text.trim_ascii_start() {
            return Ok(Kind::Json);
        }
        let mistaken = MISTAKEN.iter().find(|(start, _)| bytes.starts_with(start));
        let name = name.display();
        Err(Error::weights(match mistaken {
            _ if bytes.is_empty() => format!("{name} is empty"),
            Some((_, what)) => format!("{name} is {what}"),
            None => format!("{name} is neither safetensors nor GGUF, judging by its first bytes"),
        }))
    }
}

/// Whether a file begins as a GGUF does.
pub fn is_gguf(path: &Path) -> bool {
    let mut magic = [0; 4];
    files::open(path).and_then(|mut file| file.read_exact(&mut magic)).is_ok() && magic == *b"GGUF"
}

/// Opens the tensors at `path`: a file, one of several parts, an index, or a folder. Also returns
/// the path of the file that was found, and the metadata of a GGUF.
pub fn open(path: &Path) -> Result<(PathBuf, Archive, Option<Gguf>), Error> {
    let path = find(path)?;
    let mapped = Mapped::open(&path)?;
    let (archive, gguf) = match Kind::of(mapped.bytes(), &path)? {
        Kind::Gguf => {
            let (archive, gguf) = open_gguf(&path)?;
            (archive, Some(gguf))
        }
        Kind::Safetensors => match Parts::of(&path) {
            Some(parts) => (safetensors::open(parts.paths()?)?, None),
            None => (safetensors::open([path.clone()])?, None),
        },
        Kind::Json => (safetensors::open(safetensors::shards(&path, mapped.bytes())?)?, None),
    };
    Ok((path, archive, gguf))
}

/// Reads all tensors at `path` as f32, block by block. Returns the number of their elements.
///
/// # Errors
/// See [`open`].
pub fn read_tensors(path: &Path) -> Result<u64, Error> {
    let (_, archive, _) = open(path)?;
    let mut elements = 0;
    for entry in archive.entries.values() {
        let (block, bytes) = entry.stored.block();
        let mut values = vec![0.0; block];
        for bytes in archive.data(entry).chunks_exact(bytes) {
            entry.stored.decode(bytes, &mut values);
            elements += block as u64;
        }
    }
    Ok(elements)
}

/// Opens a GGUF with all its parts. The metadata comes from the first part.
pub fn open_gguf(path: &Path) -> Result<(Archive, Gguf), Error> {
    let (mut archive, gguf) = gguf::open(path)?;
    let split = |gguf: &Gguf| {
        let number = |key| gguf.unsigned(key).unwrap_or_default();
        (number("split.no"), number("split.count"))
    };
    let (number, count) = split(&gguf);
    if count < 2 {
        return Ok((archive, gguf));
    }
    let parts = Parts::of(path).filter(|parts| u64::from(parts.count) == count);
    let parts = parts.ok_or_else(|| {
        Error::weights(format!(
            "{} is part {} of {count} of a GGUF, but its name does not end in -{:05}-of-{count:05}.gguf, so the other parts cannot be found",
            path.display(),
            number.saturating_add(1),
            number.saturating_add(1),
        ))
    })?;
    archive = Archive::default();
    let mut first = None;
    for (i, part) in (0..).zip(parts.paths()?) {
        let (opened, gguf) = gguf::open(&part)?;
        if split(&gguf) != (i, count) {
            let (number, count) = split(&gguf);
            return Err(Error::weights(format!(
                "{} is part {} of {count} by its metadata, but another part by its name",
                part.display(),
                number.saturating_add(1)
            )));
        }
        archive.append(opened, &part)?;
        first.get_or_insert(gguf);
    }
    let gguf = first.expect("there are two parts or more");
    match gguf.unsigned("split.tensors.count") {
        Some(expected) if expected != archive.entries.len() as u64 => Err(Error::weights(format!(
            "the {count} parts of {} have {} tensors, but the first part says {expected}",
            path.display(),
            archive.entries.len()
        ))),
        _ => Ok((archive, gguf)),
    }
}

/// Finds the weight file in a folder. Any other path is returned as it is.
pub fn find(path: &Path) -> Result<PathBuf, Error> {
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    for name in ["model.safetensors", safetensors::INDEX] {
        let file = path.join(name);
        if file.exists() {
            return Ok(file);
        }
    }
    let io = Error::io("read", path);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).map_err(&io)? {
        let file = entry.map_err(&io)?.path();
        let weights = file.extension().is_some_and(|e| e == "gguf" || e == "safetensors");
        if weights && Parts::of(&file).is_none_or(|parts| parts.number == 1) {
            found.push(file);
        }
    }
    found.sort();
    let name = path.display();
    match &found[..] {
        [file] => Ok(file.clone()),
        [] => Err(Error::weights(format!(
            "{name} has no weights, neither safetensors nor GGUF; name the weight file itself"
        ))),
        files => {
            let names = files.iter().filter_map(|file| file.file_name()?.to_str());
            let names: Vec<&str> = names.take(8).collect();
            Err(Error::weights(format!(
                "{name} has {} weight files; name one of them ({})",
                files.len(),
                names.join(", ")
            )))
        }
    }
}

/// The parts of a checkpoint in several files, by the name of one of them.
struct Parts<'a> {
    given: &'a Path,
    /// The text before and after the number and the count, `NAME` and `.EXT`.
    before: &'a str,
    after: &'a str,
    /// From 1.
    number: u32,
    count: u32,
}

impl<'a> Parts<'a> {
    /// None if the name is not a part's.
    fn of(given: &'a Path) -> Option<Parts<'a>> {
        let name = given.file_name()?.to_str()?;
        let (start, end) = name.rsplit_once("-of-")?;
        let (before, number) = start.rsplit_once('-')?;
        let (count, after) = end.split_at_checked(5)?;
        let digits = |text: &str| -> Option<u32> {
            let all = text.len() == 5 && text.bytes().all(|b| b.is_ascii_digit());
            all.then(|| text.parse().ok())?
        };
        let (number, count) = (digits(number)?, digits(count)?);
        let plain = after.is_empty() || after.starts_with('.');
        let valid = plain && (1..=count).contains(&number);
        valid.then_some(Parts { given, before, after, number, count })
    }

    /// The files of all parts, in order.
    ///
    /// # Errors
    /// Fails if one of them does not exist.
    fn paths(&self) -> Result<Vec<PathBuf>, Error> {
        let mut paths = Vec::new();
        for number in 1..=self.count {
            let name = format!("{}-{number:05}-of-{:05}{}", self.before, self.count, self.after);
            let path = self.given.with_file_name(name);
            if !path.exists() {
                return Err(Error::weights(format!(
                    "{} is missing; {} is one of {} parts",
                    path.display(),
                    self.given.display(),
                    self.count
                )));
            }
            paths.push(path);
        }
        Ok(paths)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_files() {
        let kind = |bytes: &[u8]| Kind::of(bytes, Path::new("it"));
        let header = |n: u64, rest: &[u8]| [&n.to_le_bytes(), rest].concat();
        assert_eq!(kind(b"GGUF\x03\0\0\0").unwrap(), Kind::Gguf);
        assert_eq!(kind(&header(300, b"{\"a\"")).unwrap(), Kind::Safetensors);
        // The length begins with the byte of a brace.
        assert_eq!(kind(&header(u64::from(b'{'), b"{}")).unwrap(), Kind::Safetensors);
        for json in ["{", "{}", " \n{\"model_type\": 1}", "\u{feff}{}", "[[", "{234567{}"] {
            assert_eq!(kind(json.as_bytes()).unwrap(), Kind::Json, "{json}");
        }
        for (bytes, message) in [
            (&b""[..], "it is empty"),
            (b"version https://git-lfs.github.com/spec/v1\n", "it is a pointer of Git LFS"),
            (b"PK\x03\x04\0\0", "it is a zip archive"),
            (b"\x80\x02}q\0", "it is a pickle"),
            (b"<!DOCTYPE html>", "it is a page of HTML"),
            (b"lmgg\0\0", "it is a GGML file"),
            (b"GGU", "it is neither safetensors nor GGUF"),
            (&[0xFF; 64], "it is neither safetensors nor GGUF"),
        ] {
            let error = kind(bytes).unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
        }
    }

    #[test]
    fn names_of_parts() {
        let parts = |name: &str| {
            Parts::of(Path::new(name)).map(|parts| (parts.number, parts.count, parts.after.len()))
        };
        assert_eq!(parts("a/m-00002-of-00003.gguf"), Some((2, 3, 5)));
        assert_eq!(parts("m-of-x-00001-of-00001"), Some((1, 1, 0)));
        for name in [
            "model.gguf",
            "m-00000-of-00003.gguf",
            "m-00004-of-00003.gguf",
            "m-2-of-3.gguf",
            "m-00002-of-000034",
            "m-+0002-of-00003",
            "m-00001-of-0000ä.gguf",
            "-of-",
            "",
        ] {
            assert_eq!(parts(name), None, "{name}");
        }
    }
}
