//! Text as it comes into being.
//!
//! A token may be part of a character, and a piece of text part of a stop string. Both are held
//! back until it is clear what they are: what is streamed is always whole, and never taken back.

use super::Tokenizer;

/// Tokens of context that decoding gets, so that a tokenizer that treats the beginning of a text
/// specially does not take every token for one.
const CONTEXT: usize = 6;

/// Tokens after which an unfinished character is taken for damage: UTF-8 has four bytes at most.
const PATIENCE: usize = 5;

/// Decodes tokens one by one.
pub struct TextStream {
    tokenizer: Tokenizer,
    /// The last tokens that are settled, then those that are not.
    ids: Vec<u32>,
    settled: usize,
}

impl TextStream {
    pub(super) fn new(tokenizer: Tokenizer, prompt: &[u32]) -> TextStream {
        let ids = prompt[prompt.len().saturating_sub(CONTEXT)..].to_vec();
        TextStream {
            tokenizer,
            settled: ids.len(),
            ids,
        }
    }

    /// The text that became certain with `id`; often all of its own, sometimes none, sometimes
    /// more.
    pub fn push(&mut self, id: u32) -> String {
        self.ids.push(id);
        let text = self.pending();
        if text.ends_with(char::REPLACEMENT_CHARACTER) && self.ids.len() - self.settled < PATIENCE {
            return String::new();
        }
        self.settle();
        text
    }

    /// What was held back, damaged or not.
    pub fn flush(&mut self) -> String {
        let text = self.pending();
        self.settle();
        text
    }

    /// What the unsettled tokens add to the text of the settled ones.
    fn pending(&self) -> String {
        // Decoding fails only for tokens that are none, and those have no text.
        let decode = |ids: &[u32]| self.tokenizer.decode(ids).unwrap_or_default();
        let (before, all) = (decode(&self.ids[..self.settled]), decode(&self.ids));
        match all.strip_prefix(&before) {
            Some(rest) => rest.to_owned(),
            // The settled tokens end within a character that the new ones complete.
            None => all
                .trim_start_matches(before.trim_end_matches(char::REPLACEMENT_CHARACTER))
                .to_owned(),
        }
    }

    fn settle(&mut self) {
        let drop = self.ids.len().saturating_sub(CONTEXT);
        self.ids.drain(..drop);
        self.settled = self.ids.len();
    }
}

/// Watches a text for strings that end it.
pub struct StopStrings {
    stops: Vec<String>,
    held: String,
}

/// What a piece of text came to.
#[derive(Debug, PartialEq, Eq)]
pub struct Piece {
    /// Text that cannot be part of a stop string.
    pub text: String,
    /// Whether a stop string was found; `text` ends before it.
    pub stopped: bool,
}

impl StopStrings {
    /// Watches for `stops`; empty ones stop nothing.
    pub fn new(stops: Vec<String>) -> StopStrings {
        StopStrings {
            stops: stops.into_iter().filter(|s| !s.is_empty()).collect(),
            held: String::new(),
        }
    }

    /// Adds `text` to what is held, and lets go of what is settled.
    pub fn push(&mut self, text: &str) -> Piece {
        self.held.push_str(text);
        let found = self
            .stops
            .iter()
            .filter_map(|stop| self.held.find(stop.as_str()))
            .min();
        if let Some(at) = found {
            self.held.truncate(at);
            return Piece {
                text: std::mem::take(&mut self.held),
                stopped: true,
            };
        }
        // The longest end of the text that is a beginning of a stop string.
        let open = |&at: &usize| {
            self.stops
                .iter()
                .any(|stop| stop.starts_with(&self.held[at..]))
        };
        let starts = self.held.char_indices().map(|(at, _)| at);
        let keep_from = starts.into_iter().find(open).unwrap_or(self.held.len());
        let rest = self.held.split_off(keep_from);
        Piece {
            text: std::mem::replace(&mut self.held, rest),
            stopped: false,
        }
    }

    /// What is held, when nothing more comes.
    pub fn flush(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(text: &str, stopped: bool) -> Piece {
        Piece {
            text: text.to_owned(),
            stopped,
        }
    }

    #[test]
    fn stop_strings_are_held_back_and_cut() {
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
