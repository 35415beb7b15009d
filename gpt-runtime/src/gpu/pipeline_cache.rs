//! Compiled pipelines on disk, so that later programs on the same adapter and driver do not compile
//! them again. Only Vulkan needs this; the drivers of other backends keep their own caches.
//!
//! There is one file for each adapter and driver, in the user's cache folder. `GPT_CACHE_DIR` names
//! another folder; if the variable is empty, nothing is cached. The file begins with a magic number
//! and a checksum, because drivers check only the header of their data; wgpu's header, which
//! follows, names the adapter and the build of the driver. A damaged, foreign or too large file is
//! ignored and replaced. No failure here stops a program: it compiles the pipelines instead.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use wgpu::{AdapterInfo, Device, ErrorFilter, Features, PipelineCacheDescriptor};

use crate::files;

/// The first bytes of a file; the last digit is the version of the format.
const MAGIC: [u8; 8] = *b"gptpipe1";

/// Bytes of the magic number and the checksum.
const HEADER: usize = 16;

/// Bytes of the largest file that is read. Pipelines of unused models are never removed, so a
/// larger file is discarded.
const LARGEST: u64 = 64 << 20;

/// The pipeline cache of an adapter.
pub struct PipelineCache {
    cache: wgpu::PipelineCache,
    path: PathBuf,
    /// The checksum of the data in the file; `None` if there is no valid file.
    saved: Mutex<Option<u64>>,
}

impl PipelineCache {
    /// The cache of `device` in the user's folder; `None` if the backend has no caches, if caching
    /// is switched off, or if no folder is known.
    pub fn open(device: &Device, adapter: &AdapterInfo) -> Option<PipelineCache> {
        let folder = folder(|name| std::env::var_os(name))?;
        PipelineCache::open_in(&folder, device, adapter)
    }

    fn open_in(folder: &Path, device: &Device, adapter: &AdapterInfo) -> Option<PipelineCache> {
        if !device.features().contains(Features::PIPELINE_CACHE) {
            return None;
        }
        let key = wgpu::util::pipeline_cache_key(adapter)?;
        let path = folder.join(format!("{key}_{:016x}.bin", driver(adapter)));
        let known = read(&path);
        let data = known.as_ref().map(|file| &file[HEADER..]);
        let opened = data.and_then(|data| create(device, Some(data)));
        let saved = opened.as_ref().and(data).map(|data| checksum(data.iter().copied()));
        Some(PipelineCache {
            cache: opened.or_else(|| create(device, None))?,
            path,
            saved: Mutex::new(saved),
        })
    }

    /// The cache for creating a pipeline.
    pub fn inner(&self) -> &wgpu::PipelineCache {
        &self.cache
    }

    /// Writes the file if pipelines were built since it was read or written.
    pub fn save(&self) {
        let Some(data) = self.cache.get_data() else {
            return;
        };
        let sum = checksum(data.iter().copied());
        let mut saved = self.saved.lock().unwrap_or_else(PoisonError::into_inner);
        if *saved == Some(sum) {
            return;
        }
        let file = [&MAGIC[..], &sum.to_le_bytes(), &data].concat();
        let folder = self.path.parent().map_or(Ok(()), fs::create_dir_all);
        let written =
            folder.is_ok() && files::replace(&self.path, |new| fs::write(new, &file)).is_ok();
        if written {
            *saved = Some(sum);
        }
    }
}

/// Creates a cache that holds `data`, if any. Returns `None` if the data is not for this adapter
/// and driver.
fn create(device: &Device, data: Option<&[u8]>) -> Option<wgpu::PipelineCache> {
    let scope = device.push_error_scope(ErrorFilter::Validation);
    // SAFETY: `data` is from `get_data`, as the file's magic number and checksum show. wgpu checks,
    // by its own header, that the data is for this adapter and driver.
    let cache = unsafe {
        device.create_pipeline_cache(&PipelineCacheDescriptor {
            label: Some("gpt"),
            data,
            fallback: false,
        })
    };
    pollster::block_on(scope.pop()).is_none().then_some(cache)
}

/// Reads a file, header included; `None` if it is not an intact file of this program.
pub fn read(path: &Path) -> Option<Vec<u8>> {
    if fs::metadata(path).ok()?.len() > LARGEST {
        return None;
    }
    let file = fs::read(path).ok()?;
    let (header, data) = file.split_at_checked(HEADER)?;
    let whole = header[..8] == MAGIC && header[8..] == checksum(data.iter().copied()).to_le_bytes();
    whole.then_some(file)
}

