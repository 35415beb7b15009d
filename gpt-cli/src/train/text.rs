//! The text as tokens.

use std::path::Path;

use gpt_runtime::Plan;
use gpt_runtime::train::Tokens;
use gpt_runtime::{Error, Tokenizer};

use super::Arguments;
use crate::output::Failure;
use crate::progress::Spinner;

const TOKENIZER: &str = "tokenizer.json";

/// Tokens for training and validation, and their tokenizer.
pub struct Text {
    pub tokenizer: Tokenizer,
    pub train: Tokens,
    pub validation: Tokens,
}

impl Text {
    /// Reads `path`. A resumed run uses its saved tokenizer, a new run that of the arguments.
    pub fn read(
        arguments: &Arguments,
        plan: &Plan,
        path: &Path,
        resumed: bool,
    ) -> Result<Text, Failure> {
        let text = std::fs::read_to_string(path).map_err(|source| Error::Io {
            doing: "read",
            path: path.to_owned(),
            source,
        })?;
        let tokenizer = if resumed {
            if arguments.tokenizer.is_some() {
                return Err(Failure::Input(
                    "a run keeps its tokenizer; --resume takes no --tokenizer".to_owned(),
                ));
            }
            Tokenizer::from_path(&arguments.out.join(TOKENIZER))?
        } else {
            choose(arguments, &text)?
        };
        fits(&tokenizer, plan, path)?;
        // Split by characters, as nanoGPT does.
        let characters = text.chars().count();
        let middle = text
            .char_indices()
            .nth((characters as f64 * 0.9) as usize)
            .map_or(text.len(), |(at, _)| at);
        let (train, validation) = text.split_at(middle);
        let _spinner = Spinner::new("encoding the text");
        Ok(Text {
            train: tokenizer.encode(train)?.into(),
            validation: tokenizer.encode(validation)?.into(),
            tokenizer,
        })
    }

    pub fn fingerprint(&self) -> u64 {
        self.train.fingerprint() ^ self.validation.fingerprint().rotate_left(1)
    }

    /// Saves the tokenizer in the folder of the run, unless it is there.
    pub fn save_tokenizer(&self, out: &Path) -> Result<(), Failure> {
        std::fs::create_dir_all(out).map_err(|source| Error::Io {
            doing: "create",
            path: out.to_owned(),
            source,
        })?;
        let path = out.join(TOKENIZER);
        if !path.exists() {
            self.tokenizer.save(&path)?;
        }
        Ok(())
    }
}

fn choose(arguments: &Arguments, text: &str) -> Result<Tokenizer, Failure> {
    match (arguments.tokenizer.as_deref(), &arguments.weights) {
        (Some("char"), _) => Ok(Tokenizer::characters(text)?),
        (Some(name), _) => match name.strip_prefix("bpe:").map(str::parse) {
            Some(Ok(size)) => {
                let _spinner = Spinner::new("learning byte pairs from the text");
                Ok(Tokenizer::byte_pairs(text, size)?)
            }
            Some(Err(_)) => Err(Failure::Input(format!(
                "--tokenizer {name} names no size; an example is bpe:512"
            ))),
            None => Ok(Tokenizer::from_path(Path::new(name))?),
        },
        (None, Some(weights)) => Tokenizer::beside(weights, None)?.ok_or_else(|| {
            Failure::Input(format!(
                "there is no tokenizer beside {}; pass the tokenizer of these weights with --tokenizer",
                weights.display()
            ))
        }),
        (None, None) => Ok(Tokenizer::characters(text)?),
    }
}

/// Checks that the tokens fit the spec's vocabulary. A smaller tokenizer leaves rows unused.
fn fits(tokenizer: &Tokenizer, plan: &Plan, path: &Path) -> Result<(), Failure> {
    let (tokens, vocab) = (tokenizer.vocab(), plan.spec.vocab);
    if tokenizer.check_vocab(vocab).is_ok() {
        return Ok(());
    }
    let smaller = if vocab >= 256 {
        format!("take a tokenizer of at most {vocab} tokens (--tokenizer bpe:{vocab})")
    } else {
        format!("take a text with at most {vocab} different characters")
    };
    Err(Failure::Input(format!(
        "{} needs {tokens} tokens, and the vocabulary of {} has {vocab}; {smaller}, or declare a model with `vocab: {tokens}` with --spec",
        path.display(),
        plan.name
    )))
}
