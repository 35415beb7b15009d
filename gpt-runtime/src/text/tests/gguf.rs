//! Vocabularies in GGUF metadata.

use serde_json::Value as Json;

use super::*;
use crate::weights::Value;

fn texts(list: impl IntoIterator<Item = impl Into<String>>) -> Value {
    Value::List(list.into_iter().map(|t| Value::Text(t.into())).collect())
}

pub fn gguf(values: impl IntoIterator<Item = (impl std::fmt::Display, Value)>) -> Gguf {
    Gguf::from_values(values.into_iter().map(|(k, v)| (format!("tokenizer.{k}"), v)))
}

/// A value of GGUF for one of JSON.
pub fn value(json: &Json) -> Value {
    match json {
        Json::String(text) => Value::Text(text.clone()),
        Json::Bool(flag) => Value::Bool(*flag),
        Json::Number(number) => match number.as_i64() {
            Some(number) => Value::Signed(number),
            None => Value::Float(number.as_f64().unwrap()),
        },
        Json::Array(list) => Value::List(list.iter().map(value).collect()),
        _ => panic!("GGUF has no {json}"),
    }
}

#[test]
fn a_gguf_without_vocabulary_has_no_tokenizer() {
    for name in ["none", "no_vocab"] {
        let file = gguf(vec![("ggml.model", Value::Text(name.to_owned()))]);
        assert!(Tokenizer::from_gguf_metadata(&file).unwrap().is_none());
    }
}

/// Both spellings of the key name the token after a text, also for chat templates.
#[test]
fn a_separator_has_two_spellings() {
    let (vocab, merges) = vocabulary(&[]);
    for key in ["ggml.seperator_token_id", "ggml.separator_token_id"] {
        let file = gguf(vec![
            ("ggml.model", Value::Text("gpt2".to_owned())),
            ("ggml.tokens", texts(vocab.keys().cloned())),
            ("ggml.merges", texts(merges.clone())),
            ("ggml.add_sep_token", Value::Bool(true)),
            (key, Value::Unsigned(65)),
            ("chat_template", Value::Text("{{ sep_token }}".to_owned())),
        ]);
        let tokenizer = Tokenizer::from_gguf_metadata(&file).unwrap().unwrap();
        assert_eq!(tokenizer.encode_prompt("12").unwrap(), [49, 50, 65], "{key}");
        let hi = [Message::new(Role::User, "hi")];
        assert_eq!(tokenizer.apply_chat_template(&hi).unwrap(), "A", "{key}");
    }
}

#[test]
fn byte_level_with_separate_digits() {
    let (vocab, merges) = vocabulary(&[("1", "2"), ("h", "i")]);
    let mut kinds = vec![Value::Signed(1); vocab.len()];
    *kinds.last_mut().unwrap() = Value::Signed(3);
    let tokenizer = |pre: &str| {
        let values = vec![
            ("ggml.model", Value::Text("gpt2".to_owned())),
            ("ggml.pre", Value::Text(pre.to_owned())),
            ("ggml.tokens", texts(vocab.keys().cloned())),
            ("ggml.token_type", Value::List(kinds.clone())),
            ("ggml.merges", texts(merges.clone())),
            ("ggml.eos_token_id", Value::Unsigned(258)),
            ("ggml.bos_token_id", Value::Unsigned(258)),
            ("chat_template", Value::Text("{{ bos_token }}{{ messages[0].content }}".to_owned())),
        ];
        Tokenizer::of_weights(Path::new("x.gguf"), Some(&gguf(values))).map(Option::unwrap)
    };
    assert_eq!(tokenizer("gpt-2").unwrap().encode_prompt("hi12").unwrap(), [257, 256]);
    assert_eq!(tokenizer("smollm").unwrap().encode_prompt("hi12").unwrap(), [257, 49, 50]);
    assert_eq!(tokenizer("llama-bpe").unwrap().encode("hi12").unwrap(), [257, 256]);
    // The file does not say whether a text begins with BOS; for Llama 3 it does.
    assert_eq!(tokenizer("llama-bpe").unwrap().encode_prompt("hi").unwrap(), [258, 257]);
    assert!(tokenizer("gpt-2").unwrap().prefix().is_empty());
    assert_eq!(tokenizer("qwen2").unwrap().encode("hi12").unwrap(), [257, 49, 50]);
    assert!(tokenizer("klingon").err().unwrap().to_string().contains("\"klingon\" is not known"));
    let smollm = tokenizer("smollm").unwrap();
    assert_eq!(smollm.stop_ids(), [258]);
    let chat = smollm.apply_chat_template(&[Message::new(Role::User, "hi")]).unwrap();
    assert_eq!(chat, "<|endoftext|>hi");
    assert!(smollm.encode_prompt("").is_err());
}

