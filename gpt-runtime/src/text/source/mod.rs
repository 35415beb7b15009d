//! Reads tokenizers from files.
//!
//! All sources are converted to the format of `tokenizer.json`, which the `tokenizers` crate
//! parses. `checked` refuses files on which the crate panics, reads beyond a table or allocates
//! without a bound. `folder` reads the files beside a model, `gguf` the vocabulary of a GGUF.

mod checked;
mod folder;
mod gguf;
mod pre_tokenizers;
mod sentence_pieces;
mod word_pieces;

use std::path::Path;

use serde_json::{Value as Json, json};
use tokenizers::{
    ModelWrapper, NormalizedString, Normalizer, OffsetReferential, OffsetType, PreTokenizedString,
    PreTokenizer as _,
};

pub use self::folder::{additional_templates, in_folder};
use self::gguf::Vocabulary;
pub use self::gguf::WHOLE;
use self::pre_tokenizers::PreTokenizer;
pub use self::pre_tokenizers::name_of as name_of_pre_tokenizer;
pub use self::sentence_pieces::merges;
use super::Tokenizer;
use super::chat::Templates;
use crate::Error;
use crate::weights::{self, Gguf};

/// The parts of a tokenizer.
pub struct Source {
    pub inner: tokenizers::Tokenizer,
    /// Tokens that end a text, in addition to those that are known by their names.
    pub stop_ids: Vec<u32>,
    /// The special tokens by the names that templates have for them: `bos_token`, `eos_token`, ..
    pub special_tokens: Vec<(String, String)>,
    pub templates: Templates,
    /// Whether a text begins with BOS, if the settings beside the `tokenizer.json` of `inner` say
    /// so.
    pub adds_bos: Option<bool>,
}

impl From<tokenizers::Tokenizer> for Source {
    fn from(inner: tokenizers::Tokenizer) -> Source {
        Source {
            inner,
            stop_ids: Vec::new(),
            special_tokens: Vec::new(),
            templates: Templates::default(),
            adds_bos: None,
        }
    }
}

pub fn from_path(path: &Path) -> Result<Tokenizer, Error> {
    if path.is_dir() {
        let none = || {
            Error::tokenizer(format!(
                "{} has no tokenizer.json, no vocab.bpe with encoder.json and no merges.txt with vocab.json",
                path.display()
            ))
        };
        return in_folder(path)?.ok_or_else(none);
    }
    if weights::is_gguf(path) {
        let gguf = weights::read_metadata(path)?;
        return from_gguf(&gguf);
    }
    folder::from_file(path)
}

/// Converts the vocabulary of a GGUF file.
pub fn from_gguf(gguf: &Gguf) -> Result<Tokenizer, Error> {
    Tokenizer::new(gguf::read(gguf)?)
}

/// Parses a generated `tokenizer.json`.
pub fn from_json(json: &Json) -> Result<Tokenizer, Error> {
    Tokenizer::new(parse(json.to_string().as_bytes(), "the vocabulary")?.into())
}

/// Parses a `tokenizer.json`. Truncation, padding and dropout of merges are removed: they are
/// settings of the program that wrote the file.
pub fn parse(json: &[u8], origin: &str) -> Result<tokenizers::Tokenizer, Error> {
    let unreadable = |error: tokenizers::Error| {
        let text = format!("{origin} is not a tokenizer that can be read: {error}");
        Error::tokenizer(text).caused_by(error)
    };
    checked::check(json).map_err(|what| {
        Error::tokenizer(format!("{origin} is not a tokenizer that can be read: {what}"))
    })?;
    let mut inner = tokenizers::Tokenizer::from_bytes(json).map_err(unreadable)?;
    if let Some(token) = vanishing(&inner) {
        return Err(Error::tokenizer(format!(
            "{origin} is not a tokenizer that can be read: its normalizer leaves nothing of the added token {token:?}"
        )));
    }
    inner.with_truncation(None).map_err(unreadable)?;
    inner.with_padding(None);
    if let ModelWrapper::BPE(model) = inner.get_model()
        && model.dropout.is_some()
    {
        let mut model = model.clone();
        model.dropout = None;
        inner.with_model(model);
    }
    Ok(inner)
}

/// An added token that is searched for in normalized text, but whose own text the normalizer
/// removes. The crate would find it everywhere, and panic where that is within a character.
fn vanishing(inner: &tokenizers::Tokenizer) -> Option<String> {
    let normalizer = inner.get_normalizer()?;
    let is_nothing = |content: &str| {
        let mut text = NormalizedString::from(content);
        normalizer.normalize(&mut text).is_ok() && text.get().is_empty()
    };
    let added = inner.get_added_vocabulary().get_added_tokens_decoder();
    let vanish = added.values().filter(|token| token.normalized && is_nothing(&token.content));
    vanish.map(|token| token.content.clone()).min()
}

/// The words that a text is cut into before it is encoded. Added tokens are treated as text.
pub fn words(inner: &tokenizers::Tokenizer, text: &str) -> Vec<String> {
    let mut text = NormalizedString::from(text);
    if let Some(normalizer) = inner.get_normalizer() {
        normalizer.normalize(&mut text).unwrap_or_default();
    }
    let mut words = PreTokenizedString::from(text);
    if let Some(step) = inner.get_pre_tokenizer() {
        step.pre_tokenize(&mut words).unwrap_or_default();
    }
    let splits = words.get_splits(OffsetReferential::Normalized, OffsetType::Byte);
    splits.into_iter().map(|(word, ..)| word.to_owned()).collect()
}

/// The `tokenizer.json` of a byte-level encoding with the pre-tokenizer `row`.
fn byte_level(vocabulary: &Vocabulary<'_>, merges: &[&str], row: &PreTokenizer) -> Json {
    let tokens = vocabulary.tokens.iter().enumerate();
    let vocab: serde_json::Map<String, Json> =
        tokens.map(|(id, token)| ((*token).to_owned(), id.into())).collect();
    byte_pairs(vocab.into(), merges, row, vocabulary.added(' '))
}

fn byte_pairs(vocab: Json, merges: &[&str], row: &PreTokenizer, added: Vec<Json>) -> Json {
    json!({
        "version": "1.0",
        "added_tokens": added,
        "normalizer": row.composes.then(|| json!({ "type": "NFC" })),
        "pre_tokenizer": row.json(),
        "decoder": pre_tokenizers::bytes(true),
        "model": { "type": "BPE", "vocab": vocab, "merges": merges, "ignore_merges": row.ignores_merges },
    })
}

fn added_token(id: usize, content: &str, special: bool) -> Json {
    json!({ "id": id, "content": content, "special": special, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false })
}

/// The post-processor that puts `first` before a text and `last` after it.
fn template(first: Option<(u32, &str)>, last: Option<(u32, &str)>) -> Json {
    if first.is_none() && last.is_none() {
        return Json::Null;
    }
    let special = |(_, name): (u32, &str)| json!({ "SpecialToken": { "id": name, "type_id": 0 } });
    let text = json!({ "Sequence": { "id": "A", "type_id": 0 } });
    let single = first.map(special).into_iter().chain([text]).chain(last.map(special));
    let single: Vec<Json> = single.collect();
    let tokens: serde_json::Map<String, Json> = [first, last]
        .into_iter()
        .flatten()
        .map(|(id, name)| (name.to_owned(), json!({ "id": name, "ids": [id], "tokens": [name] })))
        .collect();
    let pair = [single.as_slice(), &[json!({ "Sequence": { "id": "B", "type_id": 1 } })]].concat();
    json!({ "type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": tokens })
}
