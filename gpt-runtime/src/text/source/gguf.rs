//! The vocabulary of a GGUF file as a `tokenizer.json`.
//!
//! `tokenizer.ggml.model` names the kind of encoding: `gpt2` is a byte pair encoding of bytes
//! (`pre_tokenizers`), `gemma4` one of characters, `llama` is SentencePiece (`sentence_pieces`),
//! `bert` is WordPiece (`word_pieces`). `rwkv` is read if its tokens are characters. Defaults of
//! absent keys are llama.cpp's. Files that this program writes also have the `tokenizer.json`
//! itself (`to_gguf`).

use serde_json::{Value as Json, json};

use super::{Source, folder, parse};
use super::{pre_tokenizers, sentence_pieces, word_pieces};
use crate::Error;
use crate::text::chat::Templates;
use crate::weights::{Gguf, Value};

/// The GGUF key for a complete `tokenizer.json`.
pub const WHOLE: &str = "tokenizer.huggingface.json";

/// The key for the settings of tokens in the files beside that `tokenizer.json`.
const CONFIG: &str = "tokenizer.huggingface.config";

/// The kind of a token (`tokenizer.ggml.token_type`).
#[derive(Clone, Copy, PartialEq)]
pub enum Kind {
    Normal,
    Control,
    UserDefined,
    Other,
}

/// The tokens of a file.
pub struct Vocabulary<'a> {
    pub tokens: Vec<&'a str>,
    kinds: &'a [Value],
    /// The token for text that no other token spells.
    pub unknown: Option<u32>,
}

impl Vocabulary<'_> {
    pub fn kind(&self, id: usize) -> Kind {
        match self.kinds.get(id) {
            None | Some(Value::Signed(1) | Value::Unsigned(1)) => Kind::Normal,
            Some(Value::Signed(3) | Value::Unsigned(3)) => Kind::Control,
            Some(Value::Signed(4) | Value::Unsigned(4)) => Kind::UserDefined,
            Some(_) => Kind::Other,
        }
    }

    /// The `added_tokens`, which are found before a text is cut into words: control tokens, and
    /// those that a user has defined. If an encoding writes blanks as another character, `blank`, a
    /// token that consists of blanks is written with it too. It is then found only where a text has
    /// that character, and blanks in a text are left to the merges.
    pub fn added(&self, blank: char) -> Vec<Json> {
        let token = |(id, content): (usize, &&str)| {
            let special = match self.kind(id) {
                Kind::Control => true,
                Kind::UserDefined => false,
                _ => return None,
            };
            let is_blank = content.chars().all(|c| c == ' ');
            let content = if is_blank {
                content.replace(' ', &blank.to_string())
            } else {
                (*content).to_owned()
            };
            Some(super::added_token(id, &content, special))
        };
        self.tokens.iter().enumerate().filter_map(token).collect()
    }

    fn name(&self, id: Option<u32>) -> Option<&str> {
        id.and_then(|id| self.tokens.get(id as usize)).copied()
    }
}

/// The tokens at the ends of a text.
struct Ends {
    bos: Option<u32>,
    sep: Option<u32>,
}

/// Converts the vocabulary of a GGUF file.
pub fn read(gguf: &Gguf) -> Result<Source, Error> {
    if let (Some(json), Some(Ok(config))) =
        (gguf.text(WHOLE), gguf.text(CONFIG).map(serde_json::from_str::<Json>))
    {
        let mut source = folder::with_config(&config, parse(json.as_bytes(), WHOLE)?);
        source.stop_ids.extend(folder::stop_ids(&config));
        return Ok(Source { templates: templates(gguf), ..source });
    }
    let bad = |what: &str| {
        Error::tokenizer(format!("the tokenizer in the GGUF file cannot be used: {what}"))
    };
    let key = |name: &str| format!("tokenizer.ggml.{name}");
    let id = |name: &str| gguf.unsigned(&key(name)).and_then(|id| u32::try_from(id).ok());
    let model = gguf.text(&key("model"));
    let spm = model == Some("llama");
    let vocabulary = Vocabulary {
        tokens: gguf.texts(&key("tokens")).unwrap_or_default(),
        kinds: gguf.list(&key("token_type")).unwrap_or_default(),
        unknown: id("unknown_token_id").or(spm.then_some(0)),
    };
    let bert = model == Some("bert");
    let bos = id("bos_token_id").or_else(|| id("cls_token_id").filter(|_| bert));
    let bos = bos.or(spm.then_some(1)).or(bert.then_some(101));
    let eos = id("eos_token_id").or(spm.then_some(2));
    // llama.cpp spells the key like this.
    let sep = id("seperator_token_id").or_else(|| id("separator_token_id"));
    let inner = match gguf.text(WHOLE) {
        Some(json) => parse(json.as_bytes(), WHOLE)?,
        None if vocabulary.tokens.is_empty() => return Err(bad("it has no list of tokens")),
        None => {
            let sep = sep.or(eos).or(bert.then_some(102));
            let (mut json, adds_bos, separates) =
                encoding(gguf, &vocabulary).map_err(|e| bad(&e))?;
            let adds_bos = gguf.flag(&key("add_bos_token")).unwrap_or(adds_bos);
            let separates = gguf.flag(&key("add_sep_token")).unwrap_or(separates);
            let ends = Ends { bos: bos.filter(|_| adds_bos), sep: sep.filter(|_| separates) };
            json["post_processor"] = post_processor(&vocabulary, &ends);
            if spm && gguf.text("general.architecture") == Some("phi3") {
                strip_blanks(&mut json);
            }
            parse(json.to_string().as_bytes(), "the vocabulary of the GGUF file")?
        }
    };
    let text =
        |id: Option<u32>| vocabulary.name(id).map(str::to_owned).or_else(|| inner.id_to_token(id?));
    let tokens = ["bos", "eos", "unk", "pad", "sep", "cls", "mask"]
        .iter()
        .zip([
            bos,
            eos,
            vocabulary.unknown,
            id("padding_token_id"),
            sep,
            id("cls_token_id"),
            id("mask_token_id"),
        ])
        .filter_map(|(name, id)| Some((format!("{name}_token"), text(id)?)))
        .collect();
    Ok(Source {
        stop_ids: [eos, id("eot_token_id"), id("eom_token_id")].into_iter().flatten().collect(),
        templates: templates(gguf),
        special_tokens: tokens,
        adds_bos: None,
        inner,
    })
}

