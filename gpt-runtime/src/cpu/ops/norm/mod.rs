//! LayerNorm and RmsNorm, row by row, and of groups of a row.

pub mod backward;
pub mod forward;
pub mod heads;
