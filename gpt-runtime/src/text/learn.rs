//! Trains tokenizers: one token for each character, or byte pair encoding (Sennrich et al. 2016).

use serde_json::json;
use std::collections::BTreeSet;
use tokenizers::models::bpe::BpeTrainer;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{Model, TokenizerBuilder};

use super::{Tokenizer, source};
use crate::Error;

/// Tokens of a byte-level encoding before the first merge.
const BYTES: usize = 256;

/// The characters that occur in `text`. Collecting into a set would first list all of them, in four
/// times the memory of the text.
fn characters(text: &str) -> BTreeSet<char> {
    let mut found = BTreeSet::new();
    for character in text.chars() {
        found.insert(character);
    }
    found
}

impl Tokenizer {
    /// One token for each character in `text`, ordered by code point.
    ///
    /// # Errors
    /// Fails if the text is empty.
    pub fn characters(text: &str) -> Result<Tokenizer, Error> {
        let characters = characters(text);
        if characters.is_empty() {
            return Err(Error::Input(
                "the text is empty; there are no characters to learn".to_owned(),
            ));
        }
        let vocab: serde_json::Map<_, _> = characters
            .iter()
            .zip(0u32..)
            .map(|(character, id)| (character.to_string(), json!(id)))
            .collect();
        // A byte pair encoding without merges.
        source::from_json(&json!({
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
            "pre_tokenizer": null, "post_processor": null, "decoder": { "type": "Fuse" },
            "model": { "type": "BPE", "vocab": vocab, "merges": [] },
        }))
    }

    /// Trains a byte-level byte pair encoding like GPT-2's with at most `size` tokens. It starts
    /// from the 256 bytes and merges the most frequent pair until there are `size` tokens or no
    /// pair occurs twice. It encodes any text.
    ///
    /// # Errors
    /// Fails if `size` is below 256.
    pub fn byte_pairs(text: &str, size: usize) -> Result<Tokenizer, Error> {
        if size < BYTES {
            return Err(Error::Input(format!(
                "a byte pair encoding of {size} tokens was requested; it has to have at least {BYTES}, one for each byte"
            )));
        }
        let failed = |error: tokenizers::Error| {
            Error::tokenizer(format!("byte pairs cannot be learned: {error}")).caused_by(error)
        };
        // A merge removes a symbol of the text, so there are no more of them. The trainer allocates
        // what is asked for.
        let size = size.min(BYTES + text.len());
        let mut trainer = BpeTrainer::builder()
            .show_progress(false)
            .min_frequency(2)
            .vocab_size(size)
            .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
            .build();
        let mut tokenizer = TokenizerBuilder::new()
            .with_model(tokenizers::models::bpe::BPE::default())
            .with_normalizer(None::<tokenizers::NormalizerWrapper>)
            .with_pre_tokenizer(Some(ByteLevel::new(false, true, true)))
            .with_post_processor(None::<tokenizers::PostProcessorWrapper>)
            .with_decoder(Some(ByteLevel::default()))
            .build()
            .map_err(failed)?;
        tokenizer.train(&mut trainer, text.split_inclusive('\n')).map_err(failed)?;
        debug_assert!(tokenizer.get_model().get_vocab_size() <= size);
        let json = tokenizer.to_string(false).map_err(failed)?;
        let json = serde_json::from_str(&json).map_err(|error: serde_json::Error| {
            Error::tokenizer(format!("byte pairs cannot be kept: {error}")).caused_by(error)
        })?;
        source::from_json(&json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "First Citizen:\nBefore we proceed any further, hear me speak.\n\nAll:\nSpeak, speak.\n";

    #[test]
    fn characters_in_the_order_of_code_points() {
        let tokenizer = Tokenizer::characters("hello\né").unwrap();
        assert_eq!(tokenizer.vocab(), 6);
        assert_eq!(tokenizer.encode("\nhé").unwrap(), [0, 2, 5]);
        assert_eq!(tokenizer.decode(&[2, 1, 3, 3, 4]).unwrap(), "hello");
        let error = tokenizer.encode("hell yes").unwrap_err().to_string();
        assert!(error.contains("' '"), "{error}");
        assert!(Tokenizer::characters("").is_err());
    }

    #[test]
    fn byte_pairs_compress_frequent_text_and_encode_any() {
        let tokenizer = Tokenizer::byte_pairs(&TEXT.repeat(3), 300).unwrap();
        assert!((257..=300).contains(&tokenizer.vocab()), "{}", tokenizer.vocab());
        let ids = tokenizer.encode(TEXT).unwrap();
        assert!(ids.len() < TEXT.len() / 2, "{} tokens", ids.len());
        assert_eq!(tokenizer.decode(&ids).unwrap(), TEXT);
        let other = "日本語, naïve\t\u{1F600}";
        assert_eq!(tokenizer.decode(&tokenizer.encode(other).unwrap()).unwrap(), other);
        assert!(Tokenizer::byte_pairs(TEXT, 255).is_err());
        // The text limits the number of tokens, not the memory.
        let all = Tokenizer::byte_pairs(TEXT, usize::MAX).unwrap();
        assert_eq!(all.vocab(), Tokenizer::byte_pairs(TEXT, 10_000).unwrap().vocab());
        // The same text gives the same tokens.
        let again = Tokenizer::byte_pairs(&TEXT.repeat(3), 300).unwrap();
        assert_eq!(again.encode(TEXT).unwrap(), ids);
    }

    #[test]
    fn a_saved_tokenizer_reads_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokenizer.json");
        for tokenizer in
            [Tokenizer::characters(TEXT).unwrap(), Tokenizer::byte_pairs(TEXT, 280).unwrap()]
        {
            tokenizer.save(&path).unwrap();
            let read = Tokenizer::from_path(&path).unwrap();
            assert_eq!(read.encode(TEXT).unwrap(), tokenizer.encode(TEXT).unwrap());
            assert_eq!(read.vocab(), tokenizer.vocab());
        }
        let files = std::fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(files, 1, "temporary files are left behind");
        let nowhere = folder.path().join("no/such/folder/tokenizer.json");
        assert!(Tokenizer::characters("a").unwrap().save(&nowhere).is_err());
    }
}
