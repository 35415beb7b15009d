//! The message of a fault, as a `const fn` can write it.

use super::{Fault, Problem};

/// A line of text that a `const fn` can write. Text beyond the capacity is cut off.
pub struct MessageBuffer {
    bytes: [u8; MessageBuffer::CAPACITY],
    len: usize,
}

impl MessageBuffer {
    const CAPACITY: usize = 320;

    pub const fn of(fault: &Fault<'_>) -> MessageBuffer {
        let mut message = MessageBuffer { bytes: [0; MessageBuffer::CAPACITY], len: 0 };
        message.text("the plan is inconsistent: ");
        message.text(fault.pass);
        if !fault.step.is_empty() {
            message.text(", step `");
            message.text(fault.step);
            message.text("`");
        }
        message.text(": ");
        match fault.problem {
            Problem::Text(problem) => {
                message.text(fault.subject);
                message.text(" ");
                message.text(problem);
            }
            Problem::Size { what, found, expected } => {
                message.text(what);
                message.text(" of ");
                message.text(fault.subject);
                message.text(" is ");
                message.number(found);
                message.text(", expected ");
                message.number(expected);
            }
        }
        message
    }

    const fn text(&mut self, text: &str) {
        let text = text.as_bytes();
        let mut i = 0;
        while i < text.len() && self.len < MessageBuffer::CAPACITY {
            self.bytes[self.len] = text[i];
            self.len += 1;
            i += 1;
        }
    }

    const fn number(&mut self, number: u32) {
        if number >= 10 {
            self.number(number / 10);
        }
        let digit = [b'0' + (number % 10) as u8];
        if let Ok(digit) = std::str::from_utf8(&digit) {
            self.text(digit);
        }
    }

    pub const fn as_str(&self) -> &str {
        match std::str::from_utf8(self.bytes.split_at(self.len).0) {
            Ok(text) => text,
            // The capacity ended in the middle of a character.
            Err(_) => "the plan is inconsistent",
        }
    }
}
