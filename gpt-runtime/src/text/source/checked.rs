//! Checks what the `tokenizers` crate takes on trust.
//!
//! For some damaged files it panics, reads beyond a table, or allocates without a bound. These are
//! refused here before the crate sees them: a table of characters (`Precompiled`) with steps beyond
//! its end, expressions that grow when they are compiled or whose empty matches are replaced,
//! chunks of length 0, a template that names a token or a text that is not there, ids far beyond
//! the number of tokens, and merges without the prefix that they should have.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fancy_regex::{Expr, RegexBuilder};
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value as Json;

/// The parts of a `tokenizer.json` that are checked. Of the vocabulary, which is long, only the
/// greatest id is kept.
#[derive(Deserialize)]
struct Parts {
    #[serde(default)]
    normalizer: Json,
    #[serde(default)]
    pre_tokenizer: Json,
    #[serde(default)]
    post_processor: Json,
    #[serde(default)]
    decoder: Json,
    model: Model,
}

#[derive(Deserialize)]
struct Model {
    #[serde(default)]
    continuing_subword_prefix: Option<String>,
    #[serde(default)]
    vocab: Ids,
}

/// The greatest id of a vocabulary that maps tokens to ids; 0 for a list.
#[derive(Default)]
struct Ids {
    greatest: u64,
}

impl<'de> Deserialize<'de> for Ids {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Ids, D::Error> {
        deserializer.deserialize_any(Ids::default())
    }
}

impl<'de> Visitor<'de> for Ids {
    type Value = Ids;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a vocabulary")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Ids, A::Error> {
        while let Some((IgnoredAny, id)) = map.next_entry::<IgnoredAny, u64>()? {
            self.greatest = self.greatest.max(id);
        }
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Ids, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(self)
    }
}

/// The part that is read only if the prefix of a model is not empty.
#[derive(Deserialize)]
struct Merges {
    model: ModelWithMerges,
}

