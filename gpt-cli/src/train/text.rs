//! The text as tokens.
//!
//! A new run encodes the text and saves the tokens in `train.bin` and `val.bin`, in the layout of
//! nanoGPT's files. It then maps these files. A resumed run also maps them, and does not need the
//! text. The text is read rather than mapped: another program may change a mapped file, and a
//! string that is no longer UTF-8 is undefined behaviour. While it encodes, a new run therefore
//! needs memory for the text, and two or four bytes for each token.

use std::path::{Path, PathBuf};

use gpt_runtime::Plan;
use gpt_runtime::Tokenizer;
use gpt_runtime::train::{Tokens, Width};

use super::options::Options;
use super::{Arguments, corpus};
use crate::output::Failure;
use crate::progress::{Bar, Spinner};

const TOKENIZER: &str = "tokenizer.json";
const TRAIN: &str = "train.bin";
const VALIDATION: &str = "val.bin";

/// Tokens for training and validation, and their tokenizer.
pub struct Text {
    pub tokenizer: Tokenizer,
    pub train: Tokens,
    pub validation: Tokens,
    width: Width,
    /// Whether the folder of the run has them already.
    saved: bool,
}

impl Text {
    /// Reads and encodes the text at `paths`. A resumed run uses its saved tokenizer; a new run
    /// uses the tokenizer of the arguments. If tokens are to be hidden, the tokenizer gets a mask
    /// token, and the names of special tokens in the text are plain text.
    pub fn read(
        arguments: &Arguments,
        plan: &Plan,
        paths: &[PathBuf],
        options: &Options,
        resumed: bool,
    ) -> Result<Text, Failure> {
        let text = corpus::read(paths, options.normalize_newlines)?;
        let tokenizer = match (resumed, options.masks()) {
            (true, _) => saved_tokenizer(arguments)?,
            (false, true) => choose(arguments, &text)?.with_mask_token()?,
            (false, false) => choose(arguments, &text)?,
        };
        fits(&tokenizer, plan, paths, &text, options.masks())?;
        let encoder =
            if options.masks() { tokenizer.without_special_tokens() } else { tokenizer.clone() };
        if let Some(oddities) = corpus::oddities(&text) {
            eprintln!(
                "note: the text has {oddities}, which the model will learn unless you pass --normalize-newlines"
            );
        }
        // Split by characters, as nanoGPT does.
        let characters = text.chars().count();
        let middle = text
            .char_indices()
            .nth((characters as f64 * 0.9) as usize)
            .map_or(text.len(), |(at, _)| at);
        let (train, validation) = text.split_at(middle);
        let bar = Bar::new(text.len() as u64, "encoding {bar:30} {bytes} of {total_bytes}");
        let width = width(plan);
        Ok(Text {
            train: encode(&encoder, train, width, |done| bar.set(done as u64))?,
            validation: encode(&encoder, validation, width, |done| {
                bar.set((middle + done) as u64);
            })?,
            tokenizer,
            width,
            saved: false,
        })
    }

    /// The tokens that a run has saved, if they have this `fingerprint`.
    pub fn saved(
        arguments: &Arguments,
        plan: &Plan,
        fingerprint: u64,
    ) -> Result<Option<Text>, Failure> {
        let [train, validation] = [TRAIN, VALIDATION].map(|name| arguments.out().join(name));
        if !train.exists() || !validation.exists() {
            return Ok(None);
        }
        let width = width(plan);
        let tokenizer = saved_tokenizer(arguments)?;
        let (Ok(train), Ok(validation)) =
            (Tokens::open(&train, width), Tokens::open(&validation, width))
        else {
            return Ok(None);
        };
        let text = Text { tokenizer, train, validation, width, saved: true };
        Ok((text.fingerprint() == fingerprint).then_some(text))
    }

    pub fn fingerprint(&self) -> u64 {
        self.train.fingerprint() ^ self.validation.fingerprint().rotate_left(1)
    }

    /// Saves the tokenizer and the tokens in the folder of the run, unless they come from there.
    /// Files that are there may be those of a run without a checkpoint, of another text. Returns
    /// the text with the tokens mapped.
    pub fn save(self, out: &Path) -> Result<Text, Failure> {
        if self.saved {
            return Ok(self);
        }
        self.tokenizer.save(&out.join(TOKENIZER))?;
        for (name, tokens) in [(TRAIN, &self.train), (VALIDATION, &self.validation)] {
            tokens.save(out.join(name), self.width)?;
        }
        let [train, validation] = [TRAIN, VALIDATION].map(|name| out.join(name));
        Ok(Text {
            train: Tokens::open(&train, self.width)?,
            validation: Tokens::open(&validation, self.width)?,
            saved: true,
            ..self
        })
    }
}

/// The tokens of the first `windows` windows of `length` tokens, or all tokens if there are fewer.
pub fn first_windows(tokens: &Tokens, windows: usize, length: usize) -> Tokens {
    // The last token of a window is the target of the one before it.
    let some = windows.saturating_mul(length).saturating_add(1);
    tokens.split_at(some.min(tokens.len())).0
}

