//! Labels of tokens. Whitespace is made visible. A byte that is not part of a character is shown as
//! its number.

/// The label of `bytes`: `␣be`, `⏎`, `<0xE2>`, `<U+200B>`.
pub fn label(bytes: &[u8]) -> String {
    let mut label = String::new();
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                ' ' => label.push('␣'),
                '\n' => label.push('⏎'),
                '\t' => label.push('⇥'),
                '\r' => label.push('␍'),
                c if is_invisible(c) => label += &format!("<U+{:04X}>", u32::from(c)),
                c => label.push(c),
            }
        }
        for byte in chunk.invalid() {
            label += &format!("<0x{byte:02X}>");
        }
    }
    label
}

/// Whether a character is invisible, or changes how its neighbours are drawn: other whitespace,
/// controls, joiners, text directions and variation selectors.
fn is_invisible(c: char) -> bool {
    c.is_whitespace()
        || c.is_control()
        || matches!(
            c,
            '\u{AD}' | '\u{61C}' | '\u{180E}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}'
                | '\u{2060}'..='\u{206F}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}'
                | '\u{E0000}'..='\u{E0FFF}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_and_parts_of_characters_are_visible() {
        assert_eq!(label(b" be\n"), "␣be⏎");
        assert_eq!(label("\té\r".as_bytes()), "⇥é␍");
        assert_eq!(label(b"\xE2\x80"), "<0xE2><0x80>");
        assert_eq!(label(b"a\xF0\x9F\xA6\x80\x9F"), "a🦀<0x9F>");
        assert_eq!(label("\0\u{A0}\u{202E}".as_bytes()), "<U+0000><U+00A0><U+202E>");
        assert_eq!(label(b"<b>&"), "<b>&");
    }
}
