//! The files below `wgsl/`. The build script lists them.

use gpt_plan::Format;

/// A constant for each file, with its name: `files::NORM_LAYER` is `norm/layer`.
pub mod files {
    include!(concat!(env!("OUT_DIR"), "/names.rs"));
}

/// A file of WGSL.
#[derive(Debug, PartialEq, Eq)]
pub struct Source {
    /// Path below `wgsl/`, without the extension: `norm/layer`.
    pub name: &'static str,
    /// The whole file.
    pub text: &'static str,
}

/// Every file, sorted by name.
pub static SOURCES: &[Source] = include!(concat!(env!("OUT_DIR"), "/sources.rs"));

/// The file called `name`, if there is one.
pub fn source(name: &str) -> Option<&'static Source> {
    let at = SOURCES.binary_search_by(|source| source.name.cmp(name));
    at.ok().map(|at| &SOURCES[at])
}

/// The file that reads weights of `format`: `matmul/weights/NAME`.
///
/// # Panics
/// If there is no such file. Each format has one.
pub fn weights_file(format: Format) -> &'static str {
    let name = format.name();
    let file = source(&format!("matmul/weights/{name}"));
    file.unwrap_or_else(|| panic!("there is no shaders/wgsl/matmul/weights/{name}.wgsl")).name
}

/// The file that reads weights of `format` as bytes for packed dot products,
/// `matmul/weights/packed_NAME`, if the format has one.
pub fn packed_weights_file(format: Format) -> Option<&'static str> {
    let file = source(&format!("matmul/weights/packed_{}", format.name()))?;
    Some(file.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_has_a_file() {
        for format in Format::ALL {
            assert!(weights_file(format).ends_with(format.name()));
        }
    }

    #[test]
    fn every_file_is_found_by_its_name() {
        for file in SOURCES {
            assert_eq!(source(file.name), Some(file));
        }
        assert_eq!(source("norm"), None);
        assert_eq!(source(files::NORM_LAYER).unwrap().name, "norm/layer");
    }

    #[test]
    fn files_open_with_a_comment_and_comments_are_short() {
        for file in SOURCES {
            assert!(file.text.starts_with("// "), "{}", file.name);
            assert!(file.text.ends_with('\n'), "{}", file.name);
            for line in file.text.lines().filter(|l| l.trim_start().starts_with("//")) {
                assert!(line.chars().count() <= 100, "{}: {line}", file.name);
            }
        }
    }
}
