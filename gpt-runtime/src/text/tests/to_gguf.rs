//! Tokenizers written to a GGUF and read back: from the `tokenizer.json` in it, and from the list
//! of tokens, as other programs read them.

use serde_json::{Value as Json, json};

use super::fixtures::{lines, tokenizer};
use super::*;
use crate::weights::Value;

fn reread(tokenizer: &Tokenizer, vocab: u32, whole: bool) -> (Tokenizer, Gguf) {
    let metadata = tokenizer.gguf(vocab).unwrap();
    assert_eq!(metadata.note, None);
    let values = metadata.values.into_iter();
    let gguf = Gguf::from_values(values.filter(|(key, _)| whole || !key.contains("huggingface")));
    (Tokenizer::from_gguf_metadata(&gguf).unwrap().unwrap(), gguf)
}

#[test]
fn lists_of_tokens_have_the_ids() {
    let lines = lines();
    let text = lines.join("\n");
    let own = [
        ("rwkv", Tokenizer::characters(&format!("{text}\\")).unwrap()),
        ("gpt2", Tokenizer::byte_pairs(&text, 500).unwrap()),
    ];
    let fixtures = [("llama", tokenizer("llama")), ("llama", tokenizer("gemma"))];
    let fixtures = fixtures.into_iter().chain([("bert", tokenizer("bert"))]);
    for (i, (model, original)) in own.into_iter().chain(fixtures).enumerate() {
        // Rows without a token, as most models have them.
        let vocab = original.vocab() as u32 + 3;
        for whole in [true, false] {
            let (read, gguf) = reread(&original, vocab, whole);
            assert_eq!(gguf.text("tokenizer.ggml.model"), Some(model));
            assert_eq!(gguf.list("tokenizer.ggml.tokens").unwrap().len(), vocab as usize);
            for line in &lines {
                let expected = original.encode_prompt(line).unwrap();
                assert_eq!(read.encode_prompt(line).unwrap(), expected, "{i} {whole}: {line:?}");
                assert_eq!(read.decode(&expected).unwrap(), original.decode(&expected).unwrap());
            }
            assert_eq!(read.prefix(), original.prefix());
        }
    }
}

/// Every pre-tokenizer that has a name is written under a name with the same words.
#[test]
fn names_of_pre_tokenizers_come_back() {
    let (vocab, merges) = vocabulary(&[("1", "2"), ("h", "i")]);
    for pre in ["gpt-2", "smollm", "llama-bpe", "qwen2", "gpt-4o", "deepseek-v3", "falcon"] {
        let values = json!({ "model": "gpt2", "pre": pre, "merges": merges,
            "tokens": vocab.keys().collect::<Vec<_>>(), "add_bos_token": false });
        let original = super::fixtures::of_gguf(&values);
        let (_, gguf) = reread(&original, vocab.len() as u32, false);
        assert_eq!(gguf.text("tokenizer.ggml.pre"), Some(pre));
    }
}

/// Without special tokens llama.cpp would take id 11 for the end of a text.
#[test]
fn no_text_ends_by_chance() {
    let (_, gguf) =
        reread(&Tokenizer::byte_pairs("a text, a text, a text", 300).unwrap(), 300, false);
    let id = gguf.unsigned("tokenizer.ggml.eos_token_id").unwrap() as usize;
    assert_eq!(gguf.texts("tokenizer.ggml.tokens").unwrap()[id], "ÿ");
    assert_eq!(gguf.flag("tokenizer.ggml.add_bos_token"), Some(false));
    let (read, _) = reread(&Tokenizer::byte_pairs("a text, a text", 300).unwrap(), 300, true);
    assert!(read.stop_ids().is_empty());
}