#[derive(Deserialize)]
struct ModelWithMerges {
    #[serde(default)]
    merges: Vec<Merge>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Merge {
    Pair((IgnoredAny, String)),
    Line(String),
}

/// The most bytes of a compiled expression. The expressions of all families take less than a tenth
/// of this.
const LARGEST_EXPRESSION: usize = 1 << 20;

/// The most parts of an expression with its repetitions written out: `\p{N}{1,3}` has `\p{N}` three
/// times. One family has white space 512 times.
const MOST_PARTS: usize = 2000;

/// Ids have to be below this or below the number of bytes of the file, because the crate allocates
/// a table of ids.
const GREATEST_ID: u64 = 1 << 20;

/// Checks a `tokenizer.json`. The text of an error completes the sentence "... is not a tokenizer
/// that can be read: ..".
pub fn check(json: &[u8]) -> Result<(), String> {
    let parts: Parts = serde_json::from_slice(json).map_err(|error| error.to_string())?;
    objects(&parts.normalizer, &mut |object| match object.get("precompiled_charsmap") {
        Some(table) => characters(table),
        None if object.get("type").is_some_and(|kind| kind == "Precompiled") => {
            Err("its normalizer Precompiled has no precompiled_charsmap".to_owned())
        }
        None => Ok(()),
    })?;
    for part in [&parts.normalizer, &parts.pre_tokenizer, &parts.decoder] {
        objects(part, &mut |object| match object.get("Regex") {
            Some(Json::String(pattern)) => expression(pattern),
            _ => Ok(()),
        })?;
    }
    objects(&parts.normalizer, &mut |object| match object.get("Regex") {
        Some(Json::String(pattern)) => replaces(pattern),
        _ => Ok(()),
    })?;
    objects(&parts.pre_tokenizer, &mut |object| match object.get("length") {
        Some(length) if length == 0 => Err("it splits text into chunks of length 0".to_owned()),
        _ => Ok(()),
    })?;
    objects(&parts.post_processor, &mut template)?;
    let greatest = parts.model.vocab.greatest;
    if greatest >= GREATEST_ID.max(json.len() as u64) {
        return Err(format!("its vocabulary has the id {greatest}, but fewer tokens"));
    }
    match parts.model.continuing_subword_prefix {
        Some(prefix) if !prefix.is_empty() => merges(json, &prefix),
        _ => Ok(()),
    }
}

/// Calls `check` for each object in `json`.
fn objects(
    json: &Json,
    check: &mut impl FnMut(&serde_json::Map<String, Json>) -> Result<(), String>,
) -> Result<(), String> {
    match json {
        Json::Array(list) => list.iter().try_for_each(|json| objects(json, check)),
        Json::Object(object) => {
            check(object)?;
            object.values().try_for_each(|json| objects(json, check))
        }
        _ => Ok(()),
    }
}

/// Checks an expression. The limits of the regex engine are far above what a vocabulary needs, and
/// it writes out repetitions of repetitions before any limit applies.
fn expression(pattern: &str) -> Result<(), String> {
    let unreadable = |error: fancy_regex::Error| {
        format!("its expression {pattern:?} cannot be compiled: {error}")
    };
    let tree = Expr::parse_tree(pattern).map_err(unreadable)?;
    if parts_of(&tree.expr) > MOST_PARTS {
        return Err(format!("its expression {pattern:?} has more than {MOST_PARTS} parts"));
    }
    let compiled = RegexBuilder::new(pattern)
        .delegate_size_limit(LARGEST_EXPRESSION)
        .delegate_dfa_size_limit(LARGEST_EXPRESSION)
        .build();
    compiled.map(drop).map_err(unreadable)
}

/// Checks that an expression whose matches are replaced does not match an empty text: the crate
/// looks for the character after the end.
fn replaces(pattern: &str) -> Result<(), String> {
    match fancy_regex::Regex::new(pattern).and_then(|regex| regex.is_match("")) {
        Ok(false) => Ok(()),
        _ => Err(format!("its normalizer replaces {pattern:?}, which matches an empty text")),
    }
}

/// The parts of an expression with its repetitions written out.
fn parts_of(expression: &Expr) -> usize {
    let of_all = |list: &[Expr]| list.iter().map(parts_of).fold(1, usize::saturating_add);
    match expression {
        Expr::Concat(list) | Expr::Alt(list) => of_all(list),
        Expr::Group(inner) | Expr::LookAround(inner, _) | Expr::AtomicGroup(inner) => {
            parts_of(inner).saturating_add(1)
        }
        Expr::Repeat { child, lo, hi, .. } => {
            let times = if *hi == usize::MAX { *lo } else { *hi };
            parts_of(child).saturating_mul(times.max(1)).saturating_add(1)
        }
        Expr::Conditional { condition, true_branch, false_branch } => {
            [condition, true_branch, false_branch]
                .into_iter()
                .fold(1, |sum, branch| sum.saturating_add(parts_of(branch)))
        }
        _ => 1,
    }
}

/// Checks SentencePiece's table of characters: the length of a trie, its units, then texts that end
/// with a zero. The trie is a double array (Aoe 1989), as in the library Darts. No text may lead to
/// a unit beyond the end, or to a place within a character.
fn characters(table: &Json) -> Result<(), String> {
    let damaged = |what: &str| format!("its precompiled_charsmap {what}");
    let text = table.as_str().ok_or_else(|| damaged("is not a text"))?;
    let bytes =
        STANDARD.decode(text).map_err(|error| damaged(&format!("is not base64: {error}")))?;
    let (length, rest) = bytes.split_first_chunk().ok_or_else(|| damaged("is too short"))?;
    let length = u32::from_le_bytes(*length) as usize;
    let (units, rest) =
        rest.split_at_checked(length / 4 * 4).ok_or_else(|| damaged("is shorter than its trie"))?;
    let texts = std::str::from_utf8(rest).map_err(|_| damaged("has texts that are not UTF-8"))?;
    let units: Vec<u32> =
        units.as_chunks().0.iter().map(|unit| u32::from_le_bytes(*unit)).collect();
    let root = *units.first().ok_or_else(|| damaged("has no trie"))?;
    let offset = |unit: u32| (unit >> 10 << ((unit & 1 << 9) >> 6)) as usize;
    let mut seen = vec![false; units.len()];
    // Places whose children are still to be visited.
    let mut left = vec![offset(root)];
    while let Some(place) = left.pop() {
        if place | 0xFF >= units.len() {
            return Err(damaged("has a step beyond the end of its trie"));
        }
        for byte in 1..=0xFF_u32 {
            let at = place ^ byte as usize;
            let unit = units[at];
            if unit & (1 << 31 | 0xFF) != byte || std::mem::replace(&mut seen[at], true) {
                continue;
            }
            let next = at ^ offset(unit);
            if unit & 1 << 8 != 0 {
                let value = units.get(next).map(|unit| (unit & !(1 << 31)) as usize);
                if value.is_none_or(|value| !texts.is_char_boundary(value)) {
                    return Err(damaged("has a value beyond its texts"));
                }
            }
            left.push(next);
        }
    }
    Ok(())
}

/// Checks that a template for one text names only that text, and only tokens that it defines.
fn template(object: &serde_json::Map<String, Json>) -> Result<(), String> {
    let Some(single) = object.get("single") else { return Ok(()) };
    let token = |id: &Json| object.get("special_tokens")?.get(id.as_str()?)?.as_object();
    for piece in single.as_array().into_iter().flatten() {
        let text = piece.get("Sequence").and_then(|piece| piece.get("id"));
        let named = piece.get("SpecialToken").and_then(|piece| piece.get("id"));
        match (text, named) {
            (Some(text), None) if text == "A" => {}
            (None, Some(id)) if token(id).is_some() => {}
            _ => return Err(format!("its template has {piece}, which it cannot fill in")),
        }
    }
    Ok(())
}

/// Checks that the second token of each merge has the prefix of tokens that continue a word.
fn merges(json: &[u8], prefix: &str) -> Result<(), String> {
    let whole: Merges = serde_json::from_slice(json).map_err(|error| error.to_string())?;
    let without = whole.model.merges.iter().find_map(|merge| {
        let second = match merge {
            Merge::Pair((_, second)) => second,
            Merge::Line(line) => line.split_once(' ')?.1,
        };
        (!second.starts_with(prefix)).then_some(second)
    });
    match without {
        Some(token) => {
            Err(format!("its merges have {token:?}, which does not begin with {prefix:?}"))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A table of `units` and `texts`, filled up to 256 units.
    fn table(units: &[u32], texts: &[u8]) -> String {
        let mut bytes = 1024_u32.to_le_bytes().to_vec();
        let filled = units.iter().copied().chain(std::iter::repeat(0)).take(256);
        bytes.extend(filled.flat_map(u32::to_le_bytes));
        bytes.extend(texts);
        STANDARD.encode(bytes)
    }

    /// The error of a tokenizer with `part`.
    fn error(key: &str, part: Json) -> String {
        let mut json = json!({ "model": { "type": "BPE", "vocab": {}, "merges": [] } });
        json[key] = part;
        check(json.to_string().as_bytes()).err().unwrap_or_default()
    }

    #[test]
    fn a_table_of_characters_stays_within_its_bounds() {
        let precompiled = |charsmap: Json| {
            let normalizer = json!({ "type": "Precompiled", "precompiled_charsmap": charsmap });
            error("normalizer", json!({ "type": "Sequence", "normalizers": [normalizer] }))
        };
        let (root, child) = (0x60 << 10, 3 << 10 | 1 << 8 | u32::from(b'a'));
        let good = table(&[root, child], b"b\0");
        assert_eq!(precompiled(good.into()), "");
        for (charsmap, part) in [
            (Json::Null, "is not a text"),
            ("(".into(), "is not base64"),
            ("AAAA".into(), "is too short"),
            // Four gigabytes of units.
            ("/////w==".into(), "is shorter than its trie"),
            (table(&[root, child], b"\xFF").into(), "not UTF-8"),
            (table(&[0x160 << 10, child], b"b\0").into(), "a step beyond"),
            (table(&[root, child, 3], b"b\0").into(), "a value beyond"),
            (table(&[root, child, 1], "\u{e9}\0".as_bytes()).into(), "a value beyond"),
            (table(&[root, 0x200 << 10 | 1 << 8 | 0x61], b"b\0").into(), "a value beyond"),
        ] {
            let error = precompiled(charsmap);
            assert!(error.contains(part), "{part}: {error}");
        }
        assert!(error("normalizer", json!({ "type": "Precompiled" })).contains("has no"));
    }

    #[test]
    fn expressions_do_not_grow() {
        let split = |pattern: &str| {
            error("pre_tokenizer", json!({ "type": "Split", "pattern": { "Regex": pattern } }))
        };
        for pattern in [
            r"\s{512}(?!\S)|\s{256}(?!\S)",
            r"\p{N}{1,3}| {2,}|\x{41}",
            r"(?i:'s|'t)|\s+(?!\S)",
            "a{,7}{}",
        ] {
            assert_eq!(split(pattern), "");
        }
        for pattern in ["(?:(?:ab){1000}){1000}", "a{99999999}", "(?:x{40}){60,}"] {
            assert!(split(pattern).contains("more than 2000 parts"), "{pattern}");
        }
        for pattern in [r"(?:\pL\pL\pL\pL){200}", "("] {
            assert!(split(pattern).contains("cannot be compiled"), "{pattern}");
        }
    }

    #[test]
    fn templates_and_merges_name_what_is_there() {
        let ends = |single: Json| {
            let tokens = json!({ "<s>": { "id": "<s>", "ids": [0], "tokens": ["<s>"] } });
            error("post_processor", json!({ "single": single, "special_tokens": tokens }))
        };
        let token = |id: &str| json!({ "SpecialToken": { "id": id, "type_id": 0 } });
        let text = |id: &str| json!({ "Sequence": { "id": id, "type_id": 0 } });
        assert_eq!(ends(json!([token("<s>"), text("A")])), "");
        assert!(ends(json!([token("</s>"), text("A")])).contains("cannot fill in"));
        assert!(ends(json!([text("B")])).contains("cannot fill in"));

        assert!(error("pre_tokenizer", json!({ "length": 0 })).contains("length 0"));
        let vocab = |id: u64| error("model", json!({ "vocab": { "a": 0, "b": id } }));
        assert_eq!(vocab(1_000_000), "");
        assert!(vocab(u64::from(u32::MAX)).contains("the id 4294967295"));

        let model = |merges: Json| {
            error("model", json!({ "continuing_subword_prefix": "##", "merges": merges }))
        };
        assert_eq!(model(json!([["a", "##b"], "a ##c"])), "");
        assert!(model(json!([["a", "b"]])).contains("does not begin with"));
        assert!(model(json!(["a \u{e9}"])).contains("does not begin with"));
    }
}
