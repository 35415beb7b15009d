//! Reads and writes weight files, and generates random weights.
//!
//! Loaders hide the names, shapes and storage of a file. An engine gets a [`HostTensor`] for each
//! tensor of the plan and layer, row-major, in one of the formats of [`Format`](gpt_plan::Format).
//!
//! - `container` finds the files of a checkpoint, and tells their types by their first bytes.
//! - `safetensors` and `gguf` parse containers into an `archive` of named tensors.
//! - `stored` decodes the element and block types of files, `format` those of
//!   [`Format`](gpt_plan::Format).
//! - `config` reads a file's description of its model and compares it with the spec.
//! - `finite` refuses values that a format cannot hold.
//! - `checkpoint` maps the tensors of an archive to those of a plan, with `resolve`; `names`
//!   shortens the lists of tensors in errors.
//! - `save` and `save_gguf` write weights; both split a plan's tensors with `slice`. `lazy`
//!   computes the tensors of a written file one at a time, `recipe` chooses the formats of a GGUF.
//! - `random` generates initial weights, `unit_gain` weights for tests, self-tests and `tune`,
//!   `tables` constant tables.
//!
//! Packing tensors for a device is the engine's job and not done here.

mod archive;
mod checkpoint;
mod config;
#[cfg(test)]
mod config_tests;
mod container;
mod finite;
pub mod format;
mod gguf;
mod host;
mod lazy;
mod names;
mod random;
mod recipe;
mod resolve;
mod safetensors;
mod save;
mod save_gguf;
mod slice;
mod stored;
mod tables;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
#[doc(hidden)]
pub mod unit_gain;

#[cfg(feature = "train")]
pub(crate) use archive::Mapped;
#[cfg(feature = "train")]
pub(crate) use checkpoint::computed;
pub use checkpoint::{Checkpoint, open, open_bytes, open_embedded};
pub use config::{Described, describe_bytes, read_spec};
pub(crate) use container::{find, is_gguf, read_tensors};
pub(crate) use finite::{are_finite, first_not_finite};
pub use gguf::{Gguf, Value};
pub use host::{HostTensor, Weights};
#[cfg(feature = "train")]
pub(crate) use lazy::{LazyTensor, write as write_lazy};
pub use random::RandomWeights;
#[cfg(feature = "train")]
pub(crate) use random::mix;
pub use recipe::Recipe;
pub use save::{save, save_config};
pub use save_gguf::save_gguf;
pub(crate) use tables::rotary;

use std::path::Path;

use crate::Error;

/// Reads only the metadata of the GGUF at `path`. If the file is one of several parts, all of them
/// are opened, and the metadata is that of the first.
///
/// # Errors
/// Fails if a file cannot be read or is not a GGUF.
pub fn read_metadata(path: &Path) -> Result<Gguf, Error> {
    container::open_gguf(path).map(|(_, gguf)| gguf)
}
