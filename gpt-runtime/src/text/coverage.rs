//! Characters without a token.
//!
//! If a byte pair encoding has neither bytes nor a token for unknown characters, the `tokenizers`
//! crate drops them. Here a text with such a character is an error.

use tokenizers::models::bpe::BPE;
use tokenizers::{
    Model, ModelWrapper, OffsetReferential, OffsetType, PreTokenizer, PreTokenizerWrapper,
};

/// The byte pair encoding of a tokenizer, if it has neither an unknown token nor byte fallback.
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
    let dropped = |word: &str| {
        let last = word.char_indices().next_back().map_or(0, |(at, _)| at);
        let has = |&(at, character): &(usize, char)| has(model, character, at > 0, at == last);
        word.char_indices().find(|at| !has(at)).map(|(_, character)| character)
    };
    let added = inner.get_added_vocabulary();
    // Without these steps, the whole text is one word and needs no copy.
    if inner.get_pre_tokenizer().is_none() && inner.get_normalizer().is_none() && added.is_empty() {
        return dropped(text);
    }
    let mut words = added.extract_and_normalize(inner.get_normalizer(), text);
    if let Some(step) = inner.get_pre_tokenizer() {
        step.pre_tokenize(&mut words).ok()?;
    }
    for (word, (start, end), tokens) in
        words.get_splits(OffsetReferential::Original, OffsetType::Byte)
    {
        let Some(dropped) = tokens.is_none().then(|| dropped(word)).flatten() else {
            continue;
        };
        // The normalizer may have changed the character, or the pre-tokenizer turned it into bytes.
        let original = text.get(start..end).unwrap_or_default();
        if original.contains(dropped) {
            return Some(dropped);
        }
        return Some(original.chars().find(|c| !c.is_ascii()).unwrap_or(dropped));
    }
    None
}

/// Whether a character of a word has a token.
fn has(model: &BPE, character: char, continues: bool, ends: bool) -> bool {
    let prefix = model.continuing_subword_prefix.as_deref().filter(|_| continues);
    let suffix = model.end_of_word_suffix.as_deref().filter(|_| ends);
    match (prefix, suffix) {
        (None, None) => model.token_to_id(character.encode_utf8(&mut [0; 4])).is_some(),
        (prefix, suffix) => {
            let (prefix, suffix) = (prefix.unwrap_or_default(), suffix.unwrap_or_default());
            model.token_to_id(&format!("{prefix}{character}{suffix}")).is_some()
        }
    }
}
