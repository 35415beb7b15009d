//! The oracle, and every test that needs more than one crate.
//!
//! `oracle` is the definition of a GPT. `specs` (and `models`, the same compiled, and `random`) are what engines are compared with it on,
//! `lively` the weights, `compare` says how far they are and `parity` compares a whole engine; `learning` (with `adamw`) does so for training. The tests are in `tests/`, beside this folder.

pub mod adamw;
pub mod compare;
pub mod gpu;
pub mod learning;
pub mod models;
pub mod oracle;
pub mod parity;
pub mod random;
pub mod specs;

pub use gpt_runtime::weights::lively;

/// Tokens that look random and are the same in every run.
pub fn tokens(vocab: u32, n: usize) -> Vec<u32> {
    (0..n as u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 7) % vocab)
        .collect()
}