/// Values of the files beside a `tokenizer.json` are in the GGUF, and again in the files of a
/// folder.
#[test]
fn templates_and_ends_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (mut vocab, merges) = vocabulary(&[("h", "i")]);
    let names = ["<s>", "</s>", "<|end|>", "<stop>"];
    let added: Vec<Json> = (vocab.len()..)
        .zip(names)
        .map(|(id, name)| {
            json!({ "id": id, "content": name, "special": true, "single_word": false,
                "lstrip": false, "rstrip": false, "normalized": false })
        })
        .collect();
    for token in &added {
        vocab.insert(token["content"].as_str().unwrap().to_owned(), token["id"].clone());
    }
    let byte_level = json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true,
        "use_regex": true });
    let json = json!({
        "version": "1.0", "added_tokens": added, "pre_tokenizer": byte_level,
        "decoder": byte_level, "model": { "type": "BPE", "vocab": vocab, "merges": merges },
    });
    let template =
        "{{ bos_token }}{% for m in messages %}{{ m.content }}{{ eos_token }}{% endfor %}";
    for (templates, begins) in [
        (json!(template), true),
        (
            json!([{ "name": "default", "template": template }, { "name": "rag", "template": "x" }]),
            false,
        ),
    ] {
        let config = json!({ "bos_token": "<s>", "eos_token": { "content": "</s>" },
            "add_bos_token": begins, "chat_template": templates });
        let stop = json!({ "eos_token_id": [259, 261], "temperature": 0.5 });
        for (name, json) in [
            ("tokenizer.json", &json),
            ("tokenizer_config.json", &config),
            ("generation_config.json", &stop),
        ] {
            std::fs::write(path(name), json.to_string()).unwrap();
        }
        let original = Tokenizer::from_path(folder.path()).unwrap();
        let hi = [Message::new(Role::User, "hi")];
        let (of_gguf, gguf) = reread(&original, 280, true);
        assert_eq!(gguf.text("tokenizer.chat_template"), Some(template));
        assert_eq!(gguf.unsigned("tokenizer.ggml.eos_token_id"), Some(259));
        // llama.cpp does not know the name of this token.
        assert_eq!(gguf.unsigned("tokenizer.ggml.eot_token_id"), Some(261));
        let named = gguf.get("tokenizer.chat_templates");
        assert_eq!(named.is_some(), templates.is_array());
        let (of_list, _) = reread(&original, 280, false);
        let again = tempfile::tempdir().unwrap();
        // If they were left there, the first template would be preferred, and the second added.
        std::fs::write(again.path().join("chat_template.jinja"), "other").unwrap();
        let more = again.path().join("additional_chat_templates");
        std::fs::create_dir(&more).unwrap();
        std::fs::write(more.join("foreign.jinja"), "other").unwrap();
        of_gguf.save(&again.path().join("tokenizer.json")).unwrap();
        let of_folder = Tokenizer::from_path(again.path()).unwrap();
        let [kept, own] = [&of_folder, &original].map(|tokenizer| {
            let mut templates = tokenizer.chat.as_ref().unwrap().templates().to_vec();
            templates.sort();
            templates
        });
        assert_eq!(kept, own);
        for read in [&of_gguf, &of_list, &of_folder] {
            assert_eq!(read.stop_ids(), original.stop_ids());
            assert_eq!(read.prefix(), original.prefix());
            assert_eq!(read.prefix().len(), usize::from(begins));
            assert_eq!(read.encode_prompt("hi").unwrap(), original.encode_prompt("hi").unwrap());
            assert_eq!(read.encode_chat(&hi).unwrap(), original.encode_chat(&hi).unwrap());
            assert_eq!(read.apply_chat_template(&hi).unwrap(), "<s>hi</s>");
        }
        // Saving the tokenizer in its own folder keeps the other settings of generation.
        original.save(&path("tokenizer.json")).unwrap();
        let text = std::fs::read_to_string(path("generation_config.json")).unwrap();
        assert!(text.contains("temperature"), "{text}");
    }
}

/// A kind that llama.cpp does not have is kept for this program.
#[test]
fn other_kinds_are_kept_whole() {
    for name in ["unigram", "gpt1"] {
        let original = tokenizer(name);
        let metadata = original.gguf(original.vocab() as u32).unwrap();
        assert!(metadata.note.unwrap().contains("without its tokenizer"));
        let gguf = Gguf::from_values(metadata.values);
        assert_eq!(gguf.text("tokenizer.ggml.model"), Some("none"));
        let read = Tokenizer::from_gguf_metadata(&gguf).unwrap().unwrap();
        for line in lines().iter().step_by(7) {
            assert_eq!(read.encode(line).ok(), original.encode(line).ok(), "{name}");
        }
    }
}

/// Scores follow from ranked merges, even where several tokens have one score.
#[test]
fn scores_follow_from_merges() {
    let bytes = (0..256).map(|b| format!("<0x{b:02X}>"));
    let tokens: Vec<String> = ["<unk>", "<s>", "</s>"]
        .map(str::to_owned)
        .into_iter()
        .chain(bytes)
        .chain(["▁", "a", "b", "c", "▁a", "ab", "bc", "abc", "▁ab"].map(str::to_owned))
        .collect();
    let mut scores = vec![json!(0.0); 263];
    scores.extend([-3.0, -1.0, -1.0, -2.0, -2.0].map(|score| json!(score)));
    let mut kinds = vec![1; tokens.len()];
    (kinds[0], kinds[1], kinds[2]) = (2, 3, 3);
    let original = super::fixtures::of_gguf(&json!({ "model": "llama", "tokens": tokens,
        "scores": scores, "token_type": kinds, "bos_token_id": 1, "eos_token_id": 2 }));
    let (read, gguf) = reread(&original, tokens.len() as u32, false);
    for text in ["abc", "a ab bc abcabc", "c b a", "é abab"] {
        assert_eq!(read.encode_prompt(text).unwrap(), original.encode_prompt(text).unwrap());
    }
    // llama.cpp needs the token of every byte that may occur.
    let mut json: Json = serde_json::from_str(&original.json(false).unwrap()).unwrap();
    let vocab = json["model"]["vocab"].as_object_mut().unwrap();
    let id = vocab.remove("<0xC3>").unwrap();
    vocab.insert("Z".to_owned(), id);
    let note = source::from_json(&json).unwrap().gguf(tokens.len() as u32).unwrap().note.unwrap();
    assert!(note.ends_with("lacks tokens for 1 of the 256 bytes"), "{note}");
    let score = |id: usize| gguf.list("tokenizer.ggml.scores").unwrap()[id].clone();
    assert_eq!(score(266), score(267));
    assert_ne!(score(264), score(266));
    assert_eq!(gguf.list("tokenizer.ggml.token_type").unwrap()[3], Value::Signed(6));
}
