//! Parses the command line. Help has one layout for subcommands that take only options and another
//! for the rest. clap's errors are shortened to one sentence, like other failures.

use std::env;
use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, Command, CommandFactory, FromArgMatches};

use crate::output::Failure;

/// Help without a title above the options, which saves a line.
const HELP: &str = "{about}\n\n{usage-heading} {usage}\n\n{options}{after-help}";

/// Help with titles above commands, arguments and options, for the program itself and for
/// subcommands that take more than options.
const OVERVIEW: &str = "{about}\n\n{usage-heading} {usage}\n\n{all-args}{after-help}";

/// The widest line of help in columns, on a wide terminal or without a terminal.
const WIDTH: usize = 100;

/// Returns the declared command, and adds what all its subcommands share.
pub fn command<A: CommandFactory>() -> Command {
    let command = A::command()
        .max_term_width(WIDTH)
        .disable_help_subcommand(true)
        .disable_help_flag(true)
        .disable_version_flag(true)
        .arg(help())
        .arg(
            Arg::new("version")
                .short('V')
                .long("version")
                .help("Prints the version")
                .action(ArgAction::Version),
        )
        .help_template(OVERVIEW);
    command.mut_subcommands(|subcommand| {
        let has_positionals = subcommand.get_positionals().next().is_some();
        subcommand
            .max_term_width(WIDTH)
            .help_template(if has_positionals { OVERVIEW } else { HELP })
            .disable_help_flag(true)
            // The list leaves out `--help`, which the user has just typed. With that line, the help
            // of `gpt train` would not fit on a screen.
            .arg(help().hide(true))
            .mut_args(|argument| {
                // `-1` is the option's value, which it may reject, and not an unknown flag.
                match argument.get_action().takes_values() {
                    true => argument.allow_negative_numbers(true),
                    false => argument,
                }
            })
    })
}

/// The standard library's messages for a string that is not a number, and ours.
const NUMBERS: [(&str, &str); 5] = [
    ("invalid digit found in string", "expected a whole number"),
    ("cannot parse integer from empty string", "expected a whole number"),
    ("invalid float literal", "expected a number"),
    ("cannot parse float from empty string", "expected a number"),
    ("number too large to fit in target type", "the number is too large"),
];

fn help() -> Arg {
    let flag = Arg::new("help").short('h').long("help");
    flag.help("Prints this help").action(ArgAction::Help)
}

/// Parses the arguments of this process. If they ask for help or for the version, prints it and
/// ends the process.
///
/// # Errors
/// Fails if the arguments are invalid.
pub fn parse<A: CommandFactory + FromArgMatches>() -> Result<A, Failure> {
    let mut words: Vec<OsString> = env::args_os().collect();
    // `gpt help train` is `gpt train --help`. clap's own `help` would be listed as a command.
    if words.get(1).is_some_and(|word| word == "help") {
        words.remove(1);
        words.push("--help".into());
    }
    let matches = command::<A>().try_get_matches_from(words);
    let arguments = matches.and_then(|matches| A::from_arg_matches(&matches));
    arguments.map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => error.exit(),
        _ => Failure::Input(sentence(&error.render().to_string())),
    })
}

/// Joins the paragraphs that clap prints for an error, such as these, into one sentence.
///
/// ```text
/// error: unexpected argument '--promt' found
///
///   tip: a similar argument exists: '--prompt'
///
/// Usage: gpt generate --prompt <TEXT>
///
/// For more information, try '--help'.
/// ```
fn sentence(rendered: &str) -> String {
    let (message, usage) = rendered.split_once("Usage: ").unwrap_or((rendered, ""));
    let mut sentence = String::new();
    for line in message.lines().map(str::trim).filter(|l| !l.is_empty()) {
        let line = line.strip_prefix("error: ").unwrap_or(line);
        if line.starts_with("For more information") {
            continue;
        }
        match line.strip_prefix("tip: ") {
            Some(tip) => sentence.push_str(&format!("; {tip}")),
            None if sentence.is_empty() => sentence.push_str(line),
            None if sentence.ends_with(':') => sentence.push_str(&format!(" {line}")),
            None if line.starts_with('[') => sentence.push_str(&format!(" {line}")),
            None => sentence.push_str(&format!(", {line}")),
        }
    }
    for (parser, ours) in NUMBERS {
        sentence = sentence.replace(parser, ours);
    }
    if usage.is_empty() {
        return sentence;
    }
    let command: Vec<&str> = usage
        .split_whitespace()
        .take_while(|word| word.chars().all(|c| c.is_ascii_lowercase()))
        .collect();
    format!("{sentence}; see `{} --help`", command.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn fails(line: &str, message: &str) {
        let words = std::iter::once("gpt").chain(line.split(' '));
        let matches = command::<crate::Arguments>().try_get_matches_from(words);
        let error = matches.expect_err(line).render().to_string();
        assert_eq!(sentence(&error), message);
    }

    #[test]
    fn errors_are_one_sentence() {
        fails(
            "generate --promt a",
            "unexpected argument '--promt' found; a similar argument exists: '--prompt'; see `gpt generate --help`",
        );
        fails(
            "generate",
            "the following required arguments were not provided: --prompt <TEXT>; see `gpt generate --help`",
        );
        fails(
            "train --out run",
            "the following required arguments were not provided: --model <MODEL>, --data <TEXT>...; see `gpt train --help`",
        );
        fails(
            "generate --prompt a --tokens -1",
            "invalid value '-1' for '--tokens <N>': expected a whole number",
        );
        fails(
            "generate --prompt a --device tpu",
            "invalid value 'tpu' for '--device <auto|gpu|cpu>' [possible values: auto, gpu, cpu]; a similar value exists: 'cpu'",
        );
        fails("frobnicate", "unrecognized subcommand 'frobnicate'; see `gpt --help`");
    }

    #[test]
    fn the_declaration_is_consistent() {
        command::<crate::Arguments>().debug_assert();
    }

    /// Every subcommand ends its help with two examples, and they parse.
    #[test]
    fn examples_of_help_parse() {
        let mut command = command::<crate::Arguments>();
        command.build();
        for subcommand in command.get_subcommands() {
            let name = subcommand.get_name();
            let examples = subcommand.get_after_help().map(ToString::to_string);
            let examples = examples.unwrap_or_else(|| panic!("{name} has no examples"));
            let mut lines = examples.lines();
            assert_eq!(lines.next(), Some("Examples:"), "{name}");
            let lines: Vec<&str> = lines.map(str::trim).collect();
            assert_eq!(lines.len(), 2, "{name}");
            for line in lines {
                let words = words(line);
                assert_eq!(words[..2], ["gpt", name], "{line}");
                let parsed = command.clone().try_get_matches_from(&words);
                parsed.unwrap_or_else(|error| panic!("{line}: {error}"));
            }
        }
    }

    /// Splits a command at spaces outside quotes, without the redirection of its output.
    fn words(line: &str) -> Vec<String> {
        let (line, _) = line.split_once(" > ").unwrap_or((line, ""));
        let parts = line.split('"').enumerate();
        let words = parts.flat_map(|(i, part)| match i % 2 {
            0 => part.split_whitespace().map(str::to_owned).collect(),
            _ => vec![part.to_owned()],
        });
        words.collect()
    }
}
