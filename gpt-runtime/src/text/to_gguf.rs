//! Writes a tokenizer as the metadata of a GGUF.
//!
//! A file has the tokenizer twice. For other programs it has a list of tokens with what llama.cpp
//! needs to know of them (`tokenizer.ggml.*`). For this program it has the complete
//! `tokenizer.json` and what the files beside it said, so that nothing is lost.
//!
//! A GGUF has no pre-tokenizer but only its name, which [`source::name_of_pre_tokenizer`] finds by
//! comparing words. For a SentencePiece vocabulary it has scores and no ranked merges. The scores
//! are derived from the merges, if the merges are exactly those that scores can express. If
//! llama.cpp has no kind for a tokenizer, only this program can read it from the file, and a note
//! says so.

use std::collections::{BTreeMap, HashSet};

use serde_json::{Value as Json, json};
use tokenizers::ModelWrapper;

use super::decode::byte_token;
use super::{Tokenizer, affixes, ends, source};
use crate::Error;
use crate::weights::Value;

/// The metadata of a tokenizer.
pub struct Metadata {
    /// Keys and values.
    pub values: Vec<(String, Value)>,
    /// A sentence about what llama.cpp cannot use of them, if anything.
    pub note: Option<String>,
}

/// A kind of encoding that llama.cpp has (`tokenizer.ggml.model`).
enum Kind {
    /// `gpt2`: byte pairs of bytes.
    Bytes { pre: &'static str, merges: Vec<String> },
    /// `llama`: SentencePiece, a score for each token.
    Pieces { scores: Vec<f64>, prefix: bool },
    /// `gemma4`: byte pairs of characters, and bytes.
    RawPairs { merges: Vec<String> },
    /// `rwkv`: the longest token, which here is always a single character.
    Characters,
    /// `bert`: WordPiece.
    Words,
}

/// The kinds of tokens (`tokenizer.ggml.token_type`).
const NORMAL: i64 = 1;
const UNKNOWN: i64 = 2;
const CONTROL: i64 = 3;
const USER_DEFINED: i64 = 4;
const UNUSED: i64 = 5;
const BYTE: i64 = 6;

impl Tokenizer {
    /// The metadata of a GGUF of a model with `vocab` rows.
    ///
    /// # Errors
    /// Fails if the tokenizer cannot be written.
    pub(crate) fn gguf(&self, vocab: u32) -> Result<Metadata, Error> {
        let json = self.json(false)?;
        let parsed: Json = serde_json::from_str(&json).expect("it was written just now");
        let mut metadata = Metadata { values: Vec::new(), note: None };
        match self.kind(&parsed["model"]) {
            Ok(kind) => {
                let lacks = self.bytes_without_token();
                if matches!(kind, Kind::Pieces { .. }) && lacks > 0 {
                    metadata.note = Some(format!(
                        "llama.cpp will stop with an error at a character without a token, because the vocabulary lacks tokens for {lacks} of the 256 bytes"
                    ));
                }
                self.list(&kind, vocab, &mut metadata);
            }
            Err(reason) => {
                metadata.set("ggml.model", Value::Text("none".to_owned()));
                metadata.note = Some(format!(
                    "llama.cpp will open the file without its tokenizer, because it supports none of this kind: {reason}"
                ));
            }
        }
        metadata.set("huggingface.json", Value::Text(json));
        metadata.set("huggingface.config", Value::Text(self.config_of_gguf().to_string()));
        self.add_templates(&mut metadata);
        Ok(metadata)
    }

