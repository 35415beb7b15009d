//! The WGSL kernels of a GPT, by operation, and the linker that joins them.
//!
//! `wgsl/` has a folder for each operation, forward and backward beside each other. Declarations in
//! WGSL may have any order, so a shader is a concatenation: the header that the compiler generates
//! for a model (constants, an activation), then the files that the kernel names. Code that varies
//! is in separate files, whose alternatives define the same functions. [`sources`] lists the files,
//! [`variants`] replaces files by others if an adapter has a feature, and [`linker`] joins a
//! kernel's files and maps lines of the result back to them.
//!
//! `gpt-runtime` depends on this crate. There is little reason to use it alone: a file is not a
//! shader without a model's header. `gpt-codegen` writes that header and decides which files a
//! kernel has; the command `gpt shaders` writes the linked shaders of a model.

#![warn(missing_docs)]
// A library must not print; the program that uses it decides what to print.
#![cfg_attr(not(test), warn(clippy::print_stdout, clippy::print_stderr))]

pub mod linker;
pub mod sources;
pub mod variants;

pub use linker::{link, link_for_web, locate};
pub use sources::{Source, files, packed_weights_file, source, weights_file};
pub use variants::{some_strips, tile_n, tile_n_file, variant};
