//! The look-up of token and position embeddings.

pub mod backward;
pub mod forward;
