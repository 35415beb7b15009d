//! Decodes tokens one by one.
//!
//! A decoder is the chain of steps that a `tokenizer.json` lists. Each step keeps the state that it
//! needs between tokens: bytes of an incomplete character, whether a text has begun, a blank that
//! only a following token makes part of the text. [`Tokenizer::decode`] runs the same chain, so the
//! pieces of a stream together are the text of all its tokens decoded at once.
//!
//! The results match the `tokenizers` crate, with one exception. Where byte tokens (`<0x00>` to
//! `<0xFF>`) do not make up valid UTF-8, the crate replaces each byte of the run, even those of
//! valid characters. Here, as in SentencePiece, valid characters stay. A chain whose steps look at
//! more than one token, which no language model has, is decoded by the crate, at the end of the
//! text.

use serde_json::Value as Json;
use tokenizers::{Decoder as _, DecoderWrapper};

use super::Tokenizer;
use super::bytes::byte;
use crate::Error;

const REPLACEMENT: &str = "\u{FFFD}";

/// A decoder with the state between two tokens.
#[derive(Clone)]
pub enum Decoder {
    /// The steps from a token to text.
    Steps(Vec<Step>),
    /// A chain that needs all tokens at once.
    Whole {
        decoder: Box<DecoderWrapper>,
        tokens: Vec<String>,
        /// How many of `tokens` belong to the prompt.
        prompt: usize,
    },
}

/// A step, with the state between two tokens.
#[derive(Clone)]
pub enum Step {
    /// Characters of GPT-2's alphabet become bytes, and bytes become text.
    Bytes { incomplete: Vec<u8> },
    /// Tokens `<0x00>` to `<0xFF>` become bytes, and bytes become text.
    ByteTokens { incomplete: Vec<u8> },
    /// Replaces a string in each token.
    Replace { from: String, to: String },
    /// Removes `character` up to `start` times at the beginning of the text, and up to `stop` times
    /// at its end.
    Strip { character: char, start: usize, stop: usize, held: usize },
    /// Does the same in each token.
    StripEach { character: char, start: usize, stop: usize },
    /// A character that encodes a blank; if `drop`, the blanks of the first token are dropped.
    Metaspace { character: char, drop: bool },
    /// WordPiece: a token without the prefix starts a word.
    Words { prefix: String, cleanup: bool, begun: bool },
    /// A suffix marks the end of a word. It becomes a blank, except at the end of the text.
    Suffix { suffix: String, held: String },
    /// Blanks between tokens, if there is no decoder.
    Blanks { begun: bool },
}

impl Decoder {
    /// The decoder of a tokenizer. None if its chain needs all tokens at once and the crate may
    /// panic on it.
    pub fn new(decoder: Option<&DecoderWrapper>) -> Option<Decoder> {
        let Some(decoder) = decoder else {
            return Some(Decoder::Steps(vec![Step::Blanks { begun: false }]));
        };
        let json = serde_json::to_value(decoder).ok()?;
        let mut steps = Vec::new();
        Some(match add_steps(&json, &mut steps, &mut Flow::Tokens) {
            Some(()) => Decoder::Steps(steps),
            // The crate's own steps panic for texts that are shorter than what they remove.
            None if ["\"Strip\"", "\"BPEDecoder\""]
                .iter()
                .any(|s| json.to_string().contains(s)) =>
            {
                return None;
            }
            None => {
                Decoder::Whole { decoder: Box::new(decoder.clone()), tokens: Vec::new(), prompt: 0 }
            }
        })
    }

    /// Adds a token, and returns the text that is now final.
    pub fn push(&mut self, token: String) -> String {
        match self {
            Decoder::Steps(steps) => run(steps, token),
            Decoder::Whole { tokens, .. } => {
                tokens.push(token);
                String::new()
            }
        }
    }

    /// Ends the prompt: its text is not part of what follows.
    pub fn begin(&mut self) {
        if let Decoder::Whole { tokens, prompt, .. } = self {
            *prompt = tokens.len();
        }
    }

    /// Returns the rest of the text, with U+FFFD for incomplete characters.
    pub fn finish(&mut self) -> Result<String, Error> {
        match self {
            Decoder::Steps(steps) => {
                let mut text = String::new();
                for at in 0..steps.len() {
                    let rest = steps[at].finish();
                    if !rest.is_empty() {
                        text.push_str(&run(&mut steps[at + 1..], rest));
                    }
                }
                Ok(text)
            }
            Decoder::Whole { decoder, tokens, prompt } => {
                let decode = |tokens: &[String]| {
                    decoder.decode(tokens.to_vec()).map_err(|error| {
                        let text = format!("the tokenizer cannot decode its tokens: {error}");
                        Error::tokenizer(text).caused_by(error)
                    })
                };
                let (before, all) = (decode(&tokens[..*prompt])?, decode(tokens)?);
                *prompt = tokens.len();
                Ok(all.strip_prefix(&before).map(str::to_owned).unwrap_or(all))
            }
        }
    }
}

