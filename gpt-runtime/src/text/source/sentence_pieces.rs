//! SentencePiece vocabularies in GGUF files (`llama`).
//!
//! The file has a score for each token, and no merges. Any two tokens that form a third may merge,
//! and the pair whose third token has the best score merges first. The `tokenizers` crate needs
//! ranked merges. They are ranked as in `transformers`: by score, then by the lengths of the left
//! and of the right token, the longest first.

use std::collections::HashMap;

use serde_json::{Value as Json, json};

use super::gguf::{Kind, Vocabulary};

/// The most characters of a token; a file with a longer one is refused.
const LONGEST: usize = 512;

/// The `tokenizer.json` of a vocabulary with `scores`. A blank precedes a text if `prefix`.
pub fn json(vocabulary: &Vocabulary<'_>, scores: &[f64], prefix: bool) -> Result<Json, String> {
    let pieces: Vec<String> =
        vocabulary.tokens.iter().map(|token| token.replace(' ', "▁")).collect();
    let score = |id: usize| match vocabulary.kind(id) {
        // Tokens that a user has defined are found before all others.
        Kind::UserDefined => f64::INFINITY,
        _ => scores.get(id).copied().unwrap_or(0.0),
    };
    let merges = merges(&pieces, score)?;
    let vocab: serde_json::Map<String, Json> =
        pieces.iter().enumerate().map(|(id, piece)| (piece.clone(), id.into())).collect();
    let unknown = vocabulary.unknown.and_then(|id| pieces.get(id as usize));
    let mut json = spaced(prefix);
    json["added_tokens"] = vocabulary.added('▁').into();
    json["model"] = json!({
        "type": "BPE", "vocab": vocab, "merges": merges, "byte_fallback": true, "fuse_unk": true, "unk_token": unknown,
    });
    Ok(json)
}

/// The normalizer and the decoder of all encodings that write a blank as `▁`.
pub fn spaced(prefix: bool) -> Json {
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
        "normalizer": { "type": "Sequence", "normalizers": normalizers },
        "decoder": { "type": "Sequence", "decoders": decoders },
    })
}

/// All pairs of `pieces` that form another of `pieces`, the best first.
pub fn merges(pieces: &[String], score: impl Fn(usize) -> f64) -> Result<Vec<[&str; 2]>, String> {
    let ids: HashMap<&str, usize> =
        pieces.iter().enumerate().map(|(id, piece)| (piece.as_str(), id)).collect();
    struct Merge {
        id: usize,
        score: f64,
        lengths: [usize; 2],
        parts: [usize; 2],
    }
    let mut merges = Vec::new();
    for (id, piece) in pieces.iter().enumerate() {
        let length = piece.chars().count();
        if length > LONGEST {
            return Err(format!("its token {id} has {length} characters, more than {LONGEST}"));
        }
        for (left, (at, _)) in piece.char_indices().enumerate().skip(1) {
            if let (Some(&a), Some(&b)) = (ids.get(&piece[..at]), ids.get(&piece[at..])) {
                let lengths = [left, length - left];
                merges.push(Merge { id, score: score(id), lengths, parts: [a, b] });
            }
        }
    }
    merges.sort_by(|a, b| {
        let best = b.score.total_cmp(&a.score).then(b.lengths.cmp(&a.lengths));
        best.then(a.id.cmp(&b.id)).then(a.parts.cmp(&b.parts))
    });
    Ok(merges.iter().map(|merge| merge.parts.map(|id| pieces[id].as_str())).collect())
}
