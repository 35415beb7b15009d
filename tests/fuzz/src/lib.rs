//! Damaged files for every parser.
//!
//! [`TARGETS`] is the table of parsers: for each one, small valid files and a function that takes
//! an input. `mutate` damages the files, `run` gives the inputs to the function one after another
//! and checks what all parsers promise:
//!
//! - no panic, no abort, no endless loop;
//! - at most 10 MB of memory for a file of 1 KB, and in proportion for a longer one (`allocations`
//!   counts it);
//! - an error is a sentence.
//!
//! A function also checks what a user would do next: with an input that the parser has accepted,
//! the next step works, or fails with a sentence.
//!
//! An input depends on the target, the seed of the run and a number. `tests/parsers.rs` tries the
//! same 4,000 inputs of each target in every test run, and 100,000 in CI. The program of this
//! crate, which `.ci/fuzz` starts, tries any number, with any seed. An input that once broke
//! something is in `corpus`, in a folder for each target, and is tried first.

pub mod allocations;
mod mutate;
mod place;
mod random;
pub mod run;
mod targets;

pub use place::Place;
pub use run::{Failure, Report, run};
pub use targets::TARGETS;

/// A parser.
pub struct Target {
    /// Its name on the command line, and the folder of its corpus.
    pub name: &'static str,
    /// Valid files, which inputs are made of.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Words of the format.
    pub words: &'static [&'static str],
    /// Takes an input. Returns whether the parser accepts it.
    ///
    /// # Errors
    /// Fails with a sentence if a promise is broken. A panic counts as a broken promise.
    pub check: fn(&Place, &[u8]) -> Result<bool, String>,
}