    /// The kind of encoding, or why llama.cpp has none like it.
    fn kind(&self, model: &Json) -> Result<Kind, String> {
        match self.inner.get_model() {
            ModelWrapper::WordPiece(_) => Ok(Kind::Words),
            ModelWrapper::BPE(bpe) => {
                let merges = merges(model);
                let plain =
                    bpe.continuing_subword_prefix.is_none() && bpe.end_of_word_suffix.is_none();
                if !plain {
                    return Err("its tokens have a mark inside or at the end of a word".to_owned());
                }
                let joined = || merges.iter().map(|pair| pair.join(" ")).collect();
                if bpe.byte_fallback {
                    return self.pieces(&merges).map(|pieces| match pieces {
                        Some((scores, prefix)) => Kind::Pieces { scores, prefix },
                        None => Kind::RawPairs { merges: joined() },
                    });
                }
                if let Some(pre) = source::name_of_pre_tokenizer(&self.inner, bpe.ignore_merges) {
                    return Ok(Kind::Bytes { pre, merges: joined() });
                }
                let whole = self.inner.get_normalizer().is_none()
                    && self.inner.get_pre_tokenizer().is_none();
                let mut names = self.inner.get_vocab(false).into_keys();
                if whole && merges.is_empty() && names.all(|name| name.chars().count() == 1) {
                    return Ok(Kind::Characters);
                }
                Err("no family of llama.cpp cuts text into words in this way".to_owned())
            }
            ModelWrapper::WordLevel(_) => Err("its tokens are whole words".to_owned()),
            ModelWrapper::Unigram(_) => Err("it is a Unigram model".to_owned()),
        }
    }

    /// Scores that express exactly `merges`, and whether a blank precedes a text. None if there are
    /// no such scores.
    fn pieces(&self, merges: &[[String; 2]]) -> Result<Option<(Vec<f64>, bool)>, String> {
        let text = |text: &str| source::words(&self.inner, text).concat();
        let prefix = match text("a  b").as_str() {
            "▁a▁▁b" => true,
            "a▁▁b" => false,
            _ => return Err("it does not write a blank as `▁`".to_owned()),
        };
        let names = self.names(u32::try_from(self.inner.get_vocab_size(true)).unwrap_or(u32::MAX));
        let pieces: Vec<String> = names.into_iter().map(Option::unwrap_or_default).collect();
        let scores = scores(&pieces, merges);
        // Any two tokens that form a third may merge, whatever the file says.
        let implied = source::merges(&pieces, |id| scores[id])?;
        let special = self.inner.get_added_vocabulary();
        let counts = |[a, b]: &[&str; 2]| {
            let token = format!("{a}{b}");
            !special.get_vocab().contains_key(&token) && byte_token(&token).is_none()
        };
        let implied: HashSet<[&str; 2]> = implied.into_iter().filter(counts).collect();
        let own = merges.iter().map(|[a, b]| [a.as_str(), b.as_str()]);
        let own: HashSet<[&str; 2]> = own.filter(counts).collect();
        Ok((own == implied).then_some((scores, prefix)))
    }

    /// The number of bytes that no token encodes, by its name or as a character.
    fn bytes_without_token(&self) -> usize {
        let has = |name: &str| self.inner.token_to_id(name).is_some();
        let is_token = |byte: &u8| {
            let character = char::from(*byte);
            has(&format!("<0x{byte:02X}>")) || character.is_ascii() && has(&character.to_string())
        };
        (0..=u8::MAX).filter(|byte| !is_token(byte)).count()
    }

    /// The names of the tokens below `vocab`, by id.
    fn names(&self, vocab: u32) -> Vec<Option<String>> {
        (0..vocab).map(|id| self.inner.id_to_token(id)).collect()
    }

