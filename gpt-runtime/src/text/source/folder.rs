//! A tokenizer in the files of a folder: `tokenizer.json`, or the vocabulary and the merges of a
//! byte pair encoding. The files beside it say what ends a text, and have the chat templates.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use super::{Source, Tokenizer, added_token, byte_pairs, parse, pre_tokenizers};
use crate::text::chat::Templates;
use crate::{Error, files};

/// The files of a byte pair encoding: merges and vocabulary.
const PAIRS: [(&str, &str); 2] = [("vocab.bpe", "encoder.json"), ("merges.txt", "vocab.json")];

/// The names of special tokens in `tokenizer_config.json` and in chat templates.
const SPECIAL: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token"];

/// Reads `path`, a `tokenizer.json` or one of the files of a byte pair encoding.
pub fn from_file(path: &Path) -> Result<Tokenizer, Error> {
    let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    let folder = path.parent().unwrap_or(Path::new("."));
    let config = optional(&folder.join("tokenizer_config.json"))?;
    let inner = match PAIRS.iter().find(|(merges, vocab)| name == *merges || name == *vocab) {
        Some((merges, vocab)) => pair(folder, merges, vocab, &config)?,
        None => parse(files::read_text(path)?.as_bytes(), &path.display().to_string())?,
    };
    Tokenizer::new(beside(folder, &config, inner)?)
}

/// Reads the tokenizer in `folder`, if there is one.
pub fn in_folder(folder: &Path) -> Result<Option<Tokenizer>, Error> {
    let path = folder.join("tokenizer.json");
    if path.exists() {
        return from_file(&path).map(Some);
    }
    for (merges, vocab) in PAIRS {
        let (merges, vocab) = (folder.join(merges), folder.join(vocab));
        if merges.exists() && vocab.exists() {
            return from_file(&merges).map(Some);
        }
    }
    Ok(None)
}

fn read_json(path: &Path) -> Result<Json, Error> {
    serde_json::from_str(&files::read_text(path)?).map_err(|error| {
        Error::tokenizer(format!("{} is not JSON: {error}", path.display())).caused_by(error)
    })
}

/// The JSON in a file, or null without one.
fn optional(path: &Path) -> Result<Json, Error> {
    if path.exists() { read_json(path) } else { Ok(Json::Null) }
}

/// Reads a vocabulary in JSON, and a list of merges below a comment. These files do not say how
/// text is cut into words; `tokenizer_config.json` names the class that does.
fn pair(
    folder: &Path,
    merges: &str,
    vocab: &str,
    config: &Json,
) -> Result<tokenizers::Tokenizer, Error> {
    let class = config.get("tokenizer_class").and_then(Json::as_str).unwrap_or("GPT2Tokenizer");
    let row = match class.strip_suffix("Fast").unwrap_or(class) {
        "GPT2Tokenizer" | "CodeGenTokenizer" => "gpt-2",
        "Qwen2Tokenizer" => "qwen2",
        _ => {
            return Err(Error::tokenizer(format!(
                "{} is the vocabulary of a {class}, which can only be read from a tokenizer.json; save one beside it",
                folder.join(vocab).display()
            )));
        }
    };
    let row = pre_tokenizers::find(row).expect("a row of the table");
    let mut vocab = read_json(&folder.join(vocab))?;
    let text = files::read_text(&folder.join(merges))?;
    let lines =
        text.lines().filter(|line| !line.starts_with("#version") && !line.trim().is_empty());
    let merges: Vec<&str> = lines.collect();
    let added = added(folder, config, &vocab)?;
    if let Some(vocab) = vocab.as_object_mut() {
        // The crate would not keep the ids of tokens outside the vocabulary.
        let name =
            |token: &Json| Some((token["content"].as_str()?.to_owned(), token["id"].clone()));
        vocab.extend(added.iter().filter_map(name));
    }
    let json = byte_pairs(vocab, &merges, row, added);
    parse(json.to_string().as_bytes(), "the vocabulary")
}

/// The added tokens of a vocabulary: GPT-2's end of a text, and those of `added_tokens.json` and of
/// `tokenizer_config.json`. If several have the same id, the last of this list is kept.
fn added(folder: &Path, config: &Json, vocab: &Json) -> Result<Vec<Json>, Error> {
    const END: &str = "<|endoftext|>";
    let mut added = BTreeMap::new();
    if let Some(id) = vocab.get(END).and_then(Json::as_u64) {
        added.insert(id, added_token(id as usize, END, true));
    }
    let listed = optional(&folder.join("added_tokens.json"))?;
    for (name, id) in listed.as_object().into_iter().flatten() {
        if let Some(id) = id.as_u64() {
            added.insert(id, added_token(id as usize, name, true));
        }
    }
    let decoder = config.get("added_tokens_decoder").and_then(Json::as_object);
    for (id, token) in decoder.into_iter().flatten() {
        if let (Ok(id), Some(name)) = (id.parse(), token.get("content").and_then(Json::as_str)) {
            let mut json = added_token(id as usize, name, false);
            for flag in ["special", "single_word", "lstrip", "rstrip", "normalized"] {
                json[flag] = token.get(flag).is_some_and(|value| value == true).into();
            }
            added.insert(id, json);
        }
    }
    Ok(added.into_values().collect())
}

