//! LayerNorm and RMSNorm, of whole rows and of groups of elements of a row.

pub mod backward;
pub mod forward;
pub mod heads;
