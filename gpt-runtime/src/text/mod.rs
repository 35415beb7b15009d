//! Encodes text as tokens and decodes tokens.
//!
//! The `tokenizers` crate encodes. `source` builds that crate's input from the files of a model,
//! `coverage` finds characters that the crate would drop, and `long` cuts long texts, so that all
//! processors encode them. `decode` turns tokens into text one by one; `stream` does so for a
//! generation. `bytes` has the bytes of a single token, `ends` the tokens that end a text, `mask`
//! the token that stands for a hidden one. `chat` renders conversations as prompts, `learn` trains
//! tokenizers, `save` and `to_gguf` write them.

mod bytes;
mod chat;
mod coverage;
mod decode;
mod ends;
mod learn;
mod long;
mod mask;
mod save;
mod source;
mod stream;
#[cfg(test)]
mod tests;
mod to_gguf;

use std::path::Path;
use std::sync::Arc;

use crate::Error;
use crate::weights::{self, Gguf};

pub use chat::{Message, Role};
pub use stream::{Piece, StopStrings, TextStream};

/// A tokenizer with the special tokens and the chat template of its model.
#[derive(Clone)]
pub struct Tokenizer {
    inner: Arc<tokenizers::Tokenizer>,
    decoder: Arc<decode::Decoder>,
    /// The tokens that a text begins with.
    prefix: Arc<[u32]>,
    /// Whether [`inner`](Self::inner) itself adds the tokens that a text begins with.
    adds: bool,
    /// Whether `inner` may drop characters, for lack of a token.
    drops: bool,
    stop_ids: Arc<[u32]>,
    /// The special tokens by transformers' names: `bos_token`, `eos_token`, ..
    special: Arc<[(String, String)]>,
    chat: Option<Arc<chat::Template>>,
    /// The tokenizer for messages whose text looks like control tokens, made when it is first
    /// needed.
    marked: Arc<chat::Cache>,
}

impl Tokenizer {
    /// Reads a `tokenizer.json`, one file of a `vocab.bpe` + `encoder.json` (or `merges.txt` +
    /// `vocab.json`) pair, the vocabulary of a GGUF, or a folder with a `tokenizer.json` or such a
    /// pair.
    ///
    /// # Errors
    /// Fails if a file cannot be read or is not a tokenizer, or if the folder has none.
    pub fn from_path(path: &Path) -> Result<Tokenizer, Error> {
        source::from_path(path)
    }

    /// The tokenizer in the GGUF of the weights at `path`, or in the same folder. None if there is
    /// none. `gguf` is the metadata of the weights, if it was read already.
    ///
    /// # Errors
    /// Fails if a file exists but cannot be read or is not a tokenizer.
    pub fn of_weights(path: &Path, gguf: Option<&Gguf>) -> Result<Option<Tokenizer>, Error> {
        if let Some(gguf) = gguf {
            return Tokenizer::from_gguf_metadata(gguf);
        }
        match weights::find(path) {
            Ok(file) if weights::is_gguf(&file) => {
                Tokenizer::from_gguf_metadata(&weights::read_metadata(&file)?)
            }
            _ if path.is_dir() => source::in_folder(path),
            _ => source::in_folder(path.parent().unwrap_or(Path::new("."))),
        }
    }

    /// The tokenizer in a GGUF, if it has one.
    ///
    /// # Errors
    /// Fails if the kind of tokenizer is not supported, or if its data are damaged.
    pub fn from_gguf_metadata(gguf: &Gguf) -> Result<Option<Tokenizer>, Error> {
        // Models without a tokenizer: llama.cpp writes `none`, other tools `no_vocab`.
        let model = gguf.text("tokenizer.ggml.model");
        let has = model.is_some_and(|m| !["none", "no_vocab"].contains(&m));
        (has || gguf.get(source::WHOLE).is_some()).then(|| source::from_gguf(gguf)).transpose()
    }

    fn new(source: source::Source) -> Result<Tokenizer, Error> {
        let source::Source { mut inner, stop_ids, special_tokens, templates, adds_bos } = source;
        ends::mark(&mut inner).expect("tokens of the vocabulary");
        let decoder = decode::Decoder::new(inner.get_decoder()).ok_or_else(|| {
            Error::tokenizer(
                "the decoder of the tokenizer strips text across tokens, which is not supported"
                    .to_owned(),
            )
        })?;
        let stop_ids = ends::find(&inner, &stop_ids);
        let bos = special_tokens.iter().find(|(name, _)| name == "bos_token");
        let bos = bos.and_then(|(_, token)| inner.token_to_id(token));
        let (prefix, adds) = match (adds_bos, bos) {
            (Some(false), _) => (Vec::new(), false),
            (Some(true), Some(bos)) => (vec![bos], false),
            _ => (affixes(&inner).0, true),
        };
        Ok(Tokenizer {
            decoder: Arc::new(decoder),
            prefix: prefix.into(),
            adds,
            drops: coverage::drops(&inner),
            stop_ids: stop_ids.into(),
            special: special_tokens.clone().into(),
            chat: chat::Template::new(templates, special_tokens).map(Arc::new),
            marked: Arc::default(),
            inner: Arc::new(inner),
        })
    }

