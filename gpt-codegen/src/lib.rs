//! The compiler behind `gpt_model!`, as an ordinary library: tokens -> parse -> spec -> check -> plan -> (WGSL, Rust).
//!
//! A proc-macro crate exports nothing but its macro, so everything that tests and tools call at run time lives here.

pub mod plan;
pub mod wgsl;