fn run(steps: &mut [Step], token: String) -> String {
    steps.iter_mut().fold(token, |text, step| step.push(text))
}

/// The input of a step.
#[derive(Clone, Copy, PartialEq)]
enum Flow {
    Tokens,
    /// Tokens, and pieces of the text of byte tokens.
    Pieces,
    /// Pieces of the whole text, after `Fuse` or `ByteLevel`.
    Text,
}

/// Adds the steps of a decoder of a `tokenizer.json`. None if one of them needs more than one
/// token.
fn add_steps(json: &Json, steps: &mut Vec<Step>, flow: &mut Flow) -> Option<()> {
    let text = |key: &str| json.get(key).and_then(Json::as_str).unwrap_or_default().to_owned();
    let flag = |key: &str| json.get(key).and_then(Json::as_bool).unwrap_or(true);
    let number = |key: &str| json.get(key).and_then(Json::as_u64).unwrap_or(0) as usize;
    let character = |key: &str| text(key).chars().next();
    let step = match (text("type").as_str(), *flow) {
        ("Sequence", _) => {
            let list = json.get("decoders")?.as_array()?;
            return list.iter().try_for_each(|json| add_steps(json, steps, flow));
        }
        ("Fuse", _) => {
            *flow = Flow::Text;
            return Some(());
        }
        ("Strip", Flow::Text) => Step::Strip {
            character: character("content")?,
            start: number("start"),
            stop: number("stop"),
            held: 0,
        },
        ("Replace", flow) => {
            let from = json.pointer("/pattern/String")?.as_str()?.to_owned();
            if from.is_empty() || flow != Flow::Tokens && from.chars().count() > 1 {
                return None;
            }
            Step::Replace { from, to: text("content") }
        }
        (_, Flow::Pieces | Flow::Text) => return None,
        ("Strip", _) => Step::StripEach {
            character: character("content")?,
            start: number("start"),
            stop: number("stop"),
        },
        ("ByteLevel", _) => {
            *flow = Flow::Text;
            Step::Bytes { incomplete: Vec::new() }
        }
        ("ByteFallback", _) => {
            *flow = Flow::Pieces;
            Step::ByteTokens { incomplete: Vec::new() }
        }
        ("Metaspace", _) => {
            let scheme = text("prepend_scheme");
            Step::Metaspace { character: character("replacement")?, drop: scheme != "never" }
        }
        ("WordPiece", _) => {
            Step::Words { prefix: text("prefix"), cleanup: flag("cleanup"), begun: false }
        }
        ("BPEDecoder", _) => Step::Suffix { suffix: text("suffix"), held: String::new() },
        _ => return None,
    };
    steps.push(step);
    Some(())
}

impl Step {
    fn push(&mut self, token: String) -> String {
        match self {
            Step::Bytes { incomplete } => {
                match token.chars().map(byte).collect::<Option<Vec<u8>>>() {
                    Some(bytes) => incomplete.extend_from_slice(&bytes),
                    None => incomplete.extend_from_slice(token.as_bytes()),
                }
                take_text(incomplete, false)
            }
            Step::ByteTokens { incomplete } => match byte_token(&token) {
                Some(byte) => {
                    incomplete.push(byte);
                    take_text(incomplete, true)
                }
                None => self.finish() + &token,
            },
            Step::Replace { from, to } => token.replace(from.as_str(), to),
            Step::Strip { character, start, stop, held } => {
                let rest = strip_start(&token, *character, start);
                // Characters that may be at the end of the text are held until more text follows.
                let kept = match stop {
                    0 => rest,
                    _ => rest.trim_end_matches(*character),
                };
                let waiting = (rest.len() - kept.len()) / character.len_utf8();
                if kept.is_empty() {
                    *held += waiting;
                    return String::new();
                }
                let before = std::mem::replace(held, waiting);
                character.to_string().repeat(before) + kept
            }
            Step::StripEach { character, start, stop } => {
                let rest = strip_start(&token, *character, &mut start.clone());
                let mut rest = rest.chars();
                for _ in 0..*stop {
                    if !rest.as_str().ends_with(*character) {
                        break;
                    }
                    rest.next_back();
                }
                rest.as_str().to_owned()
            }
            Step::Metaspace { character, drop } => match std::mem::take(drop) {
                true => token.replace(*character, ""),
                false => token.replace(*character, " "),
            },
            Step::Words { prefix, cleanup, begun } => {
                let word = match token.strip_prefix(prefix.as_str()) {
                    _ if !std::mem::replace(begun, true) => token,
                    Some(part) => part.to_owned(),
                    None => format!(" {token}"),
                };
                if *cleanup { clean(&word) } else { word }
            }
            Step::Suffix { suffix, held } => {
                let before = std::mem::take(held).replace(suffix.as_str(), " ");
                match token.find(suffix.as_str()) {
                    Some(at) => {
                        *held = token[at..].to_owned();
                        before + &token[..at]
                    }
                    None => before + &token,
                }
            }
            Step::Blanks { begun } => match std::mem::replace(begun, true) {
                true => format!(" {token}"),
                false => token,
            },
        }
    }

