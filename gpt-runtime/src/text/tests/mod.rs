//! Tokenizers from all kinds of sources, with vocabularies small enough to check by hand.

mod beside;
mod conversations;
pub mod fixtures;
mod gguf;
mod streams;
mod to_gguf;

use std::path::Path;

use super::*;

/// GPT-2's 256 byte tokens, then some merges.
fn vocabulary(
    merges: &[(&str, &str)],
) -> (serde_json::Map<String, serde_json::Value>, Vec<String>) {
    let printable = |b: u8| matches!(b, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    let mut others = 0x100;
    let mut vocab = serde_json::Map::new();
    for b in 0..=255u8 {
        let c = if printable(b) {
            char::from(b)
        } else {
            others += 1;
            char::from_u32(others - 1).unwrap()
        };
        vocab.insert(c.to_string(), b.into());
    }
    for (a, b) in merges {
        vocab.insert(format!("{a}{b}"), vocab.len().into());
    }
    vocab.insert("<|endoftext|>".to_owned(), vocab.len().into());
    (vocab, merges.iter().map(|(a, b)| format!("{a} {b}")).collect())
}

fn write_pair(folder: &Path) {
    let (vocab, merges) = vocabulary(&[("h", "e"), ("l", "l"), ("he", "ll"), ("Ġ", "w")]);
    std::fs::write(folder.join("encoder.json"), serde_json::Value::from(vocab).to_string())
        .unwrap();
    std::fs::write(folder.join("vocab.bpe"), format!("#version: 0.2\n{}\n", merges.join("\n")))
        .unwrap();
}

#[test]
fn gpt2s_two_files() {
    let folder = tempfile::tempdir().unwrap();
    assert!(
        Tokenizer::of_weights(&folder.path().join("model.safetensors"), None).unwrap().is_none()
    );
    write_pair(folder.path());
    for path in [
        folder.path().to_owned(),
        folder.path().join("vocab.bpe"),
        folder.path().join("encoder.json"),
    ] {
        let tokenizer = Tokenizer::from_path(&path).unwrap();
        let ids = tokenizer.encode("hello world").unwrap();
        assert_eq!(
            ids,
            [
                258,
                u32::from(b'o'),
                259,
                u32::from(b'o'),
                u32::from(b'r'),
                u32::from(b'l'),
                u32::from(b'd')
            ]
        );
        assert_eq!(tokenizer.decode(&ids).unwrap(), "hello world");
        assert_eq!(tokenizer.encode("a<|endoftext|>").unwrap(), [97, 260]);
        assert_eq!((tokenizer.stop_ids(), tokenizer.vocab()), (&[260][..], 261));
        assert!(tokenizer.check_vocab(261).is_ok());
        let error = tokenizer.check_vocab(260).unwrap_err().to_string();
        assert!(
            error.contains("tokens up to 260") && error.contains("has 260 (0..=259)"),
            "{error}"
        );
    }
}

/// A token that the normalizer removes would be found at every byte of a text.
#[test]
fn an_added_token_that_vanishes_is_refused() {
    let json = |normalized: bool| {
        let added = serde_json::json!({ "id": 1, "content": "\n", "special": false,
            "single_word": false, "lstrip": false, "rstrip": false, "normalized": normalized });
        serde_json::json!({ "added_tokens": [added],
            "normalizer": { "type": "Strip", "strip_left": true, "strip_right": false },
            "model": { "type": "BPE", "vocab": { "é": 0, "\n": 1 }, "merges": [] } })
    };
    assert_eq!(source::from_json(&json(false)).unwrap().encode("é\né").unwrap(), [0, 1, 0]);
    let error = source::from_json(&json(true)).err().unwrap().to_string();
    assert!(error.ends_with("leaves nothing of the added token \"\\n\""), "{error}");
}

#[test]
fn characters_that_span_tokens_are_streamed_whole() {
    let folder = tempfile::tempdir().unwrap();
    write_pair(folder.path());
    let tokenizer = Tokenizer::from_path(folder.path()).unwrap();
    let text = "é🦀 hell";
    let ids = tokenizer.encode(text).unwrap();
    let prompt = tokenizer.encode("x").unwrap();
    let mut stream = tokenizer.stream(&prompt);
    let pieces: Vec<String> = ids.iter().map(|&id| stream.push(id)).collect();
    assert_eq!(pieces, ["", "é", "", "", "", "🦀", " ", "hell"]);
    // An incomplete character is U+FFFD at the end, and does not hold back the text after it.
    assert_eq!(stream.push(0xF0), "");
    assert_eq!(stream.flush(), "\u{FFFD}");
    let mut stream = tokenizer.stream(&[]);
    let all: String = [0xF0, 97, 98].iter().map(|&id| stream.push(id)).collect();
    assert_eq!(all, "\u{FFFD}ab");
}

#[test]
fn a_token_has_bytes() {
    let folder = tempfile::tempdir().unwrap();
    write_pair(folder.path());
    let tokenizer = Tokenizer::from_path(folder.path()).unwrap();
    for byte in 0..=255 {
        assert_eq!(tokenizer.token_bytes(byte.into()), Some(vec![byte]));
    }
    let bytes = |text: &str| Some(text.as_bytes().to_vec());
    assert_eq!(tokenizer.token_bytes(258), bytes("hell"));
    assert_eq!(tokenizer.token_bytes(259), bytes(" w"));
    assert_eq!(tokenizer.token_bytes(260), bytes("<|endoftext|>"));
    assert_eq!(tokenizer.token_bytes(261), None);

    let tokenizer = Tokenizer::characters("é \u{FFFD}").unwrap();
    assert_eq!(tokenizer.token_bytes(0), bytes(" "));
    assert_eq!(tokenizer.token_bytes(1), bytes("é"));
    assert_eq!(tokenizer.token_bytes(2), bytes("\u{FFFD}"));
}

#[test]
fn invalid_files_are_rejected() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokenizer.json");
    let error =
        |path: &Path| Tokenizer::from_path(path).err().expect("an invalid tokenizer").to_string();
    assert!(error(folder.path()).contains("has no tokenizer.json"));
    assert!(error(&path).contains("cannot read"));
    std::fs::write(&path, "{}").unwrap();
    assert!(error(&path).contains("is not a tokenizer that can be read"), "{}", error(&path));
}