/// The width of a token on disk. Two bytes are enough for most vocabularies.
fn width(plan: &Plan) -> Width {
    if plan.spec.vocab <= 1 << 16 { Width::U16 } else { Width::U32 }
}

/// Encodes a text in parts, and calls `progress` with the bytes that are done.
fn encode(
    tokenizer: &Tokenizer,
    text: &str,
    width: Width,
    progress: impl Fn(usize),
) -> Result<Tokens, Failure> {
    let (mut short, mut long) = (Vec::<u16>::new(), Vec::<u32>::new());
    // Few texts have more tokens than bytes. Pages that are not written take no memory.
    match width {
        Width::U16 => short.reserve_exact(text.len()),
        Width::U32 => long.reserve_exact(text.len()),
    }
    let mut too_large = None;
    tokenizer.encode_long(text, |ids, done| {
        match width {
            // An id that does not fit is outside the vocabulary.
            Width::U16 => short.extend(ids.iter().map(|id| {
                u16::try_from(*id).unwrap_or_else(|_| {
                    too_large = Some(*id);
                    0
                })
            })),
            Width::U32 => long.extend_from_slice(ids),
        }
        progress(done);
    })?;
    short.shrink_to_fit();
    long.shrink_to_fit();
    match (too_large, width) {
        (Some(id), _) => Err(Failure::Input(format!(
            "the text has the token {id}, which is not in the vocabulary of the model"
        ))),
        (None, Width::U16) => Ok(Tokens::short(short)),
        (None, Width::U32) => Ok(long.into()),
    }
}

fn saved_tokenizer(arguments: &Arguments) -> Result<Tokenizer, Failure> {
    if arguments.tokenizer.is_some() {
        return Err(Failure::Input(
            "a resumed run keeps its tokenizer; remove --tokenizer".to_owned(),
        ));
    }
    Ok(Tokenizer::from_path(&arguments.out().join(TOKENIZER))?)
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
                "--tokenizer {name} has no valid size; an example is bpe:512"
            ))),
            None => Ok(Tokenizer::from_path(Path::new(name))?),
        },
        (None, Some(weights)) => Tokenizer::of_weights(weights, None)?.ok_or_else(|| {
            Failure::Input(format!(
                "there is no tokenizer beside {}; pass the tokenizer of these weights with --tokenizer",
                weights.display()
            ))
        }),
        (None, None) => Ok(Tokenizer::characters(text)?),
    }
}

/// Checks that the tokens fit in the spec's vocabulary, with the mask token if tokens are hidden. A
/// smaller tokenizer leaves rows unused.
fn fits(
    tokenizer: &Tokenizer,
    plan: &Plan,
    paths: &[PathBuf],
    text: &str,
    masks: bool,
) -> Result<(), Failure> {
    let (tokens, vocab) = (tokenizer.vocab(), plan.spec.vocab);
    let mask = tokenizer.mask_token().filter(|_| masks);
    if tokenizer.check_vocab(vocab).is_ok() && mask.is_none_or(|(_, id)| id < vocab) {
        return Ok(());
    }
    let (with_mask, most) =
        if masks { (", with the mask token,", vocab.saturating_sub(1)) } else { (",", vocab) };
    let smaller = match corpus::oddities(text) {
        Some(oddities) => {
            format!("remove {oddities} from the text (--normalize-newlines)")
        }
        None if most >= 256 => {
            format!("take a tokenizer of at most {most} tokens (--tokenizer bpe:{most})")
        }
        None => format!(
            "take a text with at most {most} different characters (the rarest of this one are {})",
            corpus::rarest(text)
        ),
    };
    Err(Failure::Input(format!(
        "the tokenizer of the text in {} has {tokens} tokens{with_mask} and the vocabulary of {} has {vocab}; {smaller}, or declare a model that has `vocab: {tokens}` with --spec",
        corpus::names(paths),
        plan.name
    )))
}

#[cfg(test)]
mod tests {
    use gpt_runtime::train::Batch;

    use super::*;

    #[test]
    fn the_last_batch_of_a_validation_has_fewer_windows() {
        let tokens = Tokens::from((0..53).collect::<Vec<u32>>());
        for (windows, sequences, rows) in [
            (1, vec![1], 5),
            (6, vec![4, 2], 30),
            (8, vec![4, 4], 40),
            (10, vec![4, 4, 2], 50),
            (11, vec![4, 4, 2, 1], 52),
            (usize::MAX, vec![4, 4, 2, 1], 52),
        ] {
            let some = first_windows(&tokens, windows, 5);
            let batches: Vec<_> = some.windows(4, 5).collect();
            let found: Vec<usize> = batches.iter().map(Batch::sequences).collect();
            assert_eq!(found, sequences, "{windows}");
            assert_eq!(batches.iter().map(Batch::rows).sum::<usize>(), rows, "{windows}");
        }
    }
}
