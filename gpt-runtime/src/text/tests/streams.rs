//! A stream gives the same text as decoding all tokens at once, for every kind of decoder.

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::fixtures::{lines, tokenizer};
use super::*;

/// A tokenizer with `decoder`, and words of one token each.
fn with_decoder(decoder: &Json, tokens: &[&str]) -> Tokenizer {
    let vocab: serde_json::Map<String, Json> =
        (0..).zip(tokens).map(|(id, token): (u32, _)| ((*token).to_owned(), id.into())).collect();
    source::from_json(&json!({
        "version": "1.0", "added_tokens": [], "decoder": decoder,
        "model": { "type": "WordLevel", "vocab": vocab, "unk_token": tokens[0] },
    }))
    .unwrap()
}

/// Tokenizers of every kind, by name.
fn kinds() -> Vec<(&'static str, Tokenizer)> {
    let strip = |start: u32, stop: u32| json!({ "type": "Strip", "content": "_", "start": start, "stop": stop });
    let sequence = |decoders: &[Json]| json!({ "type": "Sequence", "decoders": decoders });
    let fuse = || json!({ "type": "Fuse" });
    let replace = |from: &str, to: &str| json!({ "type": "Replace", "pattern": { "String": from }, "content": to });
    let tokens = ["a", "_", "__b", "c__", "_d_", "___", "ab", "é", "</w>", "x</w>", "y</w>z</w>"];
    let metaspace = |scheme: &str| json!({ "type": "Metaspace", "replacement": "_", "prepend_scheme": scheme, "split": true });
    let mut kinds: Vec<(&str, Tokenizer)> = ["llama", "gemma", "bert", "gpt1", "unigram"]
        .into_iter()
        .map(|name| (name, tokenizer(name)))
        .collect();
    let text = lines().concat();
    kinds.push(("characters", Tokenizer::characters(&text).unwrap()));
    kinds.push(("byte pairs", Tokenizer::byte_pairs(&text, 600).unwrap()));
    for (name, decoder) in [
        ("none", Json::Null),
        ("strips the beginning of each", strip(2, 0)),
        ("strips the end of each", strip(0, 1)),
        ("fuses and strips", sequence(&[fuse(), strip(2, 0)])),
        ("fuses and strips the end", sequence(&[fuse(), strip(0, 1)])),
        ("replaces", sequence(&[replace("_", " "), fuse(), replace("a", "")])),
        ("metaspace", metaspace("first")),
        ("metaspace within", metaspace("never")),
        ("replaces across tokens", sequence(&[fuse(), replace("ab", "c")])),
        (
            "ctc",
            json!({ "type": "CTC", "pad_token": "a", "word_delimiter_token": "_", "cleanup": true }),
        ),
        ("suffix", json!({ "type": "BPEDecoder", "suffix": "</w>" })),
        ("words", json!({ "type": "WordPiece", "prefix": "_", "cleanup": false })),
    ] {
        kinds.push((name, with_decoder(&decoder, &tokens)));
    }
    kinds
}

fn streamed(tokenizer: &Tokenizer, prompt: &[u32], ids: &[u32]) -> String {
    let mut stream = tokenizer.stream(prompt);
    let mut text: String = ids.iter().map(|&id| stream.push(id)).collect();
    text.push_str(&stream.flush());
    text
}

