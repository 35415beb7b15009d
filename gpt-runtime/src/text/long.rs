//! Encodes long texts in parts.
//!
//! The `tokenizers` crate keeps tens of bytes for each token until a text is encoded, and encodes a
//! text on one thread. So a long text is cut, and its parts are encoded on all processors.
//!
//! A cut must not change the tokens. Whether one does depends on the tokenizer: words may begin
//! with a blank, line breaks may be one token, and some tokenizers put a blank before each text. So
//! every cut is tried: the text around it must have the same tokens with the cut and without. A
//! text without a place for a cut is encoded as a whole.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::Tokenizer;
use crate::{Error, threads};

/// The fewest bytes of a part, except the last.
const PART: usize = 256 << 10;

/// Bytes before a cut, and bytes after it, that are encoded to try the cut.
const AROUND: usize = 200;

/// Cuts that are tried in a row. If none of them works, the search continues one part further on.
const TRIES: usize = 64;

impl Tokenizer {
    /// Encodes a long text without adding tokens, on all processors. Calls `sink` with the tokens
    /// of each part, in order, and the number of bytes of `text` up to the end of the part. The
    /// tokens of all parts together are those of [`encode`](Self::encode).
    ///
    /// # Errors
    /// Fails if a character has no token. `sink` may have received the parts before it.
    pub fn encode_long(
        &self,
        text: &str,
        mut sink: impl FnMut(&[u32], usize),
    ) -> Result<(), Error> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let mut done = 0;
        let mut cuts = self.cuts(text, PART).peekable();
        while cuts.peek().is_some() {
            // A round encodes a few parts and waits for all of them, so that only their tokens are
            // in memory.
            let mut parts = Vec::new();
            for end in cuts.by_ref().take(4 * threads) {
                parts.push(&text[done..end]);
                done = end;
            }
            let encoded = self.encode_parts(&parts, threads);
            let mut end = done - parts.iter().map(|part| part.len()).sum::<usize>();
            for (part, ids) in parts.iter().zip(encoded) {
                end += part.len();
                sink(&ids?, end);
            }
        }
        Ok(())
    }

    fn encode_parts(&self, parts: &[&str], threads: usize) -> Vec<Result<Vec<u32>, Error>> {
        let next = AtomicUsize::new(0);
        let encoded = Mutex::new(Vec::new());
        let encode_rest = || {
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some(part) = parts.get(at) else { return };
                let ids = self.encode(part);
                encoded.lock().unwrap_or_else(PoisonError::into_inner).push((at, ids));
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..threads.min(parts.len()) {
                threads::spawn(scope, encode_rest);
            }
        });
        let mut encoded = encoded.into_inner().unwrap_or_else(PoisonError::into_inner);
        encoded.sort_by_key(|(at, _)| *at);
        encoded.into_iter().map(|(_, ids)| ids).collect()
    }

    /// The ends of the parts of a text, which have at least `length` bytes each, except the last.
    fn cuts<'a>(&'a self, text: &'a str, length: usize) -> impl Iterator<Item = usize> + 'a {
        let mut start = 0;
        std::iter::from_fn(move || {
            if start == text.len() {
                return None;
            }
            let mut from = start.saturating_add(length);
            let cut = loop {
                if from >= text.len() {
                    break text.len();
                }
                let places = places(text, from);
                if let Some(cut) = places.take(TRIES).find(|at| self.may_cut(text, *at)) {
                    break cut;
                }
                from += length;
            };
            start = cut;
            Some(cut)
        })
    }

    /// Whether the text has the same tokens if it is cut at byte `at`.
    fn may_cut(&self, text: &str, at: usize) -> bool {
        let start = text.floor_char_boundary(at.saturating_sub(AROUND));
        let end = text.ceil_char_boundary((at + AROUND).min(text.len()));
        let encode = |range: std::ops::Range<usize>| self.encode(&text[range]).ok();
        let (Some(mut before), Some(after), Some(whole)) =
            (encode(start..at), encode(at..end), encode(start..end))
        else {
            return false;
        };
        before.extend(after);
        before == whole
    }
}

/// Places at or after byte `from` where a text may be cut: the beginnings of lines, and blanks.
fn places(text: &str, from: usize) -> impl Iterator<Item = usize> + '_ {
    let from = text.ceil_char_boundary(from);
    let bytes = text[from..].bytes().enumerate();
    bytes.filter_map(move |(at, byte)| match byte {
        b'\n' => Some(from + at + 1),
        b' ' => Some(from + at),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::tests::fixtures::{lines, tokenizer};

    /// Parts have the tokens of the whole, for every kind of tokenizer.
    #[test]
    fn parts_have_the_tokens_of_the_whole() {
        let lines = lines();
        let lines = &lines[..lines.len().min(60)];
        let own = [
            Tokenizer::characters(&lines.join("\n ")).unwrap(),
            Tokenizer::byte_pairs(&lines.join("\n"), 400).unwrap(),
        ];
        let names = ["bert", "gemma", "gpt1", "llama", "unigram"];
        for (i, tokenizer) in own.into_iter().chain(names.map(tokenizer)).enumerate() {
            for between in ["\n", "\n\n", " ", "  "] {
                let text = lines.join(between);
                let Ok(whole) = tokenizer.encode(&text) else { continue };
                let (mut parts, mut start, mut count) = (Vec::new(), 0, 0);
                for end in tokenizer.cuts(&text, 500) {
                    parts.extend(tokenizer.encode(&text[start..end]).unwrap());
                    (start, count) = (end, count + 1);
                }
                assert_eq!(parts, whole, "{i} {between:?}");
                // Byte pairs and characters can be cut.
                assert!(count > 2 || i > 1, "{i} {between:?}: {count} parts");
            }
        }
    }

    #[test]
    fn a_long_text_is_encoded_in_order() {
        let text: String = (0..100_000u64).map(|i| format!("{i} {}\n", i * i)).collect();
        let tokenizer = Tokenizer::byte_pairs(&text[..20_000], 300).unwrap();
        let (mut ids, mut ends) = (Vec::new(), Vec::new());
        tokenizer
            .encode_long(&text, |part, end| {
                ids.extend_from_slice(part);
                ends.push(end);
            })
            .unwrap();
        assert_eq!(ids, tokenizer.encode(&text).unwrap());
        assert!(ends.len() > 5 && ends.is_sorted());
        assert_eq!(ends.last(), Some(&text.len()));
        let error = Tokenizer::characters("abc\n ").unwrap().encode_long("abcd", |_, _| {});
        assert!(error.unwrap_err().to_string().contains("'d'"));
        tokenizer.encode_long("", |_, _| panic!("there is nothing")).unwrap();
    }
}
