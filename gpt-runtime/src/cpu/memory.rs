//! Memory for weights, caches and training: large mappings, cut into regions.
//!
//! A model's weights and the keys and values of a long sequence are read from beginning to end for
//! every token. With pages of 4 KiB each page costs an address translation, and hardware
//! prefetchers stop at its end. So weights and caches are in mappings of many megabytes, and Linux
//! is advised to use large pages for them. Matrices of one model share mappings, because a small
//! matrix would not fill a large page.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

use crate::Error;

/// Memory that is zero at first. WebAssembly has no mappings.
#[cfg(not(target_family = "wasm"))]
type Zeros = memmap2::MmapMut;
#[cfg(target_family = "wasm")]
type Zeros = Vec<u8>;

/// Bytes of a mapping, unless a region is larger. In WebAssembly untouched memory is not free.
const MAPPING: usize = if cfg!(target_family = "wasm") { 1 << 20 } else { 64 << 20 };
/// Bytes of a large page on x86-64 and on most AArch64 systems; WebAssembly has none.
const LARGE_PAGE: usize = if cfg!(target_family = "wasm") { LINE } else { 2 << 20 };
/// Alignment of regions in bytes: a cache line.
const LINE: usize = 64;

/// Hands out regions of a model's memory.
#[derive(Default)]
pub struct Arena {
    open: Mutex<Option<Open>>,
}

/// A mapping with free space.
struct Open {
    mapping: Arc<Mapping>,
    used: usize,
}

/// Memory that regions share. No two regions overlap.
struct Mapping {
    start: *mut u8,
    len: usize,
    /// Frees the memory when it is dropped.
    _map: Zeros,
}

// SAFETY: a mapping belongs to no thread. Memory is only accessed through regions, which do not
// overlap.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

/// A range of a mapping, owned like a boxed slice.
pub struct Region {
    mapping: Arc<Mapping>,
    start: usize,
    len: usize,
}

/// Floats in a region; empty by default.
#[derive(Default)]
pub struct Floats(Option<Region>);

impl Arena {
    /// Allocates `len` zeros.
    ///
    /// # Errors
    /// Fails if the system has too little memory.
    pub fn floats(&self, len: usize) -> Result<Floats, Error> {
        Ok(Floats(Some(self.region(len * size_of::<f32>(), |_| ())?)))
    }

    /// Allocates `len` bytes, aligned to a cache line. They are zero before `write` fills them.
    ///
    /// # Errors
    /// Fails if the system has too little memory.
    pub fn region(&self, len: usize, write: impl FnOnce(&mut [u8])) -> Result<Region, Error> {
        let (mapping, start) = self.take(len)?;
        let mut region = Region { mapping, start, len };
        write(&mut region);
        Ok(region)
    }

    /// Takes `len` bytes from the open mapping if it has room for them, otherwise from a new one.
    fn take(&self, len: usize) -> Result<(Arc<Mapping>, usize), Error> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let takes = len.next_multiple_of(LINE);
        if let Some(last) = &mut *open
            && last.mapping.len - last.used >= takes
        {
            let start = last.used;
            last.used += takes;
            return Ok((last.mapping.clone(), start));
        }
        let mapping = Arc::new(Mapping::new(takes)?);
        let new = Open { mapping: mapping.clone(), used: takes };
        // The mapping with more free space stays open.
        let left = |of: &Open| of.mapping.len - of.used;
        if open.as_ref().is_none_or(|old| left(&new) > left(old)) {
            *open = Some(new);
        }
        Ok((mapping, 0))
    }
}

impl Mapping {
    fn new(least: usize) -> Result<Mapping, Error> {
        let len = least.max(MAPPING).next_multiple_of(LARGE_PAGE);
        // Large pages are aligned to their size; ordinary mappings may not be. Untouched memory
        // costs nothing.
        let mut map = zeros(len + LARGE_PAGE).map_err(|error| Error::OutOfMemory {
            message: format!("the system has no room for {} MiB of memory: {error}", len >> 20),
            bytes: len as u64,
        })?;
        // A system without large pages rejects the advice, with no other effect.
        #[cfg(target_os = "linux")]
        let _ = map.advise(memmap2::Advice::HugePage);
        let skip = map.as_ptr().align_offset(LARGE_PAGE).min(LARGE_PAGE);
        Ok(Mapping {
            // In bounds, as the mapping is a large page longer than `len`.
            start: map[skip..].as_mut_ptr(),
            len,
            _map: map,
        })
    }
}

#[cfg(not(target_family = "wasm"))]
fn zeros(len: usize) -> std::io::Result<Zeros> {
    memmap2::MmapMut::map_anon(len)
}

#[cfg(target_family = "wasm")]
fn zeros(len: usize) -> std::io::Result<Zeros> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(len).map_err(|_| std::io::ErrorKind::OutOfMemory)?;
    bytes.resize(len, 0);
    Ok(bytes)
}

impl Deref for Region {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the region lies in the mapping, which lives as long as the region, and `take`
        // hands out each byte once.
        unsafe { std::slice::from_raw_parts(self.mapping.start.add(self.start), self.len) }
    }
}

impl DerefMut for Region {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above; the region is borrowed mutably and has no other owner.
        unsafe { std::slice::from_raw_parts_mut(self.mapping.start.add(self.start), self.len) }
    }
}

impl Deref for Floats {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        self.0.as_ref().map_or(&[], |region| bytemuck::cast_slice(region))
    }
}

impl DerefMut for Floats {
    fn deref_mut(&mut self) -> &mut [f32] {
        self.0.as_mut().map_or(&mut [], |region| bytemuck::cast_slice_mut(region))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_do_not_share_a_byte_and_outlive_their_arena() {
        let arena = Arena::default();
        let sizes = [1, 63, 64, 65, 3 << 20, MAPPING - 100, 7, MAPPING + 1, 5, 0];
        let regions: Vec<Region> = sizes
            .iter()
            .enumerate()
            .map(|(i, &size)| {
                let write = |bytes: &mut [u8]| {
                    assert!(bytes.iter().all(|b| *b == 0), "memory is zero at first");
                    bytes.fill(i as u8 + 1);
                };
                arena.region(size, write).unwrap()
            })
            .collect();
        drop(arena);
        for (i, (region, size)) in regions.iter().zip(sizes).enumerate() {
            assert_eq!(region.len(), size);
            assert!(region.as_ptr().addr().is_multiple_of(LINE));
            assert!(region.iter().all(|b| *b == i as u8 + 1), "region {i}");
        }
    }

    #[test]
    fn too_large_a_region_is_an_error() {
        let error = Arena::default().region(usize::MAX / 2, |_| ()).err().unwrap();
        assert!(error.to_string().contains("no room"), "{error}");
    }
}