    /// Checks that the ids of the vocabulary are below `vocab`, the number of rows of the model's
    /// embedding. Added tokens may have greater ids.
    ///
    /// # Errors
    /// Fails if an id is `vocab` or greater.
    pub fn check_vocab(&self, vocab: u32) -> Result<(), Error> {
        // Tokens that were added to the vocabulary may have no row: a text model of Gemma 3 has
        // none for images.
        let most = self.inner.get_vocab(false).values().copied().max().unwrap_or(0);
        if most < vocab {
            return Ok(());
        }
        Err(Error::tokenizer(format!(
            "the tokenizer has tokens up to {most}, but the model's vocabulary has {vocab} (0..={}); they belong to different models",
            vocab - 1
        )))
    }

    /// Number of tokens.
    pub fn vocab(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// The tokens that a text begins with, such as BOS, if the model expects any.
    pub fn prefix(&self) -> &[u32] {
        &self.prefix
    }

    /// Encodes a prompt, with the tokens that the model expects at the beginning of a text. If the
    /// prompt has them already, they are not added again.
    ///
    /// # Errors
    /// Fails if the prompt is empty and no tokens are added to it, or if a character has no token.
    pub fn encode_prompt(&self, text: &str) -> Result<Vec<u32>, Error> {
        let mut ids = self.run(&self.inner, text, self.adds)?;
        self.begin(&mut ids);
        not_empty(ids)
    }

    /// Encodes the continuation of a text, without the tokens that a text begins with.
    ///
    /// # Errors
    /// See [`encode_prompt`](Self::encode_prompt).
    pub fn encode_continuation(&self, text: &str) -> Result<Vec<u32>, Error> {
        let mut ids = self.encode(text)?;
        self.strip_prefix(&mut ids);
        not_empty(ids)
    }

    /// Makes `ids` begin with the prefix, once.
    fn begin(&self, ids: &mut Vec<u32>) {
        self.strip_prefix(ids);
        ids.splice(..0, self.prefix.iter().copied());
    }

    fn strip_prefix(&self, ids: &mut Vec<u32>) {
        while !self.prefix.is_empty() && ids.starts_with(&self.prefix) {
            ids.drain(..self.prefix.len());
        }
    }

    /// Encodes a text without adding tokens.
    ///
    /// # Errors
    /// Fails if a character has no token.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, Error> {
        self.run(&self.inner, text, false)
    }

    /// Encodes with `inner`, which is `self.inner` or a variant of it.
    fn run(
        &self,
        inner: &tokenizers::Tokenizer,
        text: &str,
        special: bool,
    ) -> Result<Vec<u32>, Error> {
        if let Some(character) = self.drops.then(|| coverage::missing(inner, text)).flatten() {
            return Err(Error::Input(format!(
                "the text has the character {character:?}, which the model's tokenizer has no token for"
            )));
        }
        let encoding = inner.encode_fast(text, special);
        encoding.map(|e| e.get_ids().to_vec()).map_err(|error| {
            Error::tokenizer(format!("the tokenizer cannot encode the text: {error}"))
                .caused_by(error)
        })
    }

    /// Tokens that end a text or a turn.
    pub fn stop_ids(&self) -> &[u32] {
        &self.stop_ids
    }

    /// Decodes the tokens that follow `prompt` one by one.
    pub fn stream(&self, prompt: &[u32]) -> TextStream {
        TextStream::new(self.clone(), prompt)
    }

    /// Whether the model came with a chat template.
    pub fn can_chat(&self) -> bool {
        self.chat.is_some()
    }

    fn template(&self) -> Result<&chat::Template, Error> {
        let none = || {
            Error::template(
                "the model has no chat template; use `generate` with a prompt in the model's own format"
                    .to_owned(),
            )
        };
        self.chat.as_deref().ok_or_else(none)
    }

    /// Renders a conversation as a prompt for the assistant's next turn. To encode it, use
    /// [`encode_chat`](Self::encode_chat), which keeps the text of messages from becoming control
    /// tokens.
    ///
    /// # Errors
    /// Fails if the model has no chat template, or if the template cannot be read or rejects the
    /// conversation.
    pub fn apply_chat_template(&self, messages: &[Message]) -> Result<String, Error> {
        self.template()?.render(messages)
    }
}

/// The tokens that a tokenizer puts before and after each text.
fn affixes(inner: &tokenizers::Tokenizer) -> (Vec<u32>, Vec<u32>) {
    let encode = |special: bool| {
        let encoding = inner.encode_fast("a", special);
        encoding.map(|e| e.get_ids().to_vec()).unwrap_or_default()
    };
    let (mut with, without) = (encode(true), encode(false));
    let before = (0..with.len()).find(|&at| with[at..].starts_with(&without)).unwrap_or(0);
    let behind = with.get(before + without.len()..).unwrap_or_default().to_vec();
    with.truncate(before);
    (with, behind)
}

fn not_empty(ids: Vec<u32>) -> Result<Vec<u32>, Error> {
    match ids.is_empty() {
        true => Err(Error::Input("the prompt is empty; give at least one character".to_owned())),
        false => Ok(ids),
    }
}