/// Adds to `inner` what the other files of the folder say.
fn beside(folder: &Path, config: &Json, inner: tokenizers::Tokenizer) -> Result<Source, Error> {
    let mut source = with_config(config, inner);
    for name in ["config.json", "generation_config.json"] {
        source.stop_ids.extend(stop_ids(&optional(&folder.join(name))?));
    }
    source.templates = templates(folder, config)?;
    let is_mask = |(name, _): &(String, String)| name == "mask_token";
    if !source.special_tokens.iter().any(is_mask) {
        // Older files have special tokens in a file of their own.
        let map = optional(&folder.join("special_tokens_map.json"))?;
        source.special_tokens.extend(special_tokens(&map).into_iter().filter(is_mask));
    }
    Ok(source)
}

/// Adds the special tokens that a `tokenizer_config.json` names, and whether a text begins with
/// BOS.
pub fn with_config(config: &Json, inner: tokenizers::Tokenizer) -> Source {
    let tokens = special_tokens(config);
    let eos = tokens.iter().find(|(name, _)| name == "eos_token");
    Source {
        stop_ids: eos.and_then(|(_, token)| inner.token_to_id(token)).into_iter().collect(),
        special_tokens: tokens,
        templates: Templates::default(),
        adds_bos: config.get("add_bos_token").and_then(Json::as_bool),
        inner,
    }
}

/// The special tokens in a `tokenizer_config.json` or `special_tokens_map.json`: strings, or
/// objects with a `content`.
fn special_tokens(config: &Json) -> Vec<(String, String)> {
    let token = |key: &&str| {
        let value = config.get(key)?;
        let text = value.as_str().or_else(|| value.get("content")?.as_str())?;
        Some(((*key).to_owned(), text.to_owned()))
    };
    SPECIAL.iter().filter_map(token).collect()
}

/// The tokens that end a text, according to a `config.json` or `generation_config.json`.
pub fn stop_ids(config: &Json) -> Vec<u32> {
    let ids = match config.get("eos_token_id") {
        Some(Json::Array(list)) => list.as_slice(),
        Some(id) => std::slice::from_ref(id),
        None => &[],
    };
    ids.iter().filter_map(|id| u32::try_from(id.as_u64()?).ok()).collect()
}

/// The names and files of the chat templates beside the default one.
pub fn additional_templates(folder: &Path) -> Result<Vec<(String, PathBuf)>, Error> {
    let more = folder.join("additional_chat_templates");
    let mut templates = Vec::new();
    if more.is_dir() {
        let entries = std::fs::read_dir(&more).map_err(Error::io("read", &more))?;
        for entry in entries {
            let path = entry.map_err(Error::io("read", &more))?.path();
            let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
            if let Some(name) = name.strip_suffix(".jinja") {
                templates.push((name.to_owned(), path));
            }
        }
    }
    Ok(templates)
}

/// The chat templates. As in transformers, the file `chat_template.jinja` is preferred to a
/// template in `tokenizer_config.json`. Without both, `chat_template.json` is read. In these JSON
/// files, templates may be a list with names.
fn templates(folder: &Path, config: &Json) -> Result<Templates, Error> {
    let mut templates = Vec::new();
    for (name, path) in additional_templates(folder)? {
        templates.push((name, files::read_text(&path)?));
    }
    let jinja = folder.join("chat_template.jinja");
    if jinja.exists() {
        templates.push(("default".to_owned(), files::read_text(&jinja)?));
        return Ok(Templates(templates));
    }
    let of_processor = optional(&folder.join("chat_template.json"))?;
    let configs = [config, &of_processor];
    let found = configs.iter().find_map(|json| json.get("chat_template").filter(|t| !t.is_null()));
    match found {
        Some(Json::String(template)) => templates.push(("default".to_owned(), template.clone())),
        Some(Json::Array(list)) => {
            let text = |json: &Json, key: &str| json.get(key)?.as_str().map(str::to_owned);
            let named = list.iter();
            templates.extend(named.filter_map(|t| Some((text(t, "name")?, text(t, "template")?))));
        }
        _ => {}
    }
    Ok(Templates(templates))
}
