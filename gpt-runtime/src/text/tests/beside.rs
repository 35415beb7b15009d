//! Files beside a tokenizer: the tokens at the ends of a text, and chat templates.

use serde_json::{Value as Json, json};

use super::fixtures::tokenizer;
use super::*;

/// Writes `files`, and reads the tokenizer of the folder.
fn read(files: &[(&str, Json)]) -> Tokenizer {
    let folder = tempfile::tempdir().unwrap();
    for (name, json) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let text = json.as_str().map_or(json.to_string(), str::to_owned);
        std::fs::write(path, text).unwrap();
    }
    Tokenizer::from_path(folder.path()).unwrap()
}

/// A `tokenizer.json` of some words; those in `special` are control tokens.
fn words(tokens: &[&str], special: &[&str]) -> Json {
    let vocab: serde_json::Map<String, Json> =
        (0..).zip(tokens).map(|(id, token): (u32, _)| ((*token).to_owned(), id.into())).collect();
    let added: Vec<Json> = special
        .iter()
        .map(|token| json!({ "id": vocab[*token], "content": token, "special": true, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false }))
        .collect();
    json!({
        "version": "1.0", "added_tokens": added, "pre_tokenizer": { "type": "Whitespace" },
        "model": { "type": "WordLevel", "vocab": vocab, "unk_token": tokens[0] },
    })
}

#[test]
fn a_text_begins_with_one_bos() {
    // The post-processor of the fixture adds BOS.
    for name in ["llama", "gemma"] {
        let tokenizer = tokenizer(name);
        let bos = tokenizer.prefix()[0];
        let text = tokenizer.inner.id_to_token(bos).unwrap();
        let ids = tokenizer.encode_prompt("the").unwrap();
        assert_eq!(ids.iter().filter(|id| **id == bos).count(), 1);
        assert_eq!(ids[0], bos);
        assert_eq!(tokenizer.encode_prompt(&format!("{text}the")).unwrap(), ids, "{name}");
        assert_eq!(tokenizer.encode_prompt(&format!("{text}{text}the")).unwrap(), ids, "{name}");
        assert_eq!(tokenizer.encode_continuation(&format!("{text}the")).unwrap(), ids[1..]);
        assert_eq!(tokenizer.encode_prompt("").unwrap(), [bos]);
        assert!(tokenizer.encode_continuation("").is_err());
    }
    // Encoders have tokens at both ends.
    assert_eq!(tokenizer("bert").prefix(), [2]);
    assert!(tokenizer("gpt1").prefix().is_empty());

    let json = words(&["<unk>", "<s>", "hi"], &["<s>"]);
    let config =
        |begins: Json| json!({ "bos_token": { "content": "<s>" }, "add_bos_token": begins });
    let read = |begins| {
        read(&[("tokenizer.json", json.clone()), ("tokenizer_config.json", config(begins))])
    };
    assert_eq!(read(json!(true)).encode_prompt("hi").unwrap(), [1, 2]);
    assert_eq!(read(json!(null)).encode_prompt("hi").unwrap(), [2]);
    assert_eq!(read(json!(false)).encode_prompt("hi").unwrap(), [2]);
}

#[test]
fn tokens_that_end_a_turn() {
    let tokens =
        ["<unk>", "a", "b", "</s>", "<|im_end|>", "<|eot_id|>", "<|end|>", "<end_of_turn>", "c"];
    let json = words(&tokens, &["<|eot_id|>"]);
    // They are found by name, whether or not they are marked as control tokens; `</s>` only if it
    // is.
    let named = read(&[("tokenizer.json", json.clone())]);
    assert_eq!(named.stop_ids(), [4, 5, 6, 7]);
    // Now they are control tokens: those of a template are found, and they have no text.
    assert_eq!(named.encode("a<|im_end|>b").unwrap(), [1, 4, 2]);
    assert_eq!(named.decode(&[1, 4, 2]).unwrap(), "a b");
    let lists = read(&[
        ("tokenizer.json", json.clone()),
        ("config.json", json!({ "eos_token_id": 1 })),
        ("generation_config.json", json!({ "eos_token_id": [2, 8] })),
        ("tokenizer_config.json", json!({ "eos_token": "</s>" })),
    ]);
    assert_eq!(lists.stop_ids(), [1, 2, 3, 4, 5, 6, 7, 8]);
    // In Harmony, <|end|> ends a message but not the turn.
    let harmony = ["<unk>", "<|end|>", "<|return|>", "<|call|>", "<|message|>"];
    let harmony = read(&[("tokenizer.json", words(&harmony, &harmony[1..]))]);
    assert_eq!(harmony.stop_ids(), [2, 3]);
}