#[test]
fn sentence_pieces_merge_by_score_and_fall_back_to_bytes() {
    let bytes = (0..256).map(|b| format!("<0x{b:02X}>"));
    let tokens: Vec<String> = ["<unk>", "<s>", "</s>"]
        .map(str::to_owned)
        .into_iter()
        .chain(bytes)
        .chain(["▁", "a", "b", "▁a", "ab", "▁ab"].map(str::to_owned))
        .collect();
    let mut scores = vec![Value::Float(0.0); tokens.len() - 3];
    // "ab" is likelier than "▁a", so " ab" is merged as "▁" + "ab" and then as a whole.
    scores.extend([-3.0, -1.0, -2.0].map(Value::Float));
    let mut kinds = vec![Value::Signed(1); tokens.len()];
    kinds[1] = Value::Signed(3);
    kinds[2] = Value::Signed(3);
    let values = vec![
        ("ggml.model", Value::Text("llama".to_owned())),
        ("ggml.tokens", texts(tokens)),
        ("ggml.scores", Value::List(scores)),
        ("ggml.token_type", Value::List(kinds)),
        ("ggml.bos_token_id", Value::Unsigned(1)),
        ("ggml.eos_token_id", Value::Unsigned(2)),
    ];
    let tokenizer =
        Tokenizer::of_weights(Path::new("x.gguf"), Some(&gguf(values))).unwrap().unwrap();
    assert_eq!(tokenizer.encode_prompt("ab a").unwrap(), [1, 264, 262]);
    let crab = tokenizer.encode("aé").unwrap();
    assert_eq!(crab, [262, 3 + 0xC3, 3 + 0xA9]);
    assert_eq!(tokenizer.decode(&crab).unwrap(), "aé");
    let bytes = [(259, " "), (262, " a"), (263, "ab"), (1, "<s>"), (3 + 0x41, "A")];
    for (id, text) in bytes {
        assert_eq!(tokenizer.token_bytes(id), Some(text.as_bytes().to_vec()));
    }
    assert_eq!(tokenizer.token_bytes(3 + 0xC3), Some(vec![0xC3]));
    let mut stream = tokenizer.stream(&[1, 264]);
    let pieces: Vec<String> = [262, 3 + 0xC3, 3 + 0xA9].iter().map(|&id| stream.push(id)).collect();
    assert_eq!(pieces, [" a", "", "é"]);
    assert_eq!(tokenizer.stop_ids(), [2]);
}

/// Phi-3's control tokens take the white space after them, but its GGUF does not record this.
#[test]
fn control_tokens_of_phi3() {
    let values = |architecture: &str| {
        let tokens = ["<unk>", "<s>", "<|user|>", "a", "▁"];
        [
            ("general.architecture", Value::Text(architecture.to_owned())),
            ("tokenizer.ggml.model", Value::Text("llama".to_owned())),
            ("tokenizer.ggml.tokens", texts(tokens)),
            ("tokenizer.ggml.scores", Value::List(vec![Value::Float(0.0); 5])),
            ("tokenizer.ggml.token_type", Value::List([2, 3, 3, 1, 1].map(Value::Signed).into())),
            ("tokenizer.ggml.add_space_prefix", Value::Bool(false)),
        ]
        .map(|(key, value)| (key.to_owned(), value))
    };
    let encode = |architecture: &str| {
        let tokenizer = Tokenizer::from_gguf_metadata(&Gguf::from_values(values(architecture)))
            .unwrap()
            .unwrap();
        tokenizer.encode("<s> <|user|> a").unwrap()
    };
    assert_eq!(encode("llama"), [1, 4, 2, 4, 3]);
    assert_eq!(encode("phi3"), [1, 4, 2, 3]);
}
