//! Ctrl-C: the first ends what is being generated or learned, the second the process.

use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// From now on, Ctrl-C is noted.
pub fn listen() {
    static LISTEN: Once = Once::new();
    LISTEN.call_once(|| {
        // Without a handler Ctrl-C ends the process, which is no worse than what it does without us.
        let _ = ctrlc::set_handler(|| {
            if INTERRUPTED.swap(true, Ordering::Relaxed) {
                std::process::exit(130);
            }
        });
    });
}

/// Whether Ctrl-C was pressed since the last look.
pub fn take() -> bool {
    INTERRUPTED.swap(false, Ordering::Relaxed)
}

/// Whether it was, without taking notice: for work that ends early and leaves the rest to its caller.
pub fn pending() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}
