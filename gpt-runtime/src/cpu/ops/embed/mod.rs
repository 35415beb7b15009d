//! The look-up of the embeddings of tokens, positions and token types.

pub mod backward;
pub mod forward;