/// The FNV-1a hash. It guards against accidents, not against malice.
pub fn checksum(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// A number that identifies an adapter and its driver.
pub(super) fn driver(adapter: &AdapterInfo) -> u64 {
    let driver = [&adapter.name, &adapter.driver, &adapter.driver_info];
    checksum(driver.map(String::as_str).join("\n").bytes())
}

/// The cache folder, from the environment; see the top of this file.
pub(super) fn folder(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    if let Some(folder) = variable("GPT_CACHE_DIR") {
        return (!folder.is_empty()).then(|| PathBuf::from(folder));
    }
    let path = |name| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let caches = if cfg!(windows) {
        path("LOCALAPPDATA")?
    } else if cfg!(target_os = "macos") {
        path("HOME")?.join("Library/Caches")
    } else {
        path("XDG_CACHE_HOME").or_else(|| Some(path("HOME")?.join(".cache")))?
    };
    Some(caches.join("gpt-model"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::{adapter, testing};

    #[test]
    fn the_environment_says_where() {
        let of = |variables: &'static [(&str, &str)]| {
            folder(move |name| {
                let found = variables.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| OsString::from(value))
            })
        };
        assert_eq!(of(&[("GPT_CACHE_DIR", "here"), ("HOME", "/home/x")]), Some("here".into()));
        assert_eq!(of(&[("GPT_CACHE_DIR", ""), ("HOME", "/home/x")]), None);
        assert_eq!(of(&[]), None);
        if cfg!(all(unix, not(target_os = "macos"))) {
            assert_eq!(of(&[("HOME", "/home/x")]), Some("/home/x/.cache/gpt-model".into()));
            // A relative path is ignored.
            assert_eq!(
                of(&[("XDG_CACHE_HOME", "cache"), ("HOME", "/home/x")]),
                Some("/home/x/.cache/gpt-model".into())
            );
        }
    }

    #[test]
    fn a_file_that_is_not_whole_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let sum = checksum(b"pipelines".iter().copied()).to_le_bytes();
        let good = [&MAGIC[..], &sum, b"pipelines"].concat();
        let mut changed = good.clone();
        changed[HEADER + 3] ^= 1;
        let mut older = good.clone();
        older[7] = b'0';
        fs::write(&path, &good).unwrap();
        assert_eq!(read(&path), Some(good.clone()));
        for bad in [&changed, &older, &good[..20].to_vec(), &good[..9].to_vec(), &vec![]] {
            fs::write(&path, bad).unwrap();
            assert_eq!(read(&path), None, "{bad:?}");
        }
        fs::File::create(&path).unwrap().set_len(LARGEST + 1).unwrap();
        assert_eq!(read(&path), None);
        assert_eq!(read(&folder.path().join("none")), None);
    }

    /// Pipelines are built whatever the cache file contains, and a valid file is written.
    #[test]
    fn foreign_files_are_replaced() {
        let Some(adapter) = testing::adapter() else {
            return;
        };
        let descriptor = wgpu::DeviceDescriptor {
            required_features: adapter::wanted(&adapter, gpt_plan::Features::NONE),
            ..Default::default()
        };
        let (device, _queue) = pollster::block_on(adapter.request_device(&descriptor)).unwrap();
        let info = adapter.get_info();
        let folder = tempfile::tempdir().unwrap();
        let run = || {
            let cache = PipelineCache::open_in(folder.path(), &device, &info)?;
            let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
                label: None,
                source: wgpu::ShaderSource::Wgsl("@compute @workgroup_size(1) fn main() {}".into()),
            });
            let scope = device.push_error_scope(ErrorFilter::Validation);
            let _ = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: None,
                layout: None,
                module: &module,
                entry_point: None,
                compilation_options: Default::default(),
                cache: Some(cache.inner()),
            });
            assert!(pollster::block_on(scope.pop()).is_none());
            let known = cache.saved.lock().unwrap().is_some();
            cache.save();
            Some((cache.path, known))
        };
        let Some((path, known)) = run() else {
            return eprintln!("NOT RUN, as {:?} has no pipeline caches", info.backend);
        };
        assert!(!known);
        let good = read(&path).expect("a file was written");
        assert_eq!(run(), Some((path.clone(), true)), "the file was not used");
        let data = &good[HEADER..];
        let framed = |data: &[u8]| {
            [&MAGIC[..], &checksum(data.iter().copied()).to_le_bytes(), data].concat()
        };
        assert_eq!(framed(data), good);
        // wgpu's header: magic, version, width of pointers, backend, adapter, driver.
        let with = |at: usize| {
            let mut data = data.to_vec();
            data[at] ^= 0x55;
            framed(&data)
        };
        let foreign = [
            ("garbage", b"no cache at all, but longer than a header".to_vec()),
            ("the first half", good[..good.len() / 2].to_vec()),
            ("the first half of what wgpu wrote", framed(&data[..data.len() / 2])),
            ("nothing of what wgpu wrote", framed(&[])),
            ("another program's", with(0)),
            ("another version's", with(8)),
            ("another backend's", with(16)),
            ("another adapter's", with(16 + 1 + 6)),
            ("another driver's", with(16 + 1 + 15)),
        ];
        for (what, file) in foreign {
            fs::write(&path, &file).unwrap();
            assert_eq!(run(), Some((path.clone(), false)), "{what}");
            assert_eq!(read(&path).as_deref().map(<[u8]>::len), Some(good.len()), "{what}");
        }
    }
}