fn check(name: &str, tokenizer: &Tokenizer, ids: &[u32]) {
    let whole = tokenizer.decode(ids).unwrap();
    // The crate fails for an empty list of tokens, and replaces valid characters beside invalid
    // bytes.
    let expected = match ids.iter().any(|&id| tokenizer.text_token(id).is_some()) {
        true => tokenizer.inner.decode(ids, true).unwrap(),
        false => String::new(),
    };
    let has_byte_tokens = matches!(name, "llama" | "gemma");
    if !(has_byte_tokens && expected.contains('\u{FFFD}')) {
        assert_eq!(whole, expected, "{name}: {ids:?}");
    }
    for cut in 0..=ids.len() {
        let (before, after) = ids.split_at(cut);
        let text = tokenizer.decode(before).unwrap();
        assert_eq!(streamed(tokenizer, &[], before), text, "{name}: {before:?}");
        // If a prompt ends within a character, its bytes become part of the text that follows.
        if whole.starts_with(&text) && !text.ends_with('\u{FFFD}') {
            let text = text + &streamed(tokenizer, before, after);
            // These decoders drop something at the end of a text, and in a stream the end of the
            // prompt is not an end of the text.
            if !matches!(name, "gpt1" | "suffix" | "fuses and strips the end") {
                assert_eq!(text, whole, "{name}: {before:?} and {after:?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_cut_of_any_tokens(seeds in prop::collection::vec(any::<u32>(), 0..24)) {
        thread_local!(static KINDS: Vec<(&'static str, Tokenizer)> = kinds());
        KINDS.with(|kinds| {
            for (name, tokenizer) in kinds {
                let most = tokenizer.vocab() as u32 + 1;
                // Half of the ids are small ones, which are bytes in many vocabularies.
                let ids: Vec<u32> =
                    seeds.iter().map(|seed| (seed >> 1) % if seed & 1 == 0 { most } else { most.min(270) }).collect();
                check(name, tokenizer, &ids);
            }
        });
    }
}

#[test]
fn every_cut_of_text() {
    for (name, tokenizer) in &kinds()[..7] {
        for line in lines().iter().filter(|line| line.chars().count() < 60) {
            if let Ok(ids) = tokenizer.encode(line) {
                check(name, tokenizer, &ids);
            }
        }
    }
}

/// Text arrives with the token that completes it, and not later.
#[test]
fn text_is_not_held_back() {
    let pieces = |tokenizer: &Tokenizer, ids: &[u32]| -> Vec<String> {
        let mut stream = tokenizer.stream(&[]);
        let mut pieces: Vec<String> = ids.iter().map(|&id| stream.push(id)).collect();
        pieces.push(stream.flush());
        pieces
    };
    let llama = tokenizer("llama");
    let byte = |byte: u8| llama.inner.token_to_id(&format!("<0x{byte:02X}>")).unwrap();
    let crab: Vec<u32> = "🦀".bytes().map(byte).collect();
    let ids = [crab.as_slice(), &crab, &crab[..2]].concat();
    let expected = ["", "", "", "🦀", "", "", "", "🦀", "", "", "\u{FFFD}\u{FFFD}"];
    assert_eq!(pieces(&llama, &ids), expected);
    assert_eq!(
        pieces(&llama, &[crab[0], byte(b'a'), byte(0xFF)]),
        ["", "\u{FFFD}a", "\u{FFFD}", ""]
    );

    let suffix = json!({ "type": "BPEDecoder", "suffix": "</w>" });
    let words = with_decoder(&suffix, &["?", "a</w>", "b", "c</w>"]);
    assert_eq!(pieces(&words, &[1, 2, 3]), ["a", " b", "c", ""]);
}

#[test]
fn three_crabs_in_bytes_and_a_stored_truncation() {
    let case = |name: &str| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/tokenizers");
        Tokenizer::from_path(&folder.join(name)).unwrap()
    };
    let tokenizer = case("byte_fallback.json");
    let ids = tokenizer.encode("hi 🦀🦀🦀").unwrap();
    assert_eq!(ids[..6], [265, 259, 243, 162, 169, 131]);
    assert_eq!(ids.len(), 14);
    for cut in 0..=ids.len() {
        let text = streamed(&tokenizer, &[], &ids[..cut]);
        assert_eq!(text, tokenizer.decode(&ids[..cut]).unwrap());
        assert_eq!(text.matches('🦀').count(), cut.saturating_sub(2) / 4, "{text}");
    }
    assert_eq!(streamed(&tokenizer, &[], &ids), "hi 🦀🦀🦀");

    let truncated = case("stored_truncation.json");
    let letters = "ab".repeat(20);
    let ids = truncated.encode(&letters).unwrap();
    assert_eq!(truncated.decode(&ids).unwrap(), letters);
    assert_eq!(ids, tokenizer.encode(&letters).unwrap());
    assert!(!truncated.json(false).unwrap().contains("max_length"));

    // A stored dropout of merges has no effect either.
    let mut json: Json = serde_json::from_str(&tokenizer.json(false).unwrap()).unwrap();
    json["model"]["dropout"] = 1.0.into();
    let dropped = source::from_json(&json).unwrap();
    assert_eq!(dropped.encode("hi").unwrap(), tokenizer.encode("hi").unwrap());
}
