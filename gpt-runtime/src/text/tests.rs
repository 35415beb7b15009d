//! Tokenizers from all kinds of sources, with vocabularies small enough to check by hand.

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
    assert!(Tokenizer::beside(&folder.path().join("model.safetensors"), None).unwrap().is_none());
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
    // An incomplete character is U+FFFD at the end, and does not hold back the text behind it.
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

mod gguf {
    use super::*;
    use crate::weights::Value;

    fn texts(list: impl IntoIterator<Item = impl Into<String>>) -> Value {
        Value::List(list.into_iter().map(|t| Value::Text(t.into())).collect())
    }

    fn gguf(values: Vec<(&str, Value)>) -> Gguf {
        Gguf::from_values(values.into_iter().map(|(k, v)| (format!("tokenizer.{k}"), v)))
    }

    #[test]
    fn a_gguf_without_vocabulary_has_no_tokenizer() {
        for name in ["none", "no_vocab"] {
            let file = gguf(vec![("ggml.model", Value::Text(name.to_owned()))]);
            assert!(Tokenizer::within(&file).unwrap().is_none());
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
                (
                    "chat_template",
                    Value::Text("{{ bos_token }}{{ messages[0].content }}".to_owned()),
                ),
            ];
            Tokenizer::beside(Path::new("x.gguf"), Some(&gguf(values))).map(Option::unwrap)
        };
        assert_eq!(tokenizer("gpt-2").unwrap().encode_prompt("hi12").unwrap(), [257, 256]);
        assert_eq!(tokenizer("smollm").unwrap().encode_prompt("hi12").unwrap(), [257, 49, 50]);
        assert_eq!(tokenizer("llama-bpe").unwrap().encode("hi12").unwrap(), [257, 256]);
        assert_eq!(tokenizer("qwen2").unwrap().encode("hi12").unwrap(), [257, 49, 50]);
        assert!(
            tokenizer("klingon").err().unwrap().to_string().contains("\"klingon\" is not known")
        );
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
            Tokenizer::beside(Path::new("x.gguf"), Some(&gguf(values))).unwrap().unwrap();
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
        let pieces: Vec<String> =
            [262, 3 + 0xC3, 3 + 0xA9].iter().map(|&id| stream.push(id)).collect();
        assert_eq!(pieces, [" a", "", "é"]);
        assert_eq!(tokenizer.stop_ids(), [2]);
    }
}
