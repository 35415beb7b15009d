//! Weights from files to canonical host tensors.
//!
//! Whatever a file calls its tensors and however it stores them, an engine sees [`HostTensor`]s: one for each tensor
//! of the plan and layer, row-major, in one of our five formats. Packing for a device is the engine's work.

pub mod format;
mod host;
mod random;
#[cfg(test)]
mod testing;

pub use host::{HostTensor, Weights};
pub use random::RandomWeights;
