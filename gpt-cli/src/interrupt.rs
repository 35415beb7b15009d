//! Handles Ctrl-C. The first one stops the work in progress, such as a generation or a training
//! run. A second one, before the work has stopped, ends the process.

use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Installs the handler.
pub fn listen() {
    static LISTEN: Once = Once::new();
    LISTEN.call_once(|| {
        // Without a handler, Ctrl-C ends the process, which is acceptable.
        let _ = ctrlc::set_handler(|| {
            if INTERRUPTED.swap(true, Ordering::Relaxed) {
                end(130);
            }
        });
    });
}

/// Ends the process at once. Other threads are still running, so cleanup code of libraries, such as
/// a graphics driver's, must not run.
pub fn end(status: i32) -> ! {
    #[cfg(unix)]
    // SAFETY: the call has no preconditions.
    unsafe {
        libc::_exit(status)
    }
    #[cfg(not(unix))]
    #[expect(clippy::exit, reason = "the user does not want to wait")]
    std::process::exit(status)
}

/// Whether Ctrl-C was pressed since the last call.
pub fn take() -> bool {
    INTERRUPTED.swap(false, Ordering::Relaxed)
}

/// Like [`take`], but leaves the flag set.
pub fn pending() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}
