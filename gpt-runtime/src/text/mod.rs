//! Text to tokens and back.
//!
//! The work is that of the `tokenizers` crate; here its input is put together from whatever a model came with (`source`), its output
//! is streamed (`stream`), and conversations become prompts (`chat`). A tokenizer can be learned from a text, too (`learn`).

mod chat;
mod learn;
mod source;
mod stream;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use crate::Error;
use crate::weights::Gguf;

pub use chat::{Message, Role};
pub use stream::{Piece, StopStrings, TextStream};

/// A tokenizer, and what the model's makers say about its special tokens.
#[derive(Clone)]
pub struct Tokenizer {
    inner: Arc<tokenizers::Tokenizer>,
    /// Put before a prompt; only where the inner tokenizer does not do it itself.
    bos: Option<u32>,
    stop_ids: Vec<u32>,
    chat: Option<Arc<chat::Template>>,
}

/// Special tokens that end a text or a turn, by the names that model families give them.
const ENDS: [&str; 6] = [
    "<|endoftext|>",
    "<|im_end|>",
    "<|eot_id|>",
    "<|end_of_text|>",
    "<end_of_turn>",
    "</s>",
];

impl Tokenizer {
    /// Reads a `tokenizer.json`, one file of a `vocab.bpe` + `encoder.json` (or `merges.txt` + `vocab.json`) pair, the vocabulary of a
    /// GGUF, or the first of these in a folder.
    pub fn from_path(path: &Path) -> Result<Tokenizer, Error> {
        source::from_path(path)
    }

    /// The tokenizer that came with the weights at `path`: in the GGUF, or beside them; none if there is none.
    pub fn beside(path: &Path, gguf: Option<&Gguf>) -> Result<Option<Tokenizer>, Error> {
        match gguf {
            Some(gguf) => Tokenizer::within(gguf),
            None => source::in_folder(if path.is_dir() {
                path
            } else {
                path.parent().unwrap_or(Path::new("."))
            }),
        }
    }

    /// The tokenizer in a GGUF; none if there is none.
    pub fn within(gguf: &Gguf) -> Result<Option<Tokenizer>, Error> {
        // llama.cpp's name for a model that is fed with ids is `none`; tools write `no_vocab`, too.
        let model = gguf.text("tokenizer.ggml.model");
        let has = model.is_some_and(|m| !["none", "no_vocab"].contains(&m));
        (has || gguf.get(source::WHOLE).is_some())
            .then(|| source::from_gguf(gguf))
            .transpose()
    }

    fn new(
        inner: tokenizers::Tokenizer,
        bos: Option<u32>,
        ends: &[Option<u32>],
        chat: Option<chat::Template>,
    ) -> Tokenizer {
        let special = inner.get_added_tokens_decoder();
        let named = ENDS.iter().filter_map(|name| inner.token_to_id(name));
        let named = named.filter(|id| special.get(id).is_some_and(|t| t.special));
        let mut stop_ids: Vec<u32> = ends.iter().flatten().copied().chain(named).collect();
        stop_ids.sort_unstable();
        stop_ids.dedup();
        Tokenizer {
            inner: Arc::new(inner),
            bos,
            stop_ids,
            chat: chat.map(Arc::new),
        }
    }

    /// That every token has a row in an embedding of `vocab` rows.
    pub fn check_vocab(&self, vocab: u32) -> Result<(), Error> {
        let most = self
            .inner
            .get_vocab(true)
            .values()
            .copied()
            .max()
            .unwrap_or(0);
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

    /// The tokens of a prompt, with those that every text of this model begins with.
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

    /// The tokens of a text as it stands.
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

    /// The text of `ids`, special tokens left out.
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

    /// Turns the tokens that follow `prompt` into text as they come.
    pub fn stream(&self, prompt: &[u32]) -> TextStream {
        TextStream::new(self.clone(), prompt)
    }

    /// Whether the model came with a chat template.
    pub fn can_chat(&self) -> bool {
        self.chat.is_some()
    }

    /// The prompt of a conversation, ready for the assistant's next turn.
    pub fn apply_chat_template(&self, messages: &[Message]) -> Result<String, Error> {
        let none = || {
            Error::template("the model came without a chat template; use `generate` with a prompt of its own form".to_owned())
        };
        self.chat.as_ref().ok_or_else(none)?.render(messages)
    }
}
