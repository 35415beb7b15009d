//! LayerNorm and RmsNorm, row by row.

pub mod backward;
pub mod forward;
