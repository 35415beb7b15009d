//! WordPiece vocabularies in GGUF files (`bert`).
//!
//! The file marks tokens that begin a word with `▁`; `tokenizer.json` marks those that continue one
//! with `##`. The file does not say whether the model distinguishes upper from lower case. If no
//! token has an upper-case letter, the model is taken to ignore case.

use serde_json::{Value as Json, json};

use super::gguf::{Kind, Vocabulary};

/// The `tokenizer.json` of a vocabulary.
pub fn json(vocabulary: &Vocabulary<'_>) -> Json {
    let mut vocab = serde_json::Map::new();
    let mut cased = false;
    for (id, token) in vocabulary.tokens.iter().enumerate() {
        let name = match (vocabulary.kind(id), token.strip_prefix('▁')) {
            (Kind::Normal, Some(word)) => word.to_owned(),
            (Kind::Normal, None) => format!("##{token}"),
            _ => (*token).to_owned(),
        };
        let is_word = vocabulary.kind(id) == Kind::Normal && !name.starts_with('[');
        cased |= is_word && name.to_lowercase() != name;
        vocab.insert(name, id.into());
    }
    let unknown = vocabulary.unknown.and_then(|id| vocabulary.tokens.get(id as usize));
    json!({
        "version": "1.0",
        "added_tokens": vocabulary.added(' '),
        "normalizer": { "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null, "lowercase": !cased },
        "pre_tokenizer": { "type": "BertPreTokenizer" },
        "decoder": { "type": "WordPiece", "prefix": "##", "cleanup": true },
        "model": { "type": "WordPiece", "vocab": vocab, "unk_token": unknown.unwrap_or(&"[UNK]"), "continuing_subword_prefix": "##", "max_input_chars_per_word": 100 },
    })
}
