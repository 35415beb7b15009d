//! The files below `wgsl/`. The build script lists them.

/// A constant with the name of each file: `files::NORM_LAYER` is `norm/layer`.
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

#[cfg(test)]
mod tests {
    use super::*;

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
            for line in file
                .text
                .lines()
                .filter(|l| l.trim_start().starts_with("//"))
            {
                assert!(line.chars().count() <= 100, "{}: {line}", file.name);
            }
        }
    }
}