    fn finish(&mut self) -> String {
        match self {
            Step::Bytes { incomplete } => match std::mem::take(incomplete).is_empty() {
                true => String::new(),
                false => REPLACEMENT.to_owned(),
            },
            Step::ByteTokens { incomplete } => REPLACEMENT.repeat(std::mem::take(incomplete).len()),
            Step::Strip { character, stop, held, .. } => {
                let kept = std::mem::take(held).saturating_sub(*stop);
                character.to_string().repeat(kept)
            }
            Step::Suffix { suffix, held } => std::mem::take(held).replace(suffix.as_str(), ""),
            _ => String::new(),
        }
    }
}

/// Removes complete text from `bytes`, and leaves an incomplete character. Invalid bytes become
/// U+FFFD: one for each byte if `each`, otherwise one for each invalid sequence.
fn take_text(bytes: &mut Vec<u8>, each: bool) -> String {
    let mut text = String::new();
    loop {
        match std::str::from_utf8(bytes) {
            Ok(valid) => {
                text.push_str(valid);
                bytes.clear();
                return text;
            }
            Err(error) => {
                let valid = error.valid_up_to();
                text.push_str(&String::from_utf8_lossy(&bytes[..valid]));
                let Some(invalid) = error.error_len() else {
                    bytes.drain(..valid);
                    return text;
                };
                text.push_str(&REPLACEMENT.repeat(if each { invalid } else { 1 }));
                bytes.drain(..valid + invalid);
            }
        }
    }
}

/// The byte of a token such as `<0xE2>`.
pub fn byte_token(token: &str) -> Option<u8> {
    let hex = token.strip_prefix("<0x")?.strip_suffix('>')?;
    (hex.len() == 2).then(|| u8::from_str_radix(hex, 16).ok())?
}

/// Removes `character` at the start of `text` up to `most` times. `most` counts down, and becomes 0
/// at another character.
fn strip_start<'a>(text: &'a str, character: char, most: &mut usize) -> &'a str {
    let mut rest = text;
    while *most > 0 && !rest.is_empty() {
        match rest.strip_prefix(character) {
            Some(after) => {
                rest = after;
                *most -= 1;
            }
            None => *most = 0,
        }
    }
    rest
}

/// Removes the blanks that WordPiece's decoder removes before punctuation and contractions.
fn clean(word: &str) -> String {
    const PAIRS: [(&str, &str); 11] = [
        (" .", "."),
        (" ?", "?"),
        (" !", "!"),
        (" ,", ","),
        (" ' ", "'"),
        (" n't", "n't"),
        (" 'm", "'m"),
        (" do not", " don't"),
        (" 's", "'s"),
        (" 've", "'ve"),
        (" 're", "'re"),
    ];
    PAIRS.iter().fold(word.to_owned(), |word, (from, to)| word.replace(from, to))
}

impl Tokenizer {
    /// Decodes `ids`, without special tokens. Bytes that are not valid UTF-8 become U+FFFD, and ids
    /// without a token have no text.
    ///
    /// # Errors
    /// Fails if the decoder of the tokenizer fails.
    pub fn decode(&self, ids: &[u32]) -> Result<String, Error> {
        let mut decoder = (*self.decoder).clone();
        let tokens = ids.iter().filter_map(|&id| self.text_token(id));
        let mut text: String = tokens.map(|token| decoder.push(token)).collect();
        text.push_str(&decoder.finish()?);
        Ok(text)
    }

    /// The name of token `id`. None if the id has no token or a special one.
    pub(super) fn text_token(&self, id: u32) -> Option<String> {
        let name = self.inner.id_to_token(id)?;
        (!self.inner.get_added_vocabulary().is_special_token(&name)).then_some(name)
    }
}
