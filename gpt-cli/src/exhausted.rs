//! Handles running out of memory. By default, the process aborts if an allocation of Rust's
//! collections fails. With the allocator here, it prints an error and exits with status 1 instead.
//! Weights, caches and the buffers of training are memory-mapped, and failing to allocate them is
//! an error of the runtime.

use std::alloc::{GlobalAlloc, Layout, System};
use std::fmt::Arguments;
use std::io::Write;

/// The system's allocator, which ends the process with an error if an allocation fails.
pub struct Allocator;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

// SAFETY: every call is passed on to the system's allocator, and a null pointer is not returned.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's contract is the same.
        given(unsafe { System.alloc(layout) }, layout.size())
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's contract is the same.
        given(unsafe { System.alloc_zeroed(layout) }, layout.size())
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's contract is the same.
        given(unsafe { System.realloc(pointer, layout, size) }, size)
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's contract is the same.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// The panic hook tests whether this much memory is left.
const PROBE: Layout = Layout::new::<[u8; 4 << 20]>();

/// Installs a panic hook that exits with the same error if 4 MiB cannot be allocated, or if the
/// panic says so. The standard library panics, for example, if a new thread cannot map its signal
/// stack, and by then another thread may have released memory.
pub fn install() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if panic.payload_as_str().is_some_and(|text| text.starts_with("failed to allocate")) {
            end(format_args!("the memory of a thread"));
        }
        // SAFETY: the layout has a size, and the memory is released as it was allocated.
        unsafe {
            let memory = System.alloc(PROBE);
            if memory.is_null() {
                end(format_args!("{} bytes", PROBE.size()));
            }
            System.dealloc(memory, PROBE);
        }
        usual(panic);
    }));
}

fn given(pointer: *mut u8, bytes: usize) -> *mut u8 {
    if pointer.is_null() {
        end(format_args!("{bytes} bytes"));
    }
    pointer
}

/// Prints the error without allocating, and exits with status 1.
#[cold]
fn end(what: Arguments<'_>) -> ! {
    let _ = writeln!(
        std::io::stderr(),
        "error: cannot allocate {what}; use a smaller model, session or batch, or raise the memory \
         limit"
    );
    crate::interrupt::end(1)
}
