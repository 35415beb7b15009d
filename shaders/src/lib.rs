//! The WGSL kernels of a GPT, by operation, and the linker that joins them.
//!
//! `wgsl/` has a folder for each operation, forward and backward beside each other. WGSL needs no
//! order of declarations, so a shader is plain text: the header that the compiler writes for a
//! model (sizes, aliases, an activation), then the files that the kernel names. Code that varies
//! is in a file of its own; its alternatives define the same functions. [`sources`] lists the
//! files, [`variants`] says which of them replace others where an adapter has a feature, and
//! [`linker`] joins a kernel's files and maps lines of the result back to them.
//!
//! Which files and sizes a model's kernels take is decided by `gpt-codegen`.

pub mod linker;
pub mod sources;
pub mod variants;

pub use linker::{link, locate};
pub use sources::{Source, files, source};
pub use variants::{tile_n, tile_n_file, variant};