#[test]
fn templates_of_files_and_lists() {
    let json = words(&["<unk>", "hi"], &[]);
    let hi = [Message::new(Role::User, "hi")];
    let render = |files: &[(&str, Json)]| {
        let files = [&[("tokenizer.json", json.clone())], files].concat();
        read(&files).apply_chat_template(&hi).map_err(|error| error.to_string())
    };
    let list = json!({ "chat_template": [
        { "name": "default", "template": "default" }, { "name": "rag", "template": "rag" },
    ] });
    assert_eq!(render(&[("tokenizer_config.json", list.clone())]).unwrap(), "default");
    let file = ("chat_template.jinja", json!("from a file: {{ messages[0].content }}"));
    let both = [("tokenizer_config.json", list), file];
    assert_eq!(render(&both).unwrap(), "from a file: hi");
    let one = [("additional_chat_templates/rag.jinja", json!("rag"))];
    assert_eq!(render(&one).unwrap(), "rag");
    let of_processor = [("chat_template.json", json!({ "chat_template": "processor" }))];
    assert_eq!(render(&of_processor).unwrap(), "processor");
    assert!(render(&[]).unwrap_err().contains("no chat template"));

    // A template that cannot be read is an error only where it is used.
    let unknown =
        [("tokenizer.json", json.clone()), ("chat_template.jinja", json!("{% frobnicate %}"))];
    let unknown = read(&unknown);
    assert_eq!(unknown.encode("hi").unwrap(), [1]);
    let error = unknown.apply_chat_template(&hi).unwrap_err().to_string();
    assert!(error.contains("cannot be read") && error.contains("frobnicate"), "{error}");
    assert_eq!(unknown.encode_chat(&hi).unwrap_err().to_string(), error);
}

#[test]
fn added_tokens_may_have_no_row() {
    let mut json = words(&["<unk>", "a"], &[]);
    json["added_tokens"] = json!([{ "id": 2, "content": "<image>", "special": true, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false }]);
    let tokenizer = read(&[("tokenizer.json", json)]);
    assert!(tokenizer.check_vocab(2).is_ok());
    assert!(tokenizer.check_vocab(1).is_err());
}

/// The two files of a byte pair encoding do not say how text is cut into words; the class does.
#[test]
fn the_class_of_two_files() {
    let (vocab, merges) = vocabulary(&[("1", "2"), ("h", "i")]);
    let files = |class: &str| {
        let config = json!({ "tokenizer_class": class, "added_tokens_decoder": {
            "300": { "content": "<|im_end|>", "special": true },
            "301": { "content": "<think>", "special": false },
        } });
        [
            ("vocab.json", Json::from(vocab.clone())),
            ("merges.txt", merges.join("\n").into()),
            ("tokenizer_config.json", config),
        ]
    };
    assert_eq!(read(&files("GPT2Tokenizer")).encode("12hi").unwrap(), [256, 257]);
    let qwen = read(&files("Qwen2TokenizerFast"));
    assert_eq!(qwen.encode("12hi<|im_end|><think>").unwrap(), [49, 50, 257, 300, 301]);
    assert_eq!(qwen.encode("n\u{303}").unwrap(), qwen.encode("\u{F1}").unwrap());
    assert_eq!(qwen.decode(&[257, 300, 301]).unwrap(), "hi<think>");
    let folder = tempfile::tempdir().unwrap();
    for (name, json) in files("RobertaTokenizer") {
        let text = json.as_str().map_or(json.to_string(), str::to_owned);
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let error = Tokenizer::from_path(folder.path()).err().unwrap().to_string();
    assert!(error.contains("RobertaTokenizer"), "{error}");
}

/// A byte pair encoding with neither bytes nor an unknown token.
#[test]
fn a_character_without_a_token_is_named() {
    let json = |pre_tokenizer: Json, normalizer: Json| {
        json!({
            "version": "1.0", "added_tokens": [], "pre_tokenizer": pre_tokenizer, "normalizer": normalizer,
            "model": { "type": "BPE", "vocab": { "m": 0, "u": 1, "g": 2, "mu": 3, "n": 4 }, "merges": ["m u"] },
        })
    };
    let check = |json: Json, good: &str, bad: &str, character: char| {
        let tokenizer = source::from_json(&json).unwrap();
        assert_eq!(tokenizer.encode(good).unwrap(), [3, 2]);
        let error = tokenizer.encode(bad).unwrap_err().to_string();
        assert!(error.contains(&format!("{character:?}")), "{error}");
    };
    check(json(Json::Null, Json::Null), "mug", "mug \u{1F980}", ' ');
    check(json(Json::Null, Json::Null), "mug", "mug\u{1F980}", '\u{1F980}');
    // Blanks between words need no token.
    check(
        json(json!({ "type": "Whitespace" }), Json::Null),
        " mug ",
        "mug \u{1F980} g",
        '\u{1F980}',
    );
    check(
        json(json!({ "type": "WhitespaceSplit" }), json!({ "type": "NFD" })),
        "mug",
        "mu\u{F1}",
        '\u{F1}',
    );
    // A byte-level encoding in which some bytes have no token.
    let bytes = json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true });
    check(json(bytes, Json::Null), "mug", "mug\u{1F980}", '\u{1F980}');
}
