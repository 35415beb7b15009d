//! Memory between two pages without access.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use bytemuck::Pod;

/// The end of the accessible memory at which a slice lies.
#[derive(Clone, Copy)]
pub enum Edge {
    /// The slice begins right after a page without access.
    First,
    /// The slice ends right before a page without access.
    Last,
}

/// Hands out slices at an edge, and keeps the bytes of results.
pub struct Memory {
    edge: Edge,
    results: RefCell<Vec<u8>>,
}

impl Memory {
    pub fn new(edge: Edge) -> Memory {
        Memory { edge, results: RefCell::default() }
    }

    /// `len` elements of random bits. Floats and halves are between -2 and 2, and so are pairs.
    pub fn random<T: Pod>(&self, len: usize, seed: u64) -> Guarded<T> {
        let mut slice = Guarded::new(len, self.edge);
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut slice);
        for (i, byte) in bytes.iter_mut().enumerate() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            *byte = (state >> 40) as u8;
            // Without its highest exponent bit, the magnitude of a number is less than 2. The bit
            // is in the last byte of an element, which has 2 or 4 bytes. Clearing it in every
            // second byte is right for both sizes.
            if size_of::<T>() > 1 && i % 2 == 1 {
                *byte &= 0xBF;
            }
        }
        slice
    }

    /// Keeps the bytes of a result.
    pub fn saw<T: Pod>(&self, result: &[T]) {
        self.results.borrow_mut().extend_from_slice(bytemuck::cast_slice(result));
    }

    pub fn results(self) -> Vec<u8> {
        self.results.into_inner()
    }
}

/// A slice at an edge of a mapping.
pub struct Guarded<T> {
    mapping: *mut u8,
    mapped: usize,
    start: *mut T,
    len: usize,
    elements: PhantomData<T>,
}

impl<T: Pod> Guarded<T> {
    fn new(len: usize, edge: Edge) -> Guarded<T> {
        // SAFETY: the call has no preconditions.
        let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap();
        let bytes = len * size_of::<T>();
        let within = bytes.next_multiple_of(page).max(page);
        let mapped = within + 2 * page;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANON;
        // SAFETY: a new mapping at a place that the system chooses.
        let mapping =
            unsafe { libc::mmap(std::ptr::null_mut(), mapped, libc::PROT_NONE, flags, -1, 0) };
        assert!(mapping != libc::MAP_FAILED, "{}", std::io::Error::last_os_error());
        let mapping = mapping.cast::<u8>();
        let start = match edge {
            Edge::First => page,
            Edge::Last => page + within - bytes,
        };
        // SAFETY: the pages between the first and the last one of the mapping, and a slice of them.
        let start = unsafe {
            let opened = libc::mprotect(mapping.add(page).cast(), within, access);
            assert!(opened == 0, "{}", std::io::Error::last_os_error());
            mapping.add(start).cast::<T>()
        };
        assert!(start.is_aligned());
        Guarded { mapping, mapped, start, len, elements: PhantomData }
    }
}

impl<T> Deref for Guarded<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: the mapping has `len` elements at `start`, which are zero or were written.
        unsafe { std::slice::from_raw_parts(self.start, self.len) }
    }
}

impl<T> DerefMut for Guarded<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above; the mapping has no other owner.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.len) }
    }
}

impl<T> Drop for Guarded<T> {
    fn drop(&mut self) {
        // SAFETY: the mapping has no other owner, and no slice of it outlives this value.
        unsafe { libc::munmap(self.mapping.cast(), self.mapped) };
    }
}
