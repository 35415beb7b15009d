//! Decodes generated tokens as they arrive.
//!
//! A token may end within a character, and the text so far may end within a stop string. Incomplete
//! characters and possible stop strings are held back, so streamed text is final.

use super::Tokenizer;
use super::decode::Decoder;

/// Decodes tokens one by one. All pieces together are the text of all tokens decoded at once.
pub struct TextStream {
    tokenizer: Tokenizer,
    decoder: Decoder,
}

impl TextStream {
    pub(super) fn new(tokenizer: Tokenizer, prompt: &[u32]) -> TextStream {
        let decoder = (*tokenizer.decoder).clone();
        let mut stream = TextStream { tokenizer, decoder };
        for &id in prompt {
            stream.push(id);
        }
        stream.decoder.begin();
        stream
    }

    /// Adds a token and returns the text that is complete with it, which may be empty.
    pub fn push(&mut self, id: u32) -> String {
        // Ids without a token and special tokens have no text.
        self.tokenizer.text_token(id).map(|token| self.decoder.push(token)).unwrap_or_default()
    }

    /// Returns the text that was held back, with U+FFFD for incomplete characters, and ends the
    /// text.
    pub fn flush(&mut self) -> String {
        // Only decoders that no language model has can fail, for tokens that they do not know.
        self.decoder.finish().unwrap_or_default()
    }
}

/// Searches streamed text for stop strings.
pub struct StopStrings {
    stops: Vec<String>,
    held: String,
}

/// A piece of generated text.
#[derive(Debug, PartialEq, Eq)]
pub struct Piece {
    /// Text that cannot be part of a stop string.
    pub text: String,
    /// Whether a stop string was found; `text` ends before it.
    pub stopped: bool,
}

impl StopStrings {
    /// Searches for `stops`; empty strings are ignored.
    pub fn new(stops: Vec<String>) -> StopStrings {
        StopStrings {
            stops: stops.into_iter().filter(|s| !s.is_empty()).collect(),
            held: String::new(),
        }
    }

    /// Adds `text` and returns the part that cannot begin a stop string.
    pub fn push(&mut self, text: &str) -> Piece {
        self.held.push_str(text);
        let found = self.stops.iter().filter_map(|stop| self.held.find(stop.as_str())).min();
        if let Some(at) = found {
            self.held.truncate(at);
            return Piece { text: std::mem::take(&mut self.held), stopped: true };
        }
        // The longest suffix of the text that is a prefix of a stop string.
        let open = |&at: &usize| self.stops.iter().any(|stop| stop.starts_with(&self.held[at..]));
        let starts = self.held.char_indices().map(|(at, _)| at);
        let keep_from = starts.into_iter().find(open).unwrap_or(self.held.len());
        let rest = self.held.split_off(keep_from);
        Piece { text: std::mem::replace(&mut self.held, rest), stopped: false }
    }

    /// Returns the text that was held back, at the end of the stream.
    pub fn flush(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(text: &str, stopped: bool) -> Piece {
        Piece { text: text.to_owned(), stopped }
    }

    #[test]
    fn stop_strings_are_held_back_and_removed() {
        let mut stops = StopStrings::new(vec!["\n\n".to_owned(), "END".to_owned(), String::new()]);
        assert_eq!(stops.push("a\n"), piece("a", false));
        assert_eq!(stops.push("b"), piece("\nb", false));
        assert_eq!(stops.push("EE"), piece("E", false));
        assert_eq!(stops.push("N"), piece("", false));
        assert_eq!(stops.push("D of it"), piece("", true));
        assert_eq!(stops.push("ééEN"), piece("éé", false));
        assert_eq!(stops.flush(), "EN");
    }

    #[test]
    fn without_stop_strings_nothing_is_held() {
        let mut stops = StopStrings::new(Vec::new());
        assert_eq!(stops.push("anything"), piece("anything", false));
        assert_eq!(stops.flush(), "");
    }
}