    /// Adds the list of tokens and what llama.cpp needs to know of them.
    fn list(&self, kind: &Kind, vocab: u32, metadata: &mut Metadata) {
        let names = self.names(vocab);
        let unknown = self.special_id("unk_token");
        let (mut tokens, mut kinds) = (Vec::new(), Vec::new());
        let mut seen = HashSet::new();
        for (id, name) in (0..).zip(&names) {
            let (mut text, mut of) = match name {
                Some(name) => (self.spelled(kind, name), self.kind_of(kind, id, name, unknown)),
                None => (format!("[PAD{id}]"), UNUSED),
            };
            // llama.cpp refuses a list that has a token twice.
            if !seen.insert(text.clone()) {
                (text, of) = (format!("[UNUSED{id}]"), UNUSED);
                seen.insert(text.clone());
            }
            tokens.push(Value::Text(text));
            kinds.push(Value::Signed(of));
        }
        let (model, pre) = match kind {
            Kind::Bytes { pre, .. } => ("gpt2", *pre),
            Kind::Pieces { .. } => ("llama", "default"),
            Kind::RawPairs { .. } => ("gemma4", "gemma4"),
            Kind::Characters => ("rwkv", "default"),
            Kind::Words => ("bert", "default"),
        };
        metadata.set("ggml.model", Value::Text(model.to_owned()));
        metadata.set("ggml.pre", Value::Text(pre.to_owned()));
        metadata.set("ggml.tokens", Value::List(tokens));
        metadata.set("ggml.token_type", Value::List(kinds));
        match kind {
            Kind::Bytes { merges, .. } | Kind::RawPairs { merges } => {
                let merges = merges.iter().cloned().map(Value::Text).collect();
                metadata.set("ggml.merges", Value::List(merges));
            }
            Kind::Pieces { scores, prefix } => {
                let mut scores: Vec<f64> = scores.iter().copied().take(vocab as usize).collect();
                scores.resize(vocab as usize, -1e6);
                let scores = scores.into_iter().map(Value::Float).collect();
                metadata.set("ggml.scores", Value::List(scores));
                metadata.set("ggml.add_space_prefix", Value::Bool(*prefix));
            }
            Kind::Characters | Kind::Words => {}
        }
        self.add_ends(kind, vocab, metadata);
    }

    /// The spelling of a token in llama.cpp's list.
    fn spelled(&self, kind: &Kind, name: &str) -> String {
        let added = self.inner.get_added_vocabulary();
        let is_added = added.get_vocab().contains_key(name);
        match kind {
            // Escapes are Python's.
            Kind::Characters => name.replace('\\', "\\\\"),
            Kind::Words if !is_added => match name.strip_prefix("##") {
                Some(rest) => rest.to_owned(),
                None => format!("▁{name}"),
            },
            // These tokens are found in the text as it is, with its blanks.
            Kind::Pieces { .. } | Kind::RawPairs { .. }
                if is_added && !added.is_special_token(name) =>
            {
                name.replace('▁', " ")
            }
            _ => name.to_owned(),
        }
    }

    fn kind_of(&self, kind: &Kind, id: u32, name: &str, unknown: Option<u32>) -> i64 {
        let added = self.inner.get_added_vocabulary();
        let has_bytes = matches!(kind, Kind::Pieces { .. } | Kind::RawPairs { .. });
        if has_bytes && unknown == Some(id) {
            UNKNOWN
        } else if added.is_special_token(name) {
            CONTROL
        } else if added.get_vocab().contains_key(name) {
            USER_DEFINED
        } else if has_bytes && byte_token(name).is_some() {
            BYTE
        } else {
            NORMAL
        }
    }

    /// The special token that transformers calls `name`: the one that the files of the model name,
    /// or the unknown token of the encoding.
    fn special_id(&self, name: &str) -> Option<u32> {
        let named = self.special.iter().find(|(key, _)| key == name);
        let named = named.and_then(|(_, token)| self.inner.token_to_id(token));
        named.or_else(|| {
            let model = match self.inner.get_model() {
                ModelWrapper::BPE(bpe) if name == "unk_token" => bpe.unk_token.as_deref(),
                ModelWrapper::WordPiece(words) if name == "unk_token" => Some(&*words.unk_token),
                _ => None,
            };
            model.and_then(|token| self.inner.token_to_id(token))
        })
    }

