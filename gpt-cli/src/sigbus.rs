//! Handles SIGBUS. Weights and training tokens are memory-mapped. If another program truncates a
//! mapped file, a read past its new end raises SIGBUS. The handler prints an error and exits with
//! status 1.

/// Installs the handler.
#[cfg(unix)]
pub fn install() {
    const MESSAGE: &str = "error: a file was truncated while it was read; nothing may write to weights or to the folder of a run while they are in use\n";
    extern "C" fn end(_signal: libc::c_int) {
        // SAFETY: `write` and `_exit` may be called in the handler of a signal, and the message is
        // valid for its length.
        unsafe {
            libc::write(libc::STDERR_FILENO, MESSAGE.as_ptr().cast(), MESSAGE.len());
            libc::_exit(1);
        }
    }
    let end: extern "C" fn(libc::c_int) = end;
    // SAFETY: the handler has the signature that `signal` expects, and calls only functions that a
    // handler may call.
    unsafe { libc::signal(libc::SIGBUS, end as libc::sighandler_t) };
}

/// Windows does not let a mapped file be truncated.
#[cfg(not(unix))]
pub fn install() {}
