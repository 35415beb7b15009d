//! The bytes of a single token. A token may be a part of a character, which no string can hold.

use super::Tokenizer;
use super::decode::byte_token;

impl Tokenizer {
    /// The bytes of token `id` inside a text, or the name of a special token. None if no token has
    /// this id.
    pub fn token_bytes(&self, id: u32) -> Option<Vec<u8>> {
        let name = self.inner.id_to_token(id)?;
        // Some decoders drop a blank at the beginning of a text, so the token is decoded after
        // another copy of it.
        let once = self.decode(&[id]).ok()?;
        let twice = self.decode(&[id, id]).ok()?;
        match twice.strip_prefix(&once) {
            Some("") => Some(name.into_bytes()),
            Some(text) if !text.contains(char::REPLACEMENT_CHARACTER) => Some(text.into()),
            _ => Some(partial(&name).unwrap_or(name.into_bytes())),
        }
    }
}

/// The bytes that `name` encodes: `<0xE2>` in SentencePiece, a character for each byte in GPT-2's
/// alphabet.
fn partial(name: &str) -> Option<Vec<u8>> {
    match byte_token(name) {
        Some(byte) => Some(vec![byte]),
        None => name.chars().map(byte).collect(),
    }
}

/// The byte of a character in GPT-2's alphabet: printable bytes stand for themselves, and the
/// others are the characters from U+0100, in order.
pub fn byte(character: char) -> Option<u8> {
    let code = u32::from(character);
    match code {
        0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF => Some(code as u8),
        0x100..=0x120 => Some((code - 0x100) as u8),
        0x121..=0x142 => Some((code - 0x121 + 0x7F) as u8),
        0x143 => Some(0xAD),
        _ => None,
    }
}
