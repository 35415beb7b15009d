//! The vocabulary in the metadata of a GGUF: SentencePiece's, byte pairs, WordPiece, characters.

use gpt_runtime::Tokenizer;
use gpt_runtime::weights::{self, Value};

use super::{encodes, gguf, sentence};
use crate::Target;

pub const TARGET: Target = Target {
    name: "vocabulary",
    seeds,
    words: &[
        "tokenizer.ggml.model",
        "tokenizer.ggml.pre",
        "tokenizer.ggml.tokens",
        "tokenizer.ggml.scores",
        "tokenizer.ggml.token_type",
        "tokenizer.ggml.merges",
        "tokenizer.ggml.add_bos_token",
        "tokenizer.ggml.bos_token_id",
        "tokenizer.huggingface.json",
        "llama",
        "gpt2",
        "bert",
        "rwkv",
        "gemma4",
        "\u{2581}",
        "\u{120}",
        "<0x0A>",
        "qwen2",
        "llama-bpe",
        "deepseek-v3",
    ],
    check: |place, input| {
        let path = place.write("model.gguf", input);
        let Some(gguf) = sentence(weights::read_metadata(&path))? else { return Ok(false) };
        let Some(Some(tokenizer)) = sentence(Tokenizer::from_gguf_metadata(&gguf))? else {
            return Ok(false);
        };
        encodes(&tokenizer)?;
        Ok(true)
    },
};

fn texts(list: &[&str]) -> Value {
    Value::List(list.iter().map(|text| Value::Text((*text).to_owned())).collect())
}

fn numbers(list: &[i64]) -> Value {
    Value::List(list.iter().map(|n| Value::Signed(*n)).collect())
}

/// A GGUF with a vocabulary, and nothing else.
fn file(model: &str, tokens: &[&str], kinds: &[i64], more: Vec<(&str, Value)>) -> Vec<u8> {
    let named = [
        ("model", Value::Text(model.to_owned())),
        ("tokens", texts(tokens)),
        ("token_type", numbers(kinds)),
    ];
    let values = named.into_iter().chain(more);
    let values = values.map(|(key, value)| (format!("tokenizer.ggml.{key}"), value));
    gguf::bytes(&values.collect::<Vec<_>>())
}

fn seeds() -> Vec<Vec<u8>> {
    let pieces = ["<unk>", "<s>", "</s>", "<0x41>", "\u{2581}a", "\u{2581}", "a", "b", "ab", "  "];
    let scores = [0.0, 0.0, 0.0, 0.0, -1.0, -2.0, -3.0, -4.0, -5.0, -6.0].map(Value::Float);
    let pairs = ["a", "b", "\u{120}", "ab", "<s>"];
    let merges = ("merges", texts(&["a b"]));
    let pre = |name: &str| ("pre", Value::Text(name.to_owned()));
    let own = Tokenizer::characters("abc").expect("characters");
    let whole = super::written(|path| own.save(path).expect("it is written"));
    let whole = String::from_utf8(whole).expect("JSON").split_whitespace().collect();
    vec![
        file(
            "llama",
            &pieces,
            &[2, 3, 3, 6, 1, 1, 1, 1, 1, 4],
            vec![
                ("scores", Value::List(scores.into())),
                ("add_space_prefix", Value::Bool(true)),
                ("bos_token_id", Value::Unsigned(1)),
            ],
        ),
        file(
            "gpt2",
            &pairs,
            &[1, 1, 1, 1, 3],
            vec![merges.clone(), pre("llama-bpe"), ("bos_token_id", Value::Unsigned(4))],
        ),
        file(
            "gpt2",
            &pairs,
            &[1, 1, 1, 1, 4],
            vec![merges.clone(), pre("qwen2"), ("add_bos_token", Value::Bool(false))],
        ),
        file("gemma4", &pieces, &[2, 3, 3, 6, 1, 1, 1, 1, 1, 4], vec![merges]),
        file(
            "bert",
            &["[PAD]", "[UNK]", "[CLS]", "[SEP]", "\u{2581}a", "b"],
            &[3, 3, 3, 3, 1, 1],
            vec![("cls_token_id", Value::Unsigned(2))],
        ),
        file("rwkv", &["<s>", "a", "b", " ", "\\\\"], &[3, 1, 1, 1, 1], Vec::new()),
        gguf::bytes(&[("tokenizer.huggingface.json".to_owned(), Value::Text(whole))]),
    ]
}
