//! Parses lines that are commands rather than messages.

use std::path::PathBuf;

use crate::output::Failure;

/// The text of `/help`.
pub const HELP: &str = "\
/system TEXT  sets the system message; without TEXT, removes it
/reset        forgets the conversation and keeps the system message
/save FILE    writes the conversation as JSON
/load FILE    continues a saved conversation
/quit         ends the conversation, as Ctrl-D does
A line that ends with \\ continues in the next one. Arrow keys recall messages.
";

/// A command with its argument.
#[derive(Debug, PartialEq)]
pub enum Command {
    Help,
    Reset,
    System(String),
    Save(PathBuf),
    Load(PathBuf),
    Quit,
}

impl Command {
    /// Parses a line. None for a message.
    ///
    /// # Errors
    /// Fails if there is no such command, or if its argument is missing.
    pub fn parse(line: &str) -> Result<Option<Command>, Failure> {
        let Some(line) = line.strip_prefix('/') else {
            return Ok(None);
        };
        let (name, argument) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let argument = argument.trim();
        let file = || match argument {
            "" => Err(Failure::Input(format!(
                "/{name} takes the name of a file, as in /{name} chat.json"
            ))),
            path => Ok(PathBuf::from(path)),
        };
        Ok(Some(match name {
            "help" => Command::Help,
            "reset" => Command::Reset,
            "system" => Command::System(argument.to_owned()),
            "save" => Command::Save(file()?),
            "load" => Command::Load(file()?),
            "quit" | "exit" | "bye" => Command::Quit,
            _ => {
                return Err(Failure::Input(format!(
                    "there is no command /{name}; /help lists the commands"
                )));
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_told_from_messages() {
        let parse = |line| Command::parse(line).unwrap_or_else(|_| panic!("{line}"));
        assert_eq!(parse("what is 1/2?"), None);
        assert_eq!(parse("/reset"), Some(Command::Reset));
        let save = Command::Save(PathBuf::from("a chat.json"));
        assert_eq!(parse("/save  a chat.json"), Some(save));
        assert_eq!(parse("/system"), Some(Command::System(String::new())));
        for line in ["/save", "/rest", "/"] {
            assert!(matches!(Command::parse(line), Err(Failure::Input(_))), "{line}");
        }
    }
}
