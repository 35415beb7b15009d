//! The one error type. It displays as one sentence: the cause, and where possible the remedy.

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// An error of this crate. Match on a variant to react to a kind of failure; display the error to
/// explain it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read or written.
    #[error("cannot {doing} {}: {source}", plain(&path.display().to_string()))]
    Io {
        /// The operation, as a verb, such as `read` or `write`.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// A weight file is damaged or does not fit the model. One message lists every difference.
    #[error(transparent)]
    Weights(Detail),
    /// A tokenizer cannot be read or used.
    #[error(transparent)]
    Tokenizer(Detail),
    /// A chat template cannot be read or applied.
    #[error(transparent)]
    Template(Detail),
    /// A device is missing, lacks a feature, or failed.
    #[error(transparent)]
    Device(Detail),
    /// The device was lost: its driver reset it, or it was removed. Open it again.
    #[error("{}", plain(.0))]
    DeviceLost(String),
    /// Memory for weights, a session or a trainer could not be allocated.
    #[error("{}", plain(message))]
    OutOfMemory {
        /// The sentence that is displayed.
        message: String,
        /// Bytes that were requested.
        bytes: u64,
    },
    /// The device or the platform cannot do what was requested, or the build lacks a Cargo feature
    /// for it.
    #[error("{}", plain(.0))]
    Unsupported(String),
    /// The loss or the gradient of a training step, logits, or hidden states are not finite.
    #[error("{}", plain(.0))]
    Diverged(String),
    /// An argument or an option is invalid, such as a token outside the vocabulary, or a token file
    /// or a checkpoint cannot be used.
    #[error("{}", plain(.0))]
    Input(String),
}

/// The sentence of an error, and the error of a dependency that caused it.
#[derive(Debug)]
pub struct Detail {
    message: String,
    source: Option<Cause>,
}

impl fmt::Display for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&plain(&self.message))
    }
}

impl std::error::Error for Detail {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

impl From<String> for Detail {
    fn from(message: String) -> Detail {
        Detail { message, source: None }
    }
}

/// Escapes the control characters of a message. Names in damaged files can have some, which would
/// move the cursor of a terminal or begin a new line. Only a list keeps its line breaks: its first
/// line follows a colon, and every line is indented.
fn plain(message: &str) -> Cow<'_, str> {
    if !message.chars().any(char::is_control) {
        return message.into();
    }
    let mut text = String::with_capacity(message.len());
    let mut in_list = false;
    for (at, c) in message.char_indices() {
        let begins_line = c == '\n' && message[at..].starts_with("\n  ");
        if begins_line && (in_list || text.ends_with(':')) {
            in_list = true;
            text.push(c);
        } else if c.is_control() {
            text.extend(c.escape_default());
        } else {
            text.push(c);
        }
    }
    text.into()
}

/// Formats a number and its noun, as in `1 token` and `2 tokens`.
pub fn counted(n: usize, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

impl Error {
    /// Returns a function for `map_err` that turns an error of the operating system into an
    /// [`Error::Io`].
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl Fn(std::io::Error) -> Error {
        move |source| Error::Io { doing, path: path.to_owned(), source }
    }

    /// An [`Error::Weights`].
    pub fn weights(message: impl Into<String>) -> Error {
        Error::Weights(message.into().into())
    }

    /// An [`Error::Tokenizer`].
    pub fn tokenizer(message: impl Into<String>) -> Error {
        Error::Tokenizer(message.into().into())
    }

    /// An [`Error::Template`].
    pub fn template(message: impl Into<String>) -> Error {
        Error::Template(message.into().into())
    }

    /// An [`Error::Device`].
    pub fn device(message: impl Into<String>) -> Error {
        Error::Device(message.into().into())
    }

    /// Attaches the error that caused this one. Variants without a field for it stay as they are.
    pub fn caused_by(
        mut self,
        cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Error {
        if let Error::Weights(detail)
        | Error::Tokenizer(detail)
        | Error::Template(detail)
        | Error::Device(detail) = &mut self
        {
            detail.source = Some(cause.into());
        }
        self
    }

    /// Whether the caller's arguments or files caused the error, not the machine or the run. If so,
    /// the command line exits with status 2, otherwise with 1.
    pub fn is_input(&self) -> bool {
        use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        match self {
            // A full disk.
            Error::Io { source, .. } => {
                !matches!(source.kind(), StorageFull | QuotaExceeded | FileTooLarge)
            }
            Error::Device(_)
            | Error::DeviceLost(_)
            | Error::OutOfMemory { .. }
            | Error::Diverged(_) => false,
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn names_in_files_do_not_break_lines() {
        let error = Error::weights("the tensor a\nb\u{1b}[2J\u{7f} is not there:\n  one\n  two");
        assert_eq!(
            error.to_string(),
            "the tensor a\\nb\\u{1b}[2J\\u{7f} is not there:\n  one\n  two"
        );
        let error = Error::Input("of the model a\tb\n  c".to_owned());
        assert_eq!(error.to_string(), "of the model a\\tb\\n  c");
    }

    #[test]
    fn sources_are_kept_and_messages_stay_one_sentence() {
        let cause = std::io::Error::other("the cause");
        let error = Error::weights("model.gguf is damaged").caused_by(cause);
        assert_eq!(error.to_string(), "model.gguf is damaged");
        assert_eq!(error.source().unwrap().to_string(), "the cause");
        assert!(error.is_input());

        let error = Error::Io {
            doing: "read",
            path: "a.txt".into(),
            source: std::io::Error::other("denied"),
        };
        assert_eq!(error.to_string(), "cannot read a.txt: denied");
        assert_eq!(error.source().unwrap().to_string(), "denied");

        let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
        assert!(!Error::io("write", Path::new("a.txt"))(full).is_input());

        let error = Error::OutOfMemory { message: "no memory".to_owned(), bytes: 1 << 40 };
        assert!(!error.is_input() && error.source().is_none());
    }
}
