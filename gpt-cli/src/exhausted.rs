//! Memory of the system that is exhausted. Small allocations of Rust have no way to return an error,
//! and end a program with a signal. Here it ends with a sentence. Weights, caches and the buffers of
//! training are mapped, and return an error instead.

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::Write;

/// The system's allocator, which ends the program where there is no memory.
pub struct Allocator;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

// SAFETY: every call is passed on to the system's allocator, and a null pointer is not returned.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: passed on.
        given(unsafe { System.alloc(layout) }, layout.size())
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: passed on.
        given(unsafe { System.alloc_zeroed(layout) }, layout.size())
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: passed on.
        given(unsafe { System.realloc(pointer, layout, size) }, size)
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Memory that a program needs to go on after a panic.
const NEEDED: Layout = Layout::new::<[u8; 4 << 20]>();

/// Ends the program with the sentence where it panics for lack of memory, as a thread of the
/// standard library does that gets no stack for signals.
pub fn explain() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        // SAFETY: the layout has a size, and the memory is released as it was allocated.
        unsafe {
            let memory = System.alloc(NEEDED);
            if memory.is_null() {
                end(NEEDED.size());
            }
            System.dealloc(memory, NEEDED);
        }
        usual(panic);
    }));
}

fn given(pointer: *mut u8, bytes: usize) -> *mut u8 {
    if pointer.is_null() {
        end(bytes);
    }
    pointer
}

/// Prints a sentence, which takes no memory, and ends with status 1.
#[cold]
fn end(bytes: usize) -> ! {
    let _ = writeln!(
        std::io::stderr(),
        "error: the system has no memory for {bytes} more bytes; use a smaller model, session or \
         batch, or raise the limit of memory"
    );
    crate::interrupt::end(1)
}
