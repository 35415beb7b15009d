//! The fastest variants of kernels on an adapter, as [`tune`](crate::tune) measured them, on disk.
//!
//! There is one JSON file for each adapter and driver, in the folder of the pipeline cache. It
//! lists for each measured kernel its name, a checksum of its source (which contains the model's
//! sizes) and the features of the fastest variant. A damaged, foreign or unknown entry is ignored,
//! and so is a variant that rounds differently.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use gpt_plan::{Features, Kernel};
use serde::{Deserialize, Serialize};

use super::pipeline_cache;
use crate::{Error, files};

/// The version of the file's format.
const VERSION: u32 = 1;

/// Bytes of the largest file that is read: tens of thousands of kernels.
const LARGEST: u64 = 4 << 20;

#[derive(Serialize, Deserialize)]
struct TuningFile {
    version: u32,
    adapter: String,
    kernels: Vec<TunedKernel>,
}

#[derive(Serialize, Deserialize)]
struct TunedKernel {
    kernel: String,
    checksum: String,
    features: String,
}

/// The measured variants of an adapter.
pub struct TuningCache {
    path: Option<PathBuf>,
    adapter: String,
    kernels: HashMap<u64, (String, Features)>,
}

impl TuningCache {
    /// An empty cache without a file.
    pub fn empty() -> TuningCache {
        TuningCache { path: None, adapter: String::new(), kernels: HashMap::new() }
    }

    /// The cache of `adapter` in the user's folder.
    pub fn open(adapter: &wgpu::AdapterInfo) -> TuningCache {
        let folder = pipeline_cache::folder(|name| std::env::var_os(name));
        TuningCache::open_in(folder.as_deref(), adapter)
    }

    pub(super) fn open_in(folder: Option<&Path>, adapter: &wgpu::AdapterInfo) -> TuningCache {
        let driver = pipeline_cache::driver(adapter);
        let path = folder.map(|folder| folder.join(format!("tuned_{driver:016x}.json")));
        let saved = path.as_deref().and_then(read);
        TuningCache {
            kernels: saved.unwrap_or_default(),
            path,
            adapter: format!("{}, {}", adapter.name, adapter.driver_info),
        }
    }

    /// The features of `kernel`'s fastest variant, if it was measured.
    pub fn features(&self, kernel: &Kernel) -> Option<Features> {
        self.kernels.get(&checksum(kernel)).map(|(_, own)| *own)
    }

    /// The path of its file.
    ///
    /// # Errors
    /// Fails if no folder for it is known.
    pub fn path(&self) -> Result<&Path, Error> {
        self.path.as_deref().ok_or_else(|| {
            Error::Input(
                "there is no folder for the result: GPT_CACHE_DIR is empty, or no home folder is \
                 known; set GPT_CACHE_DIR to a folder"
                    .to_owned(),
            )
        })
    }

    /// Adds or replaces the variants of `found` and writes the file.
    ///
    /// # Errors
    /// Fails if no folder for the file is known, or if the file cannot be written.
    pub fn save(mut self, found: &[(&Kernel, Features)]) -> Result<PathBuf, Error> {
        let path = self.path()?.to_owned();
        // Another program may have measured in the meantime.
        self.kernels.extend(read(&path).unwrap_or_default());
        for (kernel, features) in found {
            let entry = (kernel.name.to_string(), *features);
            self.kernels.insert(checksum(kernel), entry);
        }
        let mut kernels: Vec<TunedKernel> = self
            .kernels
            .into_iter()
            .map(|(sum, (kernel, features))| TunedKernel {
                kernel,
                checksum: format!("{sum:016x}"),
                features: features.names(),
            })
            .collect();
        kernels.sort_by(|a, b| (&a.kernel, &a.checksum).cmp(&(&b.kernel, &b.checksum)));
        let file = TuningFile { version: VERSION, adapter: self.adapter, kernels };
        let text = serde_json::to_string_pretty(&file).expect("strings are JSON");
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        }
        files::write(&path, &text)?;
        Ok(path)
    }
}

/// Reads the valid entries of a file; `None` if the file is not one of this version.
pub fn read(path: &Path) -> Option<HashMap<u64, (String, Features)>> {
    if fs::metadata(path).ok()?.len() > LARGEST {
        return None;
    }
    let file: TuningFile = serde_json::from_str(&fs::read_to_string(path).ok()?).ok()?;
    let known = file.kernels.into_iter().filter_map(|entry| {
        let sum = u64::from_str_radix(&entry.checksum, 16).ok()?;
        let features = Features::parse(&entry.features)?;
        let exact = features.iter().all(|feature| !feature.rounds());
        exact.then_some((sum, (entry.kernel, features)))
    });
    (file.version == VERSION).then(|| known.collect())
}

/// The checksum of a kernel's source.
fn checksum(kernel: &Kernel) -> u64 {
    pipeline_cache::checksum(gpt_shaders::link(kernel).bytes())
}

#[cfg(test)]
mod tests {
    use gpt_plan::Feature;

    use super::*;
    use crate::weights::testing;

    fn tuned(folder: &Path) -> TuningCache {
        let none = TuningCache::empty();
        let path = folder.join("new/tuned.json");
        TuningCache { kernels: read(&path).unwrap_or_default(), path: Some(path), ..none }
    }

    #[test]
    fn what_is_kept_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let kernels = &testing::gpt2().kernels;
        let double = Features::NONE.with(Feature::DoubleBuffers);
        tuned(folder.path()).save(&[(&kernels[0], double)]).unwrap();
        let both = double.with(Feature::Subgroups);
        tuned(folder.path()).save(&[(&kernels[1], both)]).unwrap();
        let found = tuned(folder.path());
        let found: Vec<_> = kernels[..3].iter().map(|k| found.features(k)).collect();
        assert_eq!(found, [Some(double), Some(both), None]);
        // The same kernel of another model has other sizes.
        let other = &testing::llama().kernels;
        let same = other.iter().find(|k| k.name == kernels[1].name).unwrap();
        assert_eq!(tuned(folder.path()).features(same), None);
        assert!(TuningCache::empty().save(&[]).is_err());
    }

    #[test]
    fn what_cannot_be_understood_is_ignored() {
        let folder = tempfile::tempdir().unwrap();
        let kernel = &testing::gpt2().kernels[0];
        let path = tuned(folder.path()).save(&[(kernel, Features::DEFAULT)]).unwrap();
        let good = fs::read_to_string(&path).unwrap();
        assert!(tuned(folder.path()).features(kernel).is_some());
        let checksum = format!("{:016x}", checksum(kernel));
        for bad in [
            good[..good.len() / 2].to_owned(),
            good.replace("\"version\": 1", "\"version\": 2"),
            good.replace("subgroups", "packed_dot"),
            good.replace("subgroups", "warp_drive"),
            good.replace(&checksum, "no number"),
            String::new(),
            "[]".to_owned(),
        ] {
            assert_ne!(bad, good);
            fs::write(&path, &bad).unwrap();
            assert_eq!(tuned(folder.path()).features(kernel), None, "{bad}");
        }
        fs::write(&path, [0xff, 0xfe]).unwrap();
        assert_eq!(tuned(folder.path()).features(kernel), None);
    }
}
