//! Every test that needs more than one crate. Engines are compared with the `oracle`, on `specs`
//! (both separate crates; `models` has compiled specs, `random` random ones) with weights of
//! `unit_gain` or `mixed`. `compare` measures errors, `parity` compares inference, `training` and
//! `adamw` training. `bounds` has kernels that check every index, `book` the Rust blocks of the
//! documentation. The tests are in `tests/`, beside this folder.

pub mod adamw;
#[cfg(doctest)]
pub mod book;
pub mod bounds;
pub mod compare;
pub mod families;
pub mod gpu;
pub mod mixed;
pub mod models;
pub mod parity;
pub mod random;
pub mod training;

pub use gpt_oracle as oracle;
pub use gpt_runtime::weights::unit_gain;
pub use gpt_specs as specs;

/// Pseudo-random tokens, the same in every run.
pub fn tokens(vocab: u32, n: usize) -> Vec<u32> {
    (0..n as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 7) % vocab).collect()
}
