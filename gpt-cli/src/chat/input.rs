//! Reads messages from a terminal, with line editing and a history, or line by line from a pipe.

use std::io::{BufRead, ErrorKind, IsTerminal, StdinLock, stderr, stdin, stdout};

use rustyline::error::ReadlineError;
use rustyline::history::MemHistory;
use rustyline::{Config, Editor};

use crate::output::Failure;

/// The result of reading the input.
pub enum Event {
    /// A message, or a command.
    Message(String),
    /// Ctrl-C before the end of a line.
    Interrupted,
    /// Ctrl-D, or the end of a pipe.
    End,
}

/// The source of messages.
pub enum Input {
    /// A terminal. The history is not saved to a file, because a conversation is written to a file
    /// only on demand.
    Terminal(Box<Editor<(), MemHistory>>),
    /// A pipe, or a terminal while standard output is redirected.
    Lines {
        stdin: StdinLock<'static>,
        /// Lines that were read.
        count: usize,
    },
}

impl Input {
    pub fn open() -> Result<Input, Failure> {
        if stdin().is_terminal() && stdout().is_terminal() {
            let config = Config::builder().auto_add_history(false).build();
            let editor = Editor::with_history(config, MemHistory::new());
            return Ok(Input::Terminal(Box::new(editor.map_err(unreadable)?)));
        }
        Ok(Input::Lines { stdin: stdin().lock(), count: 0 })
    }

    /// Reads a message. A line that ends with a backslash continues in the next one.
    pub fn next(&mut self) -> Result<Event, Failure> {
        let mut message = String::new();
        loop {
            let prompt = if message.is_empty() { "> " } else { ". " };
            let line = match self.line(prompt)? {
                Event::Message(line) => line,
                // The end of the input also ends a message that would continue.
                Event::End if !message.is_empty() => break,
                event => return Ok(event),
            };
            match line.strip_suffix('\\') {
                Some(begun) => {
                    message.push_str(begun);
                    message.push('\n');
                }
                None => {
                    message.push_str(&line);
                    break;
                }
            }
        }
        if let Input::Terminal(editor) = self {
            // Adding an entry to a history in memory does not fail.
            let _ = editor.add_history_entry(message.as_str());
        }
        Ok(Event::Message(message))
    }

    fn line(&mut self, prompt: &str) -> Result<Event, Failure> {
        match self {
            Input::Terminal(editor) => match editor.readline(prompt) {
                Ok(line) => Ok(Event::Message(line)),
                Err(ReadlineError::Interrupted) => Ok(Event::Interrupted),
                Err(ReadlineError::Eof) => Ok(Event::End),
                Err(ReadlineError::Io(error)) if error.kind() == ErrorKind::InvalidData => {
                    eprintln!("note: the line is not UTF-8 and was ignored");
                    Ok(Event::Message(String::new()))
                }
                Err(error) => Err(unreadable(error)),
            },
            Input::Lines { stdin, count } => {
                if std::io::stdin().is_terminal() && stderr().is_terminal() {
                    eprint!("{prompt}");
                }
                let mut bytes = Vec::new();
                let read = stdin.read_until(b'\n', &mut bytes);
                if read.map_err(|error| unreadable(error.into()))? == 0 {
                    return Ok(Event::End);
                }
                *count += 1;
                let text = String::from_utf8(bytes).unwrap_or_else(|invalid| {
                    eprintln!(
                        "note: line {count} of standard input is not UTF-8; its invalid bytes were replaced"
                    );
                    String::from_utf8_lossy(invalid.as_bytes()).into_owned()
                });
                Ok(Event::Message(text.trim_end_matches(['\n', '\r']).to_owned()))
            }
        }
    }
}

fn unreadable(error: ReadlineError) -> Failure {
    Failure::Input(format!("standard input cannot be read: {error}"))
}
