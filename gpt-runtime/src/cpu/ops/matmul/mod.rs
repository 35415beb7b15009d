//! Projections: products of rows with a packed matrix.
//!
//! [`forward`] runs every projection; [`backward`] computes the gradients of its input, weight and
//! bias. Both use the GEMM in [`gemm`], which passes its outputs to an epilogue tile by tile while
//! they are in the first-level cache. So a bias, an activation, a residual, a rotation or a write
//! to the KV cache needs no extra pass over memory.

pub mod backward;
pub mod epilogue;
pub mod forward;
pub mod gemm;
pub mod quantize_inputs;
