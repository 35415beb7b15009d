//! Characters without a token.
//!
//! A byte pair encoding that has neither bytes nor a token for unknown characters would drop
//! them, and so would the `tokenizers` crate. Here such a text is an error.

use tokenizers::models::bpe::BPE;
use tokenizers::{ModelWrapper, OffsetReferential, OffsetType, PreTokenizer, PreTokenizerWrapper};

/// The encoding of a tokenizer that may drop characters.
fn incomplete(inner: &tokenizers::Tokenizer) -> Option<&BPE> {
    match inner.get_model() {
        ModelWrapper::BPE(model) if model.unk_token.is_none() && !model.byte_fallback => {
            Some(model)
        }
        _ => None,
    }
}

/// Whether the tokenizer may drop characters.
pub fn drops(inner: &tokenizers::Tokenizer) -> bool {
    let Some(model) = incomplete(inner) else {
        return false;
    };
    fn has_bytes(step: &PreTokenizerWrapper) -> bool {
        match step {
            PreTokenizerWrapper::ByteLevel(_) => true,
            PreTokenizerWrapper::Sequence(steps) => steps.as_ref().iter().any(has_bytes),
            _ => false,
        }
    }
    let alphabet = || tokenizers::pre_tokenizers::byte_level::ByteLevel::alphabet();
    !(inner.get_pre_tokenizer().is_some_and(has_bytes)
        && alphabet().into_iter().all(|character| has(model, character, false, false)))
}

/// The first character of `text` that the tokenizer drops.
pub fn missing(inner: &tokenizers::Tokenizer, text: &str) -> Option<char> {
    let model = incomplete(inner)?;
    let added = inner.get_added_vocabulary();
    let mut words = added.extract_and_normalize(inner.get_normalizer(), text);
    if let Some(step) = inner.get_pre_tokenizer() {
        step.pre_tokenize(&mut words).ok()?;
    }
    for (word, (start, end), tokens) in
        words.get_splits(OffsetReferential::Original, OffsetType::Byte)
    {
        if tokens.is_some() {
            continue;
        }
        let length = word.chars().count();
        let dropped = word
            .chars()
            .enumerate()
            .find(|&(at, character)| !has(model, character, at > 0, at + 1 == length));
        let Some((_, dropped)) = dropped else {
            continue;
        };
        // The character as it is in the text, if the normalizer has changed it to bytes.
        let original = text.get(start..end).unwrap_or_default();
        let is_there = original.contains(dropped);
        let found = original.chars().find(|c| !c.is_ascii());
        return Some(if is_there { dropped } else { found.unwrap_or(dropped) });
    }
    None
}

/// Whether a character of a word has a token.
fn has(model: &BPE, character: char, continues: bool, ends: bool) -> bool {
    use tokenizers::Model;
    let mut name = String::new();
    if let (true, Some(prefix)) = (continues, &model.continuing_subword_prefix) {
        name.push_str(prefix);
    }
    name.push(character);
    if let (true, Some(suffix)) = (ends, &model.end_of_word_suffix) {
        name.push_str(suffix);
    }
    model.token_to_id(&name).is_some()
}