    /// Adds the tokens at the ends of a text and of a turn.
    fn add_ends(&self, kind: &Kind, vocab: u32, metadata: &mut Metadata) {
        let (first, last) = self.around();
        let separates = matches!(kind, Kind::Words);
        let last_id = last.first().copied();
        let eos = self.special_id("eos_token").or(last_id.filter(|_| !separates));
        let eos = eos.or_else(|| self.stop_ids.first().copied());
        let unknown = self.special_id("unk_token");
        // Without these keys llama.cpp uses default ids, which here may be those of any token. A
        // token that no text has does no harm: the byte FF, the unknown token, or a row without a
        // token.
        let row = (0..vocab).rev().find(|id| self.inner.id_to_token(*id).is_none());
        let harmless = match kind {
            Kind::Bytes { .. } => self.inner.token_to_id("ÿ").or(row),
            Kind::Pieces { .. } => unknown.or(row),
            _ => None,
        };
        let bos = match first {
            [bos] => Some(*bos),
            _ => self.special_id("bos_token"),
        };
        let others = || self.stop_ids.iter().copied().filter(|id| Some(*id) != eos);
        // llama.cpp knows most tokens that end a turn by their names.
        let named =
            |id: &u32| self.inner.id_to_token(*id).is_some_and(|name| ends::is_known(&name));
        let mut unnamed = others().filter(|id| !named(id));
        let ids = [
            ("bos_token_id", bos.or(harmless)),
            ("eos_token_id", eos.or(harmless)),
            ("eot_token_id", unnamed.next()),
            ("eom_token_id", unnamed.next()),
            ("unknown_token_id", unknown),
            ("padding_token_id", self.special_id("pad_token")),
            ("seperator_token_id", self.special_id("sep_token").or(last_id.filter(|_| separates))),
            ("cls_token_id", self.special_id("cls_token").or(bos.filter(|_| separates))),
            ("mask_token_id", self.special_id("mask_token")),
        ];
        for (name, id) in ids {
            if let Some(id) = id.filter(|id| *id < vocab) {
                metadata.set(&format!("ggml.{name}"), Value::Unsigned(id.into()));
            }
        }
        metadata.set("ggml.add_bos_token", Value::Bool(!first.is_empty()));
        metadata.set("ggml.add_eos_token", Value::Bool(!separates && !last.is_empty()));
        metadata.set("ggml.add_sep_token", Value::Bool(separates && !last.is_empty()));
    }

    /// The tokens that are put before and after each text.
    fn around(&self) -> (&[u32], Vec<u32>) {
        if !self.adds {
            return (&self.prefix, Vec::new());
        }
        (&self.prefix, affixes(&self.inner).1)
    }

    /// The values of `tokenizer_config.json` and `generation_config.json`, without chat templates.
    fn config_of_gguf(&self) -> Json {
        let mut config = self.special_tokens();
        if !self.stop_ids.is_empty() {
            config["eos_token_id"] = json!(*self.stop_ids);
        }
        config
    }

    fn add_templates(&self, metadata: &mut Metadata) {
        const KEY: &str = "chat_template";
        let Some(chat) = &self.chat else { return };
        let templates = chat.templates();
        let mut names = Vec::new();
        for (name, template) in templates {
            let value = Value::Text(template.clone());
            if name == "default" {
                metadata.set(KEY, value);
            } else {
                metadata.set(&format!("{KEY}.{name}"), value);
                names.push(Value::Text(name.clone()));
            }
        }
        if !names.is_empty() {
            metadata.set("chat_templates", Value::List(names));
        }
    }
}

impl Metadata {
    fn set(&mut self, name: &str, value: Value) {
        self.values.push((format!("tokenizer.{name}"), value));
    }
}

/// The pairs of a byte pair encoding, in the order of their ranks.
fn merges(model: &Json) -> Vec<[String; 2]> {
    let pairs = model["merges"].as_array().into_iter().flatten();
    pairs.filter_map(|pair| serde_json::from_value(pair.clone()).ok()).collect()
}

/// A score for each of `pieces` that puts the pairs in the order of `merges`. If the pairs that
/// form one token alternate with those that form another, both tokens get the same score.
fn scores(pieces: &[String], merges: &[[String; 2]]) -> Vec<f64> {
    let mut last: BTreeMap<String, usize> = BTreeMap::new();
    for (rank, pair) in merges.iter().enumerate() {
        last.insert(pair.concat(), rank);
    }
    let mut score: BTreeMap<String, f64> = BTreeMap::new();
    let (mut group, mut end) = (0.0, 0);
    for (rank, pair) in merges.iter().enumerate() {
        let token = pair.concat();
        if rank > end {
            group -= 1.0;
        }
        end = end.max(last[&token]);
        score.entry(token).or_insert(group);
    }
    // Tokens that no pair forms have a lower score than all others.
    pieces.iter().map(|piece| score.get(piece).copied().unwrap_or(group - 1.0)).collect()
}
