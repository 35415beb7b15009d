//! `tokenizer.json`, and the `tokenizer_config.json` beside it.

use serde_json::{Value as Json, json};

use gpt_runtime::Tokenizer;
use gpt_runtime::text::{Message, Role};

use super::{encodes, sentence};
use crate::{Place, Target};

pub const JSON: Target = Target {
    name: "tokenizer",
    seeds,
    words: &[
        "<s>",
        "</s>",
        "<unk>",
        "\u{2581}",
        "\u{120}",
        "##",
        "<0x41>",
        "BPE",
        "Unigram",
        "WordPiece",
        "WordLevel",
        "ByteLevel",
        "Metaspace",
        "Replace",
        "Prepend",
        "Strip",
        "StripAccents",
        "Lowercase",
        "NFKC",
        "Nmt",
        "Precompiled",
        "BertNormalizer",
        "Split",
        "Digits",
        "Punctuation",
        "FixedLength",
        "CharDelimiterSplit",
        "UnicodeScripts",
        "WhitespaceSplit",
        "TemplateProcessing",
        "BertProcessing",
        "RobertaProcessing",
        "Sequence",
        "CTC",
        "BPEDecoder",
        "ByteFallback",
        "Fuse",
        "Removed",
        "Isolated",
        "MergedWithNext",
        "Contiguous",
        "(a{1000}){1000}",
        "(?=a)*",
        "(a*)*b",
        "\\p{L}{1,999999}",
        "(?<x>a)\\k<x>",
        "[",
        "(?:",
        "$A:0 <s>:1",
    ],
    check,
};

/// A `tokenizer.json` that consists of `model` and the other `parts`. One of its two added tokens
/// is in the vocabulary of the model, the other one is not.
fn tokenizer(parts: Json, model: Json) -> Vec<u8> {
    let added = |id: u32, content: &str, special: bool| json!({ "id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false, "normalized": !special, "special": special });
    let mut json = json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": [added(0, "<s>", true), added(9, "ab c", false)],
        "normalizer": null, "pre_tokenizer": null, "post_processor": null, "decoder": null,
    });
    for (key, part) in parts.as_object().into_iter().flatten() {
        json[key] = part.clone();
    }
    json["model"] = model;
    json.to_string().into_bytes()
}

