//! Reads tokenizers from files.
//!
//! All sources are converted to the format of `tokenizer.json`, which the `tokenizers` crate
//! parses.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};

use super::Tokenizer;
use super::chat::Template;
use crate::Error;
use crate::weights::{self, Gguf, Value};

/// The files of a byte pair encoding: merges and vocabulary.
const PAIRS: [(&str, &str); 2] = [("vocab.bpe", "encoder.json"), ("merges.txt", "vocab.json")];

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
    let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    let folder = path.parent().unwrap_or(Path::new("."));
    match PAIRS.iter().find(|(merges, vocab)| name == *merges || name == *vocab) {
        Some((merges, vocab)) => from_pair(&folder.join(merges), &folder.join(vocab)),
        None => from_json_file(path),
    }
}

/// Reads the tokenizer in `folder`, if there is one.
pub fn in_folder(folder: &Path) -> Result<Option<Tokenizer>, Error> {
    let path = folder.join("tokenizer.json");
    if path.exists() {
        return from_json_file(&path).map(Some);
    }
    for (merges, vocab) in PAIRS {
        let (merges, vocab) = (folder.join(merges), folder.join(vocab));
        if merges.exists() && vocab.exists() {
            return from_pair(&merges, &vocab).map(Some);
        }
    }
    Ok(None)
}

fn read(path: &Path) -> Result<String, Error> {
    std::fs::read_to_string(path).map_err(Error::io("read", path))
}

fn read_json(path: &Path) -> Result<Json, Error> {
    serde_json::from_str(&read(path)?).map_err(|error| {
        Error::tokenizer(format!("{} is not JSON: {error}", path.display())).caused_by(error)
    })
}

fn from_json_file(path: &Path) -> Result<Tokenizer, Error> {
    let inner = parse(read(path)?.as_bytes(), &path.display().to_string())?;
    let config: PathBuf = path.with_file_name("tokenizer_config.json");
    let config = if config.exists() { read_json(&config)? } else { Json::Null };
    // A special token is a string, or an object with a `content`.
    let token = |key: &str| {
        let value = config.get(key)?;
        value.as_str().or_else(|| value.get("content")?.as_str()).map(str::to_owned)
    };
    let template = config.get("chat_template").and_then(Json::as_str).map(str::to_owned);
    let jinja = path.with_file_name("chat_template.jinja");
    let template =
        if template.is_none() && jinja.exists() { Some(read(&jinja)?) } else { template };
    let (bos, eos) = (token("bos_token"), token("eos_token"));
    let end = eos.as_deref().and_then(|t| inner.token_to_id(t));
    let template = template
        .map(|t| Template::new(t, bos.unwrap_or_default(), eos.unwrap_or_default()))
        .transpose()?;
    Ok(Tokenizer::new(inner, None, &[end], template))
}

fn parse(json: &[u8], origin: &str) -> Result<tokenizers::Tokenizer, Error> {
    tokenizers::Tokenizer::from_bytes(json).map_err(|error| {
        Error::tokenizer(format!("{origin} is not a tokenizer that can be read: {error}"))
    })
}

/// Parses a generated `tokenizer.json`.
pub fn from_json(json: &Json) -> Result<Tokenizer, Error> {
    let inner = parse(json.to_string().as_bytes(), "the vocabulary")?;
    Ok(Tokenizer::new(inner, None, &[], None))
}

/// Reads GPT-2's files: a vocabulary in JSON, and a list of merges below a comment.
fn from_pair(merges: &Path, vocab: &Path) -> Result<Tokenizer, Error> {
    let vocab = read_json(vocab)?;
    let text = read(merges)?;
    let lines =
        text.lines().filter(|line| !line.starts_with("#version") && !line.trim().is_empty());
    let merges: Vec<&str> = lines.collect();
    let special: Vec<(u64, &str, bool)> = vocab
        .get("<|endoftext|>")
        .and_then(Json::as_u64)
        .map(|id| (id, "<|endoftext|>", true))
        .into_iter()
        .collect();
    let json = byte_level(vocab.clone(), &merges, gpt2_split(), &special);
    from_json(&json)
}

