//! Cases of wrong specs and wrong shapes, `*.rs` in this package's folder, each beside the errors
//! that rustc prints for it. `tests/diagnostics.rs` compiles them.
