//! The oracle, and every test that needs more than one crate.
//!
//! `oracle` is the definition of a GPT; `tests/` next to this folder holds the tests that compare engines with it.

pub mod oracle;
