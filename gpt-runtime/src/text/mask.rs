//! The mask token, which stands for a token that a model is to predict.
//!
//! A tokenizer that came with a model names it in its settings, or has a special token with a known
//! name. A tokenizer that was learned from a text has none, and [`Tokenizer::with_mask_token`] adds
//! one.

use std::sync::Arc;

use tokenizers::{AddedToken, Model};

use super::Tokenizer;
use crate::Error;

/// The name of the setting in `tokenizer_config.json`.
const SETTING: &str = "mask_token";

/// The name of a mask token that is added.
const ADDED: &str = "[MASK]";

/// Names that only mask tokens have, if they are special tokens: BERT's and RoBERTa's. Older files
/// of these families have no setting.
const KNOWN: [&str; 2] = [ADDED, "<mask>"];

impl Tokenizer {
    /// The name and the id of the token that stands for a hidden token; none if there is no such
    /// token.
    pub fn mask_token(&self) -> Option<(&str, u32)> {
        let named = self.special.iter().find(|(name, _)| name == SETTING);
        let named = named.map(|(_, token)| token.as_str());
        let added = self.inner.get_added_vocabulary();
        let known = KNOWN.into_iter().filter(|name| added.is_special_token(name));
        let mut names = named.into_iter().chain(known);
        names.find_map(|name| Some((name, self.inner.token_to_id(name)?)))
    }

    /// This tokenizer, with the mask token `[MASK]` if it has none. Its id follows all others.
    ///
    /// # Errors
    /// Fails if the ids of the tokenizer have gaps, so that the id of a new token is in use.
    pub fn with_mask_token(&self) -> Result<Tokenizer, Error> {
        if self.mask_token().is_some() {
            return Ok(self.clone());
        }
        let failed = |why: &str| {
            Error::tokenizer(format!(
                "the mask token {ADDED} cannot be added to the tokenizer: {why}"
            ))
        };
        if self.inner.token_to_id(ADDED).is_some() {
            return Err(failed("it is a token of plain text"));
        }
        let most = self.inner.get_vocab(true).values().copied().max().unwrap_or(0);
        let mut inner = (*self.inner).clone();
        let token = AddedToken::from(ADDED, true);
        inner.add_special_tokens([token]).map_err(|error| failed(&error.to_string()))?;
        if inner.token_to_id(ADDED) != Some(most + 1)
            || inner.get_model().id_to_token(most + 1).is_some()
        {
            return Err(failed("its ids have gaps"));
        }
        let others = self.special.iter().filter(|(name, _)| name != SETTING).cloned();
        let special: Vec<_> = others.chain([(SETTING.to_owned(), ADDED.to_owned())]).collect();
        Ok(Tokenizer {
            inner: Arc::new(inner),
            special: special.into(),
            marked: Arc::default(),
            ..self.clone()
        })
    }

    /// Whether there is a token `id`.
    pub(crate) fn has(&self, id: u32) -> bool {
        self.inner.id_to_token(id).is_some()
    }

    /// The text of token `id`; the name of a special token, and of a token that has no text.
    pub(crate) fn text_of(&self, id: u32) -> Result<String, Error> {
        let text = self.decode(&[id])?;
        match text.is_empty() {
            true => Ok(self.inner.id_to_token(id).unwrap_or_default()),
            false => Ok(text),
        }
    }