/// The `tokenizer.json` of a byte-level encoding like GPT-2's with the pre-tokenizer `split`.
fn byte_level(vocab: Json, merges: &[&str], split: Json, special: &[(u64, &str, bool)]) -> Json {
    json!({
        "version": "1.0",
        "added_tokens": added(special),
        "pre_tokenizer": split,
        "decoder": { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true },
        "model": { "type": "BPE", "vocab": vocab, "merges": merges, "ignore_merges": false },
    })
}

fn added(special: &[(u64, &str, bool)]) -> Vec<Json> {
    let token = |&(id, content, special): &(u64, &str, bool)| json!({ "id": id, "content": content, "special": special, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false });
    special.iter().map(token).collect()
}

fn bytes(use_regex: bool) -> Json {
    json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": use_regex })
}

fn gpt2_split() -> Json {
    bytes(true)
}

/// The pre-tokenizer with the name `pre` in GGUF files (llama.cpp's `tokenizer.ggml.pre`).
fn split(pre: &str) -> Option<Json> {
    let sequence = |first: Json, regex: bool| json!({ "type": "Sequence", "pretokenizers": [first, bytes(regex)] });
    // Words with an optional leading non-letter, groups of digits, runs of other characters, line
    // breaks, blanks.
    let words = |digits: &str| {
        let regex = format!(
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{digits}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
        );
        json!({ "type": "Split", "pattern": { "Regex": regex }, "behavior": "Isolated", "invert": false })
    };
    Some(match pre {
        "gpt-2" | "default" | "mpt" | "olmo" | "phi-2" => gpt2_split(),
        "smollm" | "starcoder" | "refact" | "command-r" | "codeshell" => {
            sequence(json!({ "type": "Digits", "individual_digits": true }), true)
        }
        "llama-bpe" | "llama3" | "llama-v3" | "dbrx" | "smaug-bpe" => {
            sequence(words("{1,3}"), false)
        }
        "qwen2" | "deepseek-r1-qwen" | "stablelm2" => sequence(words(""), false),
        _ => return None,
    })
}

/// The GGUF key for a complete `tokenizer.json`.
pub const WHOLE: &str = "tokenizer.huggingface.json";

/// Converts the vocabulary of a GGUF file.
pub fn from_gguf(gguf: &Gguf) -> Result<Tokenizer, Error> {
    if let Some(json) = gguf.text(WHOLE) {
        let inner = parse(json.as_bytes(), WHOLE)?;
        return Ok(Tokenizer::new(inner, None, &[], None));
    }
    let key = |name: &str| format!("tokenizer.ggml.{name}");
    let bad = |what: &str| {
        Error::tokenizer(format!("the tokenizer in the GGUF file cannot be used: {what}"))
    };
    let tokens = gguf.texts(&key("tokens")).ok_or_else(|| bad("it has no list of tokens"))?;
    let kinds = gguf.list(&key("token_type")).unwrap_or_default();
    // Type 3 is a control token, 4 a user-defined one. Both are matched before text is split.
    let special: Vec<(u64, &str, bool)> = (0u64..)
        .zip(tokens.iter().zip(kinds))
        .filter_map(|(id, (token, kind))| match kind {
            Value::Signed(3) | Value::Unsigned(3) => Some((id, *token, true)),
            Value::Signed(4) | Value::Unsigned(4) => Some((id, *token, false)),
            _ => None,
        })
        .collect();
    let mut vocab = serde_json::Map::new();
    for (id, token) in tokens.iter().enumerate() {
        vocab.insert((*token).to_owned(), id.into());
    }
    let json = match gguf.text(&key("model")) {
        Some("gpt2") => {
            let merges =
                gguf.texts(&key("merges")).ok_or_else(|| bad("it has no list of merges"))?;
            let pre = gguf.text(&key("pre")).unwrap_or("gpt-2");
            let split = split(pre).ok_or_else(|| {
                bad(&format!(
                    "its pre-tokenizer {pre:?} is not known; name a tokenizer.json instead"
                ))
            })?;
            byte_level(vocab.into(), &merges, split, &special)
        }
        Some("llama") => {
            let scores = gguf.list(&key("scores")).ok_or_else(|| bad("it has no scores"))?;
            let prefix = gguf.flag(&key("add_space_prefix")).unwrap_or(true);
            sentence_pieces(&tokens, scores, vocab.into(), prefix, &special)
        }
        Some(other) => {
            return Err(bad(&format!("its model is {other:?}; gpt2 and llama are read")));
        }
        None => return Err(bad("it has no tokenizer.ggml.model")),
    };
    let inner = parse(json.to_string().as_bytes(), "the vocabulary of the GGUF file")?;
    let id = |name: &str| gguf.unsigned(&key(name)).and_then(|id| u32::try_from(id).ok());
    let text = |id: Option<u32>| {
        id.and_then(|id| tokens.get(id as usize)).copied().unwrap_or_default().to_owned()
    };
    let (bos, eos) = (id("bos_token_id"), id("eos_token_id"));
    let is_llama = gguf.text(&key("model")) == Some("llama");
    let add_bos = gguf.flag(&key("add_bos_token")).unwrap_or(is_llama);
    let template = gguf.text("tokenizer.chat_template");
    let template =
        template.map(|t| Template::new(t.to_owned(), text(bos), text(eos))).transpose()?;
    Ok(Tokenizer::new(inner, bos.filter(|_| add_bos), &[eos, id("eot_token_id")], template))
}