/// Every kind of model, each with other parts around it.
fn seeds() -> Vec<Vec<u8>> {
    let bytes = json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true });
    let blank = json!({ "type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": "first", "split": true });
    let split = |pattern: Json, behavior: &str| json!({ "type": "Split", "pattern": pattern, "behavior": behavior, "invert": false });
    let ends = json!({
        "type": "TemplateProcessing",
        "single": [{ "SpecialToken": { "id": "<s>", "type_id": 0 } }, { "Sequence": { "id": "A", "type_id": 0 } }],
        "pair": [{ "Sequence": { "id": "A", "type_id": 0 } }, { "Sequence": { "id": "B", "type_id": 1 } }],
        "special_tokens": { "<s>": { "id": "<s>", "ids": [0], "tokens": ["<s>"] } },
    });
    let vocab = json!({ "<s>": 0, "a": 1, "b": 2, "\u{120}": 3, "\u{2581}": 4, "ab": 5, "<0x41>": 6, "<unk>": 7, "##b": 8 });
    let pairs = |more: Json| {
        let mut model = json!({ "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null, "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false, "vocab": vocab, "merges": [["a", "b"]] });
        for (key, value) in more.as_object().into_iter().flatten() {
            model[key] = value.clone();
        }
        model
    };
    vec![
        tokenizer(
            json!({ "pre_tokenizer": { "type": "Sequence", "pretokenizers": [split(json!({ "Regex": " ?\\p{L}+|\\s+(?!\\S)" }), "Isolated"), bytes] }, "decoder": bytes, "post_processor": bytes }),
            pairs(json!({ "merges": ["a b"] })),
        ),
        tokenizer(
            json!({ "normalizer": { "type": "Sequence", "normalizers": [{ "type": "Prepend", "prepend": "\u{2581}" }, { "type": "Replace", "pattern": { "String": " " }, "content": "\u{2581}" }] }, "post_processor": ends, "decoder": { "type": "Sequence", "decoders": [{ "type": "Replace", "pattern": { "String": "\u{2581}" }, "content": " " }, { "type": "ByteFallback" }, { "type": "Fuse" }, { "type": "Strip", "content": " ", "start": 1, "stop": 0 }] } }),
            pairs(json!({ "unk_token": "<unk>", "fuse_unk": true, "byte_fallback": true })),
        ),
        tokenizer(
            json!({ "normalizer": { "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null, "lowercase": true }, "pre_tokenizer": { "type": "BertPreTokenizer" }, "post_processor": { "type": "BertProcessing", "sep": ["<s>", 0], "cls": ["<s>", 0] }, "decoder": { "type": "WordPiece", "prefix": "##", "cleanup": true } }),
            json!({ "type": "WordPiece", "unk_token": "<unk>", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100, "vocab": vocab }),
        ),
        tokenizer(
            json!({ "normalizer": { "type": "Sequence", "normalizers": [{ "type": "Precompiled", "precompiled_charsmap": charsmap() }, { "type": "Replace", "pattern": { "Regex": " {2,}" }, "content": " " }, { "type": "Strip", "strip_left": true, "strip_right": false }] }, "pre_tokenizer": blank, "decoder": blank }),
            json!({ "type": "Unigram", "unk_id": 0, "byte_fallback": false, "vocab": [["<s>", 0.0], ["a", -1.5], ["b", -2.0], ["ab", -2.5], ["\u{2581}", -3.0]] }),
        ),
        tokenizer(
            json!({ "normalizer": { "type": "NFKC" }, "pre_tokenizer": { "type": "Sequence", "pretokenizers": [{ "type": "Digits", "individual_digits": true }, { "type": "Punctuation", "behavior": "MergedWithPrevious" }, { "type": "UnicodeScripts" }, { "type": "CharDelimiterSplit", "delimiter": "x" }, { "type": "FixedLength", "length": 5 }] }, "decoder": { "type": "CTC", "pad_token": "<s>", "word_delimiter_token": "|", "cleanup": true } }),
            json!({ "type": "WordLevel", "vocab": vocab, "unk_token": "<unk>" }),
        ),
        tokenizer(
            json!({ "truncation": { "direction": "Right", "max_length": 8, "strategy": "LongestFirst", "stride": 2 }, "padding": { "strategy": { "Fixed": 16 }, "direction": "Left", "pad_to_multiple_of": 8, "pad_id": 0, "pad_type_id": 0, "pad_token": "<s>" }, "normalizer": { "type": "Sequence", "normalizers": [{ "type": "Lowercase" }, { "type": "StripAccents" }, { "type": "Nmt" }] }, "pre_tokenizer": { "type": "Whitespace" }, "post_processor": { "type": "RobertaProcessing", "sep": ["<s>", 0], "cls": ["<s>", 0], "trim_offsets": true, "add_prefix_space": true }, "decoder": { "type": "BPEDecoder", "suffix": "</w>" } }),
            pairs(
                json!({ "dropout": 0.5, "continuing_subword_prefix": "##", "end_of_word_suffix": "</w>", "merges": [["a", "##b"]] }),
            ),
        ),
    ]
}

/// SentencePiece's table of characters with one entry: `a` becomes `b`.
fn charsmap() -> String {
    let mut units = vec![0_u32; 256];
    units[0] = 0x60 << 10;
    // The child of the root for `a`, whose value is in unit 2.
    units[1] = 3 << 10 | 1 << 8 | u32::from(b'a');
    let mut bytes = (4 * units.len() as u32).to_le_bytes().to_vec();
    bytes.extend(units.iter().flat_map(|unit| unit.to_le_bytes()));
    bytes.extend(b"b\0");
    base64(&bytes)
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let mut group = [0; 4];
        group[1..1 + three.len()].copy_from_slice(three);
        let group = u32::from_be_bytes(group);
        for at in 0..4 {
            let digit = DIGITS[(group >> (18 - 6 * at) & 63) as usize];
            text.push(if at <= three.len() { digit.into() } else { '=' });
        }
    }
    text
}

fn check(place: &Place, input: &[u8]) -> Result<bool, String> {
    let path = place.write("tokenizer.json", input);
    let Some(tokenizer) = sentence(Tokenizer::from_path(&path))? else { return Ok(false) };
    encodes(&tokenizer)?;
    Ok(true)
}

pub const CONFIG: Target = Target {
    name: "tokenizer_config",
    seeds: || {
        let plain = json!({ "bos_token": "<s>", "eos_token": { "content": "</s>", "lstrip": false }, "add_bos_token": true, "chat_template": "{{ bos_token }}{% for m in messages %}{{ m.content }}{{ eos_token }}{% endfor %}", "tokenizer_class": "GPT2TokenizerFast" });
        let named = json!({ "unk_token": "<unk>", "eos_token": null, "chat_template": [{ "name": "default", "template": "{{ messages }}" }, { "name": "rag", "template": "{{ documents }}" }], "added_tokens_decoder": { "0": { "content": "<s>", "special": true }, "7": { "content": "<|im_end|>", "special": false } } });
        [plain, named].map(|json| json.to_string().into_bytes()).into()
    },
    words: &[
        "bos_token",
        "eos_token",
        "add_bos_token",
        "chat_template",
        "template",
        "default",
        "<s>",
        "added_tokens_decoder",
    ],
    check: |place, input| {
        // The two files of a byte pair encoding. The class that `tokenizer_config.json` names
        // decides where texts are cut.
        let vocab = json!({ "a": 0, "b": 1, "\u{120}": 2, "ab": 3, "<s>": 4, "</s>": 5, "<|endoftext|>": 6 });
        place.keep("vocab.json", || vocab.to_string().into_bytes());
        let merges = place.keep("merges.txt", || b"#version: 0.2\na b\n".to_vec());
        place.write("tokenizer_config.json", input);
        let Some(tokenizer) = sentence(Tokenizer::from_path(&merges))? else { return Ok(false) };
        encodes(&tokenizer)?;
        let messages = [Message::new(Role::User, "a <s>b")];
        sentence(tokenizer.encode_chat(&messages))?;
        Ok(true)
    },
};
