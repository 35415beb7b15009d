//! Counts what a thread allocates, so that each input has its own peak.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The allocator of the system, with counters for each thread.
struct Counting;

thread_local! {
    /// Bytes that the thread holds; below zero if it frees what another one allocated.
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

/// Counts `change` bytes. A thread that is ending no longer has counters.
fn count(change: isize) {
    let held = HELD.try_with(|held| {
        held.set(held.get() + change);
        held.get()
    });
    if let Ok(held) = held {
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(held)));
    }
}

// SAFETY: every call is passed on to the system's allocator, and counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's contract is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's contract is the same.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller's contract is the same.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize - layout.size() as isize);
        // SAFETY: the caller's contract is the same.
        unsafe { System.realloc(at, layout, size) }
    }
}

/// Calls `work`. Returns its result, and the peak of the bytes that this thread held beyond those
/// that it held before.
pub fn peak<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = HELD.get();
    PEAK.set(before);
    let result = work();
    (result, usize::try_from(PEAK.get() - before).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_counts_what_is_freed_again() {
        let ((), bytes) = peak(|| {
            drop(std::hint::black_box(vec![1_u8; 5000]));
            drop(std::hint::black_box(vec![0_u8; 3000]));
        });
        assert!((5000..6000).contains(&bytes), "{bytes}");
        let (grown, bytes) = peak(|| {
            let mut grown = vec![1_u8; 100];
            grown.reserve_exact(7000);
            grown
        });
        assert!((7000..9000).contains(&bytes), "{bytes}");
        assert_eq!(peak(|| drop(grown)).1, 0);
    }
}
