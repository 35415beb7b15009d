//! Encodes text as tokens and decodes tokens.
//!
//! The `tokenizers` crate does the work. `source` builds its input from the files of a model,
//! `stream` decodes token by token, `bytes` a token alone, `chat` renders conversations as prompts,
//! and `learn` trains tokenizers.

mod bytes;
mod chat;
mod learn;
mod source;
mod stream;
#[cfg(test)]
mod tests;

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
    /// Prepended to a prompt. None if the inner tokenizer prepends it itself.
    bos: Option<u32>,
    stop_ids: Vec<u32>,
    chat: Option<Arc<chat::Template>>,
}

/// Special tokens of the common model families that end a text or a turn.
const ENDS: [&str; 6] =
    ["<|endoftext|>", "<|im_end|>", "<|eot_id|>", "<|end_of_text|>", "<end_of_turn>", "</s>"];

impl Tokenizer {
    /// Reads a `tokenizer.json`, one file of a `vocab.bpe` + `encoder.json` (or `merges.txt` +
    /// `vocab.json`) pair, the vocabulary of a GGUF, or the first of these in a folder.
    ///
    /// # Errors
    /// A file that cannot be read or is not a tokenizer; a folder without one.
    pub fn from_path(path: &Path) -> Result<Tokenizer, Error> {
        source::from_path(path)
    }

    /// The tokenizer in the GGUF of the weights at `path`, or in the same folder. None if there is
    /// none. `gguf` is the metadata of the weights, if they were read already.
    ///
    /// # Errors
    /// A file that exists cannot be read or is not a tokenizer.
    pub fn beside(path: &Path, gguf: Option<&Gguf>) -> Result<Option<Tokenizer>, Error> {
        if let Some(gguf) = gguf {
            return Tokenizer::within(gguf);
        }
        match weights::find(path) {
            Ok(file) if weights::is_gguf(&file) => {
                Tokenizer::within(&weights::read_metadata(&file)?)
            }
            _ if path.is_dir() => source::in_folder(path),
            _ => source::in_folder(path.parent().unwrap_or(Path::new("."))),
        }
    }

    /// The tokenizer in a GGUF, if it has one.
    ///
    /// # Errors
    /// The kind of tokenizer is not supported, or its data are damaged.
    pub fn within(gguf: &Gguf) -> Result<Option<Tokenizer>, Error> {
        // Models without a tokenizer: llama.cpp writes `none`, other tools `no_vocab`.
        let model = gguf.text("tokenizer.ggml.model");
        let has = model.is_some_and(|m| !["none", "no_vocab"].contains(&m));
        (has || gguf.get(source::WHOLE).is_some()).then(|| source::from_gguf(gguf)).transpose()
    }

    fn new(
        mut inner: tokenizers::Tokenizer,
        bos: Option<u32>,
        ends: &[Option<u32>],
        chat: Option<chat::Template>,
    ) -> Tokenizer {
        // Encoders' files cut and pad every text to one length. No text is padded here.
        inner.with_padding(None);
        inner.with_truncation(None).expect("no truncation needs no check");
        let special = inner.get_added_tokens_decoder();
        let named = ENDS.iter().filter_map(|name| inner.token_to_id(name));
        let named = named.filter(|id| special.get(id).is_some_and(|t| t.special));
        let mut stop_ids: Vec<u32> = ends.iter().flatten().copied().chain(named).collect();
        stop_ids.sort_unstable();
        stop_ids.dedup();
        Tokenizer { inner: Arc::new(inner), bos, stop_ids, chat: chat.map(Arc::new) }
    }

    /// Checks that all token ids are below `vocab`, the rows of the model's embedding.
    ///
    /// # Errors
    /// An id is `vocab` or more.
    pub fn check_vocab(&self, vocab: u32) -> Result<(), Error> {
        let most = self.inner.get_vocab(true).values().copied().max().unwrap_or(0);
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

    /// Encodes a prompt, with the tokens that the model expects at the beginning of a text.
    ///
    /// # Errors
    /// An empty prompt, or a character without a token.
    pub fn encode_prompt(&self, text: &str) -> Result<Vec<u32>, Error> {
        let mut ids: Vec<u32> = self.bos.into_iter().collect();
        ids.extend(self.run(text, true)?);
        if ids.is_empty() {
            return Err(Error::Input(
                "the prompt is empty; give at least one character".to_owned(),
            ));
        }
        Ok(ids)
    }

    /// Encodes a text without adding tokens.
    ///
    /// # Errors
    /// A character without a token.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, Error> {
        self.run(text, false)
    }

    fn run(&self, text: &str, special: bool) -> Result<Vec<u32>, Error> {
        if let Some(character) = self.unknown_character(text) {
            return Err(Error::Input(format!(
                "the text has the character {character:?}, which the model's tokenizer has no token for"
            )));
        }
        let encoding = self.inner.encode_fast(text, special);
        encoding.map(|e| e.get_ids().to_vec()).map_err(|error| {
            Error::tokenizer(format!("the tokenizer cannot encode the text: {error}"))
                .caused_by(error)
        })
    }

    /// Decodes `ids`, without special tokens.
    ///
    /// # Errors
    /// The decoder of the tokenizer fails.
    pub fn decode(&self, ids: &[u32]) -> Result<String, Error> {
        self.inner.decode(ids, true).map_err(|error| {
            Error::tokenizer(format!("the tokenizer cannot decode its tokens: {error}"))
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

    /// Renders a conversation as a prompt for the assistant's next turn.
    ///
    /// # Errors
    /// A model without a chat template, or a conversation that the template rejects.
    pub fn apply_chat_template(&self, messages: &[Message]) -> Result<String, Error> {
        let none = || {
            Error::template(
                "the model has no chat template; use `generate` with a prompt in its own format"
                    .to_owned(),
            )
        };
        self.chat.as_ref().ok_or_else(none)?.render(messages)
    }
}
