//! Memory for weights and caches, and for all that learning takes: large mappings, cut into blocks.
//!
//! A model's weights, and keys and values of a long sequence, are read from beginning to end for every token. In pages of 4 KiB each page's address has to be looked up, and hardware
//! that reads ahead stops at its end; so they stand in mappings of many megabytes for which the operating system is asked to use large pages (where it
//! has such advice; elsewhere these are ordinary mappings). Matrices of one model share mappings, as a small one would not fill a large page.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex};

use memmap2::MmapMut;

use crate::Error;

/// Bytes of a mapping, unless a block is larger.
const MAPPING: usize = 64 << 20;
/// A large page of x86-64 and of most AArch64 systems.
const LARGE_PAGE: usize = 2 << 20;
/// Where blocks may begin, in bytes: a cache line.
const LINE: usize = 64;

/// Hands out blocks of a model's memory.
#[derive(Default)]
pub struct Arena {
    last: Mutex<Option<Open>>,
}

/// A mapping of which a part is handed out.
struct Open {
    mapping: Arc<Mapping>,
    used: usize,
}

/// Memory that blocks share: each owns a part of its own.
struct Mapping {
    start: *mut u8,
    len: usize,
    /// Unmaps it at the end.
    _map: MmapMut,
}

// SAFETY: a mapping belongs to no thread. What is read and written through `start` is read and written by a block, each of which has a part that no
// other has.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

/// A part of a mapping, owned as a boxed slice would be.
pub struct Region {
    mapping: Arc<Mapping>,
    start: usize,
    len: usize,
}

/// Floats in a block; none by default.
#[derive(Default)]
pub struct Floats(Option<Region>);

impl Arena {
    /// `len` zeros.
    ///
    /// # Errors
    /// The system has no room for them.
    pub fn floats(&self, len: usize) -> Result<Floats, Error> {
        Ok(Floats(Some(self.region(len * size_of::<f32>(), |_| ())?)))
    }

    /// A block of `len` bytes of zeros, at a cache line's beginning, as `write` leaves it.
    ///
    /// # Errors
    /// The system has no room for it.
    pub fn region(&self, len: usize, write: impl FnOnce(&mut [u8])) -> Result<Region, Error> {
        let (mapping, start) = self.take(len)?;
        let mut region = Region {
            mapping,
            start,
            len,
        };
        write(&mut region);
        Ok(region)
    }

    /// A part of `len` bytes that is no one else's: of the last mapping, if it has room, or of a new one.
    fn take(&self, len: usize) -> Result<(Arc<Mapping>, usize), Error> {
        let mut last = self
            .last
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        let takes = len.next_multiple_of(LINE);
        if let Some(open) = &mut *last
            && open.mapping.len - open.used >= takes
        {
            let start = open.used;
            open.used += takes;
            return Ok((open.mapping.clone(), start));
        }
        let mapping = Arc::new(Mapping::new(takes)?);
        let open = Open {
            mapping: mapping.clone(),
            used: takes,
        };
        // What has more room left for those that follow stays open.
        let left = |open: &Open| open.mapping.len - open.used;
        if last.as_ref().is_none_or(|old| left(&open) > left(old)) {
            *last = Some(open);
        }
        Ok((mapping, 0))
    }
}

impl Mapping {
    fn new(least: usize) -> Result<Mapping, Error> {
        let len = least.max(MAPPING).next_multiple_of(LARGE_PAGE);
        // Large pages begin at their multiples, where an ordinary mapping may not; untouched memory costs nothing.
        let mut map = MmapMut::map_anon(len + LARGE_PAGE).map_err(|error| {
            Error::Device(format!(
                "the system has no room for {} MiB of weights or cache: {error}",
                len >> 20
            ))
        })?;
        // Advice that a system without large pages does not take changes nothing else.
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

impl Deref for Region {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the part lies in the mapping, which lives as long as the block, and `take` hands each part out once.
        unsafe { std::slice::from_raw_parts(self.mapping.start.add(self.start), self.len) }
    }
}

impl DerefMut for Region {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above; the block is borrowed mutably, and its part has no other owner.
        unsafe { std::slice::from_raw_parts_mut(self.mapping.start.add(self.start), self.len) }
    }
}

impl Deref for Floats {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        self.0
            .as_ref()
            .map_or(&[], |region| bytemuck::cast_slice(region))
    }
}

impl DerefMut for Floats {
    fn deref_mut(&mut self) -> &mut [f32] {
        self.0
            .as_mut()
            .map_or(&mut [], |region| bytemuck::cast_slice_mut(region))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_do_not_share_a_byte_and_outlive_their_arena() {
        let arena = Arena::default();
        let sizes = [1, 63, 64, 65, 3 << 20, MAPPING - 100, 7, MAPPING + 1, 5, 0];
        let blocks: Vec<Region> = sizes
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
        for (i, (block, size)) in blocks.iter().zip(sizes).enumerate() {
            assert_eq!(block.len(), size);
            assert!(block.as_ptr().addr().is_multiple_of(LINE));
            assert!(block.iter().all(|b| *b == i as u8 + 1), "block {i}");
        }
    }

    #[test]
    fn more_than_there_is_is_an_error() {
        let error = Arena::default().region(1 << 55, |_| ()).err().unwrap();
        assert!(error.to_string().contains("no room"), "{error}");
    }
}
