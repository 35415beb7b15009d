//! The one error type. Each variant is a sentence that says what is wrong and what to do.

use std::path::PathBuf;

/// Anything that can go wrong outside of a bug.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read or written.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        doing: &'static str,
        path: PathBuf,
        source: std::io::Error,
    },
    /// A weight file that is damaged, lies, or does not fit the model. One message lists everything.
    #[error("{0}")]
    Weights(String),
    /// A tokenizer that cannot be read or used.
    #[error("{0}")]
    Tokenizer(String),
    /// A chat template that cannot be read or applied.
    #[error("{0}")]
    Template(String),
    /// An adapter that is missing, too small, or lost.
    #[error("{0}")]
    Device(String),
    /// A training whose loss or gradient is not a finite number.
    #[error("{0}")]
    Diverged(String),
    /// A request that the model or session cannot serve: too long, out of vocabulary, wrong option.
    #[error("{0}")]
    Input(String),
}

impl Error {
    /// Whether the caller's arguments or files are at fault (exit status 2) rather than the machine or the run (1).
    pub fn is_input(&self) -> bool {
        !matches!(self, Error::Device(_) | Error::Diverged(_))
    }
}