    /// This tokenizer for texts in which the names of special tokens, such as `[MASK]`, are plain
    /// text.
    pub fn without_special_tokens(&self) -> Tokenizer {
        let mut inner = (*self.inner).clone();
        inner.set_encode_special_tokens(true);
        Tokenizer { inner: Arc::new(inner), marked: Arc::default(), ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "a [MASK] is plain text, and so is [MASK]S; to be or not to be, to be";

    #[test]
    fn a_learned_tokenizer_gets_a_mask_token() {
        for plain in [
            Tokenizer::characters(TEXT).unwrap(),
            Tokenizer::byte_pairs(&TEXT.repeat(9), 280).unwrap(),
        ] {
            assert_eq!(plain.mask_token(), None);
            let masked = plain.with_mask_token().unwrap();
            let id = plain.vocab() as u32;
            assert_eq!(masked.mask_token(), Some(("[MASK]", id)));
            assert_eq!(masked.vocab(), plain.vocab() + 1);
            // A prompt has mask tokens.
            let ids = masked.encode("to [MASK][MASK]o").unwrap();
            let expected = [plain.encode("to ").unwrap(), vec![id, id], plain.encode("o").unwrap()];
            assert_eq!(ids, expected.concat());
            assert_eq!(masked.decode(&ids).unwrap(), "to o");
            // A text to learn from has none.
            let text = masked.without_special_tokens();
            assert_eq!(text.encode(TEXT).unwrap(), plain.encode(TEXT).unwrap());
            assert_eq!(text.decode(&text.encode(TEXT).unwrap()).unwrap(), TEXT);
            // Once is enough.
            let again = masked.with_mask_token().unwrap();
            assert_eq!((again.mask_token(), again.vocab()), (masked.mask_token(), masked.vocab()));
        }
    }

    #[test]
    fn a_mask_token_is_saved_with_its_tokenizer() {
        let folder = tempfile::tempdir().unwrap();
        let masked = Tokenizer::characters(TEXT).unwrap().with_mask_token().unwrap();
        masked.save(&folder.path().join("tokenizer.json")).unwrap();
        let read = Tokenizer::from_path(folder.path()).unwrap();
        assert_eq!(read.mask_token(), masked.mask_token());
        let prompt = "to [MASK]e";
        assert_eq!(read.encode(prompt).unwrap(), masked.encode(prompt).unwrap());
        let text = read.without_special_tokens();
        assert_eq!(
            text.encode(TEXT).unwrap(),
            masked.without_special_tokens().encode(TEXT).unwrap()
        );
        // Without settings, the name of the special token is known.
        std::fs::remove_file(folder.path().join("tokenizer_config.json")).unwrap();
        let read = Tokenizer::from_path(folder.path()).unwrap();
        assert_eq!(read.mask_token(), masked.mask_token());
    }

    /// A tokenizer of words with a special token, and settings beside it.
    #[test]
    fn mask_tokens_of_others_are_found() {
        let read = |special: &str, files: &[(&str, &str)]| {
            let folder = tempfile::tempdir().unwrap();
            let json = serde_json::json!({
                "version": "1.0", "truncation": null, "padding": null, "normalizer": null,
                "added_tokens": [{ "id": 3, "content": special, "special": true, "single_word": false,
                    "lstrip": true, "rstrip": false, "normalized": false }],
                "pre_tokenizer": { "type": "Whitespace" }, "post_processor": null, "decoder": null,
                "model": { "type": "WordLevel", "unk_token": "?", "vocab": { "a": 0, "b": 1, "?": 2, special: 3 } },
            });
            std::fs::write(folder.path().join("tokenizer.json"), json.to_string()).unwrap();
            for (name, text) in files {
                std::fs::write(folder.path().join(name), text).unwrap();
            }
            let tokenizer = Tokenizer::from_path(folder.path()).unwrap();
            tokenizer.mask_token().map(|(name, id)| (name.to_owned(), id))
        };
        let found = |name: &str| Some((name.to_owned(), 3));
        assert_eq!(read("<mask>", &[]), found("<mask>"));
        assert_eq!(read("[MASK]", &[]), found("[MASK]"));
        assert_eq!(read("<blank>", &[]), None);
        let settings = ("tokenizer_config.json", r#"{ "mask_token": { "content": "<blank>" } }"#);
        assert_eq!(read("<blank>", &[settings]), found("<blank>"));
        let map = ("special_tokens_map.json", r#"{ "mask_token": "<blank>" }"#);
        assert_eq!(read("<blank>", &[map]), found("<blank>"));
        let unknown = ("tokenizer_config.json", r#"{ "mask_token": "<none>" }"#);
        assert_eq!(read("<mask>", &[unknown]), found("<mask>"));
    }
}
