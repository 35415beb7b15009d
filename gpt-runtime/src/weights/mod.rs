//! Weights from files to canonical host tensors.
//!
//! Whatever a file calls its tensors and however it stores them, an engine sees [`HostTensor`]s: one for each tensor
//! of the plan and layer, row-major, in one of our five formats. `safetensors` and `gguf` read containers into an
//! `archive` of named tensors, `stored` knows their element types, `config` what they say about the model, `names` how tensors are listed for people, and `checkpoint` joins
//! them with the plan. `random` needs no file, nor does `lively`, whose weights are for tests; `save` writes one. Packing for a device is the engine's work.

mod archive;
mod checkpoint;
mod config;
mod describe;
pub mod format;
mod gguf;
mod host;
#[doc(hidden)]
pub mod lively;
mod names;
mod random;
mod safetensors;
mod save;
mod save_gguf;
mod stored;
mod tables;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

#[cfg(feature = "train")]
pub(crate) use archive::Mapped;
#[cfg(feature = "train")]
pub(crate) use checkpoint::computed;
use checkpoint::interleaved;
pub use checkpoint::{Checkpoint, open, open_embedded};
pub use gguf::{Gguf, Value, read_metadata};
pub use host::{HostTensor, Weights};
pub use random::RandomWeights;
#[cfg(feature = "train")]
pub(crate) use random::mix;
pub use save::{save, save_config};
pub use save_gguf::save_gguf;
pub(crate) use tables::rotary;
