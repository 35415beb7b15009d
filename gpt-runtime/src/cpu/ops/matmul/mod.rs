//! Projections: products of rows with a packed matrix.
//!
//! [`forward`] is the path of every projection, [`backward`] has the gradients of its input, weight
//! and bias. Both run on the GEMM in [`gemm`], which hands its outputs to an epilogue tile by tile
//! while they are in the first-level cache, so a bias, an activation, a residual, a rotation or a
//! write to the cache needs no pass over memory of its own.

pub mod backward;
pub mod epilogue;
pub mod forward;
pub mod gemm;
pub mod quantize_inputs;
