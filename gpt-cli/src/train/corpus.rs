//! Reads the text of a run from files and folders, one after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use gpt_runtime::__private::files;
use gpt_runtime::Error;

use crate::output::Failure;

const BOM: char = '\u{feff}';

/// The most characters that a message names.
const NAMED: usize = 5;

/// Reads all files, and those in folders, in order. If a file does not end with a line break, one
/// is added before the next file. `normalize` removes the byte order mark at the start of each
/// file, and turns `\r\n` and `\r` into `\n`.
pub fn read(paths: &[PathBuf], normalize: bool) -> Result<String, Failure> {
    let mut found = Vec::new();
    for path in paths {
        match path.is_dir() {
            true => add(path, &mut BTreeSet::new(), &mut found)?,
            false => found.push(path.clone()),
        }
    }
    if found.is_empty() {
        return Err(Failure::Input(format!("there are no files in {}", names(paths))));
    }
    let mut text = String::new();
    for path in &found {
        let mut part = files::read_text(path)?;
        if normalize {
            part = normalized(part);
        }
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        // The first file need not be copied, and most texts are a single file.
        if text.is_empty() {
            text = part;
        } else {
            text.push_str(&part);
        }
    }
    Ok(text)
}

/// Adds the files in a folder and below it, sorted by name. Leaves out pipes, devices, and hidden
/// files and folders. A folder that symbolic links name again, perhaps from within, is read once;
/// `seen` has the folders so far.
fn add(
    folder: &Path,
    seen: &mut BTreeSet<PathBuf>,
    found: &mut Vec<PathBuf>,
) -> Result<(), Failure> {
    let failed =
        |source| Failure::Runtime(Error::Io { doing: "read", path: folder.to_owned(), source });
    if !seen.insert(folder.canonicalize().map_err(failed)?) {
        return Ok(());
    }
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        entries.push(entry.map_err(failed)?.path());
    }
    entries.sort();
    let is_hidden = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
    };
    for path in entries.into_iter().filter(|path| !is_hidden(path)) {
        // A link to nothing is an error when it is read.
        let kind = path.metadata();
        if kind.as_ref().is_ok_and(std::fs::Metadata::is_dir) {
            add(&path, seen, found)?;
        } else if kind.is_err() || kind.is_ok_and(|kind| kind.is_file()) {
            found.push(path);
        }
    }
    Ok(())
}

/// The paths, as a message lists them.
pub fn names(paths: &[PathBuf]) -> String {
    let names: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    names.join(" and ")
}

fn normalized(text: String) -> String {
    let text = text.strip_prefix(BOM).map(str::to_owned).unwrap_or(text);
    match text.contains('\r') {
        true => text.replace("\r\n", "\n").replace('\r', "\n"),
        false => text,
    }
}

/// The oddities of a text as part of a sentence: a byte order mark, `\r` at the ends of lines.
pub fn oddities(text: &str) -> Option<&'static str> {
    match (text.contains(BOM), text.contains('\r')) {
        (true, true) => Some("a byte order mark, and \\r at the ends of lines"),
        (true, false) => Some("a byte order mark"),
        (false, true) => Some("\\r at the ends of lines"),
        (false, false) => None,
    }
}

/// The rarest characters of a text, with their counts.
pub fn rarest(text: &str) -> String {
    let mut counts: BTreeMap<char, u64> = BTreeMap::new();
    for character in text.chars() {
        *counts.entry(character).or_default() += 1;
    }
    let mut counts: Vec<(char, u64)> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| *count);
    let named =
        counts.iter().take(NAMED).map(|(character, count)| format!("{character:?} ({count})"));
    named.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_folders_are_read_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::create_dir_all(path("corpus/more")).unwrap();
        for (name, text) in [
            ("corpus/b.txt", "\u{feff}two\r\n"),
            ("corpus/a.txt", "one"),
            ("corpus/more/c", "three\r"),
            ("corpus/.hidden", "no"),
            ("last.txt", "four"),
        ] {
            std::fs::write(path(name), text).unwrap();
        }
        let paths = [path("corpus"), path("last.txt")];
        let text = |normalize| read(&paths, normalize).ok().unwrap();
        assert_eq!(text(true), "one\ntwo\nthree\nfour");
        assert_eq!(text(false), "one\n\u{feff}two\r\nthree\r\nfour");
        let both = "a byte order mark, and \\r at the ends of lines";
        assert_eq!((oddities(&text(false)), oddities(&text(true))), (Some(both), None));
        // Two links to their own folder: a search that follows them finds 2^40 paths before the
        // system refuses the 41st link of a path.
        #[cfg(unix)]
        for link in ["d", "e"] {
            std::os::unix::fs::symlink(".", path("corpus").join(link)).unwrap();
        }
        assert_eq!(text(true), "one\ntwo\nthree\nfour");
        std::fs::create_dir(path("empty")).unwrap();
        assert!(read(&[path("empty")], false).is_err());
        assert_eq!(rarest("aab\u{e9}"), "'b' (1), '\u{e9}' (1), 'a' (2)");
    }
}
