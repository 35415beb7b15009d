//! Ctrl-C: the first one ends the generation or training run, the second one ends the process.

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
                #[expect(clippy::exit, reason = "the user does not want to wait")]
                std::process::exit(130);
            }
        });
    });
}

/// Whether Ctrl-C was pressed since the last call.
pub fn take() -> bool {
    INTERRUPTED.swap(false, Ordering::Relaxed)
}

/// Like [`take`], but leaves the flag set.
pub fn pending() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}
