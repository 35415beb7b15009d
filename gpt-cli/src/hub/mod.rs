//! Models of the Hugging Face hub: their names on the command line, and their place in its cache.
//!
//! The hub's own tools use the same folders, so `gpt` finds a model that one of them downloaded,
//! and the other way round. The layout comes from the crate `hf-hub`. As that crate neither
//! compares checksums nor limits the time of a silent connection, `client` and `transfer` download
//! files with `ureq` (decision 62 has the comparison). `files` chooses the files to download.

#[cfg(feature = "hub")]
mod client;
#[cfg_attr(not(feature = "hub"), allow(dead_code, reason = "only downloads use all of it"))]
mod files;
#[cfg(feature = "hub")]
mod transfer;

use std::env;
use std::path::{Path, PathBuf};

use clap::builder::{PathBufValueParser, TypedValueParser};
use hf_hub::{Cache, CacheRepo, Repo};

use crate::output::Failure;

#[cfg(feature = "hub")]
pub use client::Hub;
#[cfg(feature = "hub")]
pub use files::choose;
#[cfg(feature = "hub")]
pub use transfer::Pulled;

/// The branch of a repository that is downloaded.
const BRANCH: &str = "main";

/// A model on the hub: `ORG/REPO`, or `ORG/REPO:FILE` with a file of the repository or a part of
/// that file's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// `ORG/REPO`.
    pub repo: String,
    pub file: Option<String>,
}

impl Name {
    /// Parses a name. None if `text` is not one.
    pub fn parse(text: &str) -> Option<Name> {
        let (repo, file) = match text.split_once(':') {
            Some((repo, file)) => (repo, Some(file)),
            None => (text, None),
        };
        let part = |part: &str| {
            let plain = part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
            plain && part.starts_with(|c: char| c.is_ascii_alphanumeric()) && !part.contains("..")
        };
        let (organisation, model) = repo.split_once('/')?;
        let valid = part(organisation) && part(model) && file.is_none_or(files::is_inside);
        valid.then(|| Name { repo: repo.to_owned(), file: file.map(str::to_owned) })
    }
}

/// `ORG/REPO[:FILE]`.
impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.file {
            Some(file) => write!(f, "{}:{file}", self.repo),
            None => f.write_str(&self.repo),
        }
    }
}

/// A repository in the cache.
pub struct Folder {
    cache: CacheRepo,
    /// The folder of the hub's cache.
    root: PathBuf,
    /// The name of the repository's folder in `root`.
    name: String,
}

impl Folder {
    /// The folder of `repo`, which may not exist yet.
    ///
    /// # Errors
    /// Fails if neither an environment variable nor a home folder says where the cache is.
    pub fn of(repo: &str) -> Result<Folder, Failure> {
        let variable =
            |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let home = || Some(env::home_dir()?.join(".cache"));
        let root = variable("HF_HUB_CACHE")
            .or_else(|| Some(variable("HF_HOME")?.join("hub")))
            .or_else(|| {
                let caches = variable("XDG_CACHE_HOME").or_else(home)?;
                Some(caches.join("huggingface").join("hub"))
            })
            .ok_or_else(|| {
                Failure::Input(
                    "there is no home folder for the hub's cache; set HF_HOME".to_owned(),
                )
            })?;
        let repo = Repo::model(repo.to_owned());
        let name = repo.folder_name();
        Ok(Folder { cache: Cache::new(root.clone()).repo(repo), root, name })
    }

    /// The downloaded snapshot of the branch.
    fn snapshot(&self) -> Option<PathBuf> {
        let refs = self.root.join(&self.name).join("refs").join(BRANCH);
        let commit = std::fs::read_to_string(refs).ok()?;
        Some(self.cache.pointer_path(commit.trim())).filter(|path| path.is_dir())
    }
}

/// The file or folder of a model in the cache, or why there is none.
fn cached(name: &Name) -> Result<PathBuf, String> {
    let pull = format!("download it with `gpt pull {name}`");
    let Some(folder) = Folder::of(&name.repo).ok().and_then(|folder| folder.snapshot()) else {
        return Err(format!("it is not a file, and the hub's cache has no such model; {pull}"));
    };
    let Some(file) = &name.file else { return Ok(folder) };
    let mut names = Vec::new();
    list(&folder, "", &mut names);
    match &files::matching(names.iter().map(String::as_str), file)[..] {
        [one, ..] => Ok(folder.join(one)),
        [] => Err(format!("the hub's cache has {} without this file; {pull}", name.repo)),
    }
}

/// Appends the files below `folder`, by their paths in the repository.
fn list(folder: &Path, prefix: &str, names: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        let path = entry.path();
        if path.is_dir() {
            list(&path, &format!("{prefix}{name}/"), names);
        } else {
            names.push(format!("{prefix}{name}"));
        }
    }
    names.sort();
}

/// Parses an argument that is a path, or the name of a model in the hub's cache.
pub fn path() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(|path: PathBuf| {
        let name = path.to_str().and_then(Name::parse).filter(|_| !path.exists());
        match name.map(|name| cached(&name)) {
            Some(Err(_)) if is_path(&path) => Ok(path),
            Some(cached) => cached,
            None => Ok(path),
        }
    })
}

/// Whether `path`, which does not exist, is more likely meant as a path than as a model's name.
fn is_path(path: &Path) -> bool {
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
    ["json", "gguf", "safetensors"].contains(&extension) || path.parent().is_some_and(Path::is_dir)
}

/// The name of the model whose snapshot in the cache is `folder`.
pub fn name_of_snapshot(folder: &Path) -> Option<&str> {
    let snapshots = folder.parent()?;
    let name = snapshots.parent()?.file_name()?.to_str()?;
    let in_cache = snapshots.file_name()? == "snapshots";
    let (_, model) = name.strip_prefix("models--").filter(|_| in_cache)?.split_once("--")?;
    Some(model)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_models() {
        let file = |text: &str| Name::parse(text).map(|name| name.file);
        assert_eq!(file("a/b-1.5_c"), Some(None));
        assert_eq!(file("a/b:Q4_K_M"), Some(Some("Q4_K_M".to_owned())));
        assert_eq!(file("a/b:sub/c.gguf"), Some(Some("sub/c.gguf".to_owned())));
        assert_eq!(Name::parse("a/b:c").unwrap().to_string(), "a/b:c");
        for text in [
            "a", "a/b/c", "/a", "a/", "./a", "a/..b", "a/b:", "a/b:../c", "a/b:/c", "a b/c",
            "a/b:c\\d",
        ] {
            assert_eq!(file(text), None, "{text}");
        }
    }

    #[test]
    fn snapshots_have_the_name_of_their_model() {
        let name = |path: &str| name_of_snapshot(Path::new(path)).map(str::to_owned);
        assert_eq!(name("x/models--a--b-c/snapshots/12ab"), Some("b-c".to_owned()));
        assert_eq!(name("x/models--a--b-c/other/12ab"), None);
        assert_eq!(name("run"), None);
    }
}
