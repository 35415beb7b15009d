//! Weights and tokens of a run are mapped. If another program makes a mapped file shorter, reading
//! it raises a signal, which ends the process. Here it ends with a sentence.

/// Prints a sentence when a mapped file has become shorter, and ends with status 1.
#[cfg(unix)]
pub fn explain() {
    const MESSAGE: &str = "error: a file became shorter while it was read; nothing may write to weights or to the folder of a run while they are used\n";
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

/// Windows refuses to make a mapped file shorter.
#[cfg(not(unix))]
pub fn explain() {}