/// The `tokenizer.json` without its post-processor, and whether a text begins with BOS and ends
/// with a separator by default.
fn encoding(gguf: &Gguf, vocabulary: &Vocabulary<'_>) -> Result<(Json, bool, bool), String> {
    let key = |name: &str| format!("tokenizer.ggml.{name}");
    match gguf.text(&key("model")) {
        Some("gpt2" | "gemma4") => {
            let merges = gguf.texts(&key("merges")).ok_or("it has no list of merges")?;
            let pre = gguf.text(&key("pre")).unwrap_or("gpt-2");
            if pre == "gemma4" {
                return Ok((raw_pairs(vocabulary, &merges), true, false));
            }
            let row = pre_tokenizers::find(pre).ok_or_else(|| {
                format!("its pre-tokenizer {pre:?} is not known; name a tokenizer.json instead")
            })?;
            let json = super::byte_level(vocabulary, &merges, row);
            Ok((json, row.adds_bos, row.separates))
        }
        Some("llama") => {
            let scores = gguf.list(&key("scores")).ok_or("it has no scores")?;
            let number = |score: &Value| match *score {
                Value::Float(x) => x,
                Value::Signed(n) => n as f64,
                Value::Unsigned(n) => n as f64,
                _ => 0.0,
            };
            let scores: Vec<f64> = scores.iter().map(number).collect();
            let prefix = gguf.flag(&key("add_space_prefix")).unwrap_or(true);
            Ok((sentence_pieces::json(vocabulary, &scores, prefix)?, true, false))
        }
        Some("bert") => Ok((word_pieces::json(vocabulary), true, true)),
        Some("rwkv") => Ok((characters(vocabulary)?, false, false)),
        Some(other) => {
            Err(format!("its model is {other:?}; gpt2, gemma4, llama, bert and rwkv are read"))
        }
        None => Err("it has no tokenizer.ggml.model".to_owned()),
    }
}

/// An encoding with a token for each character. RWKV's lists with longer tokens are not read.
fn characters(vocabulary: &Vocabulary<'_>) -> Result<Json, String> {
    let mut vocab = serde_json::Map::new();
    for (id, token) in vocabulary.tokens.iter().enumerate() {
        let name = if *token == "\\\\" { "\\" } else { token };
        if vocabulary.kind(id) == Kind::Normal && name.chars().count() != 1 {
            return Err(format!(
                "its token {id} is longer than a character, and only lists of characters are read for rwkv"
            ));
        }
        vocab.insert(name.to_owned(), id.into());
    }
    Ok(json!({
        "version": "1.0", "added_tokens": vocabulary.added(' '), "decoder": { "type": "Fuse" },
        "model": { "type": "BPE", "vocab": vocab, "merges": [] },
    }))
}

/// A byte pair encoding of characters, with a blank as `▁`, and bytes for characters without a
/// token (Gemma 4).
fn raw_pairs(vocabulary: &Vocabulary<'_>, merges: &[&str]) -> Json {
    let mut json = sentence_pieces::spaced(false);
    let vocab: serde_json::Map<String, Json> = vocabulary
        .tokens
        .iter()
        .enumerate()
        .map(|(id, token)| (token.replace(' ', "▁"), id.into()))
        .collect();
    let merges: Vec<(&str, &str)> = merges.iter().filter_map(|pair| pair.split_once(' ')).collect();
    json["added_tokens"] = vocabulary.added('▁').into();
    json["model"] = json!({
        "type": "BPE", "vocab": vocab, "merges": merges, "byte_fallback": true, "fuse_unk": true,
        "unk_token": vocabulary.name(vocabulary.unknown),
    });
    json
}

/// Phi-3's control tokens take the white space after them, but GGUF files do not record this.
fn strip_blanks(json: &mut Json) {
    for token in json["added_tokens"].as_array_mut().into_iter().flatten() {
        let name = token["content"].as_str().unwrap_or_default();
        let strips = !["<unk>", "<s>", "<|endoftext|>"].contains(&name);
        token["rstrip"] = (strips && token["special"] == true).into();
    }
}

/// The post-processor that adds the tokens at the ends of a text.
fn post_processor(vocabulary: &Vocabulary<'_>, ends: &Ends) -> Json {
    super::template(
        ends.bos.and_then(|id| Some((id, vocabulary.name(Some(id))?))),
        ends.sep.and_then(|id| Some((id, vocabulary.name(Some(id))?))),
    )
}

/// The chat templates: the default one, and one for each key `tokenizer.chat_template.NAME`.
fn templates(gguf: &Gguf) -> Templates {
    const KEY: &str = "tokenizer.chat_template";
    let named = gguf.iter().filter_map(|(key, value)| match value {
        Value::Text(text) => {
            Some((key.strip_prefix(KEY)?.strip_prefix('.')?.to_owned(), text.clone()))
        }
        _ => None,
    });
    let mut templates: Vec<(String, String)> = named.collect();
    if let Some(text) = gguf.text(KEY) {
        templates.retain(|(name, _)| name != "default");
        templates.push(("default".to_owned(), text.to_owned()));
    }
    Templates(templates)
}