/// The `tokenizer.json` of a SentencePiece encoding, which stores scores instead of merges. Any two
/// tokens that form a third may merge, in the order of the third's score.
fn sentence_pieces(
    tokens: &[&str],
    scores: &[Value],
    vocab: Json,
    prefix: bool,
    special: &[(u64, &str, bool)],
) -> Json {
    let known: HashMap<&str, f64> = tokens
        .iter()
        .zip(scores)
        .map(|(token, score)| (*token, if let Value::Float(x) = score { *x } else { 0.0 }))
        .collect();
    type Pairs<'a> = Vec<(&'a str, &'a str)>;
    let mut merges: BTreeMap<(u64, usize, usize), Pairs<'_>> = BTreeMap::new();
    for (rank, token) in by_score(tokens, &known).into_iter().enumerate() {
        for (at, _) in token.char_indices().skip(1) {
            let (left, right) = token.split_at(at);
            if known.contains_key(left) && known.contains_key(right) {
                merges
                    .entry((rank as u64, left.len(), right.len()))
                    .or_default()
                    .push((left, right));
            }
        }
    }
    let merges: Vec<[&str; 2]> = merges.into_values().flatten().map(|(l, r)| [l, r]).collect();
    let mut normalizers =
        vec![json!({ "type": "Replace", "pattern": { "String": " " }, "content": "▁" })];
    let mut decoders = vec![
        json!({ "type": "Replace", "pattern": { "String": "▁" }, "content": " " }),
        json!({ "type": "ByteFallback" }),
        json!({ "type": "Fuse" }),
    ];
    if prefix {
        normalizers.insert(0, json!({ "type": "Prepend", "prepend": "▁" }));
        decoders.push(json!({ "type": "Strip", "content": " ", "start": 1, "stop": 0 }));
    }
    json!({
        "version": "1.0",
        "added_tokens": added(special),
        "normalizer": { "type": "Sequence", "normalizers": normalizers },
        "decoder": { "type": "Sequence", "decoders": decoders },
        "model": { "type": "BPE", "vocab": vocab, "merges": merges, "byte_fallback": true, "fuse_unk": true, "unk_token": "<unk>" },
    })
}

fn by_score<'a>(tokens: &[&'a str], scores: &HashMap<&str, f64>) -> Vec<&'a str> {
    let mut sorted = tokens.to_vec();
    sorted.sort_by(|a, b| scores.get(b).unwrap_or(&0.0).total_cmp(scores.get(a).unwrap_or(&0.0)));
    sorted
}
