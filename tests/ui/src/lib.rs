//! Cases of wrong specs and wrong shapes, each beside the errors that rustc prints for it: `*.rs`
//! in this package's folder, and in `constants` the errors of constants, whose output differs if
//! the sources of the standard library are installed (`with_rust_src`). `tests/diagnostics.rs`
//! compiles them.
