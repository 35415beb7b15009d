//! `gpt man`: writes man pages, and the help of all commands as Markdown. It is for packagers, so
//! `gpt --help` does not list it.

use std::fmt::Write;
use std::path::PathBuf;

use clap::Args;
use gpt_runtime::Error;

use crate::output::{self, Failure};
use crate::usage;

#[derive(Args)]
#[command(after_help = "Examples:
  gpt man --out man
  gpt man --out /usr/local/share/man/man1")]
pub struct Arguments {
    /// The folder to write to, created if necessary
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// The file with the help of all commands.
const REFERENCE: &str = "commands.md";

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let out = &arguments.out;
    let written = || -> std::io::Result<()> {
        std::fs::create_dir_all(out)?;
        clap_mangen::generate_to(usage::command::<crate::Arguments>(), out)?;
        std::fs::write(out.join(REFERENCE), reference())
    };
    written().map_err(|source| Error::Io { doing: "write to", path: out.clone(), source })?;
    let text = format!("man pages and {REFERENCE} are in {}", out.display());
    output::line(&mut output::stdout(), &text)
}

/// The help of `gpt` and of each listed subcommand, each as a section of Markdown.
fn reference() -> String {
    let mut command = usage::command::<crate::Arguments>();
    command.build();
    let mut text = String::from("# Commands\n");
    let mut section = |title: &str, help: &str| {
        write!(text, "\n## `{title}`\n\n```text\n{}\n```\n", help.trim_end())
            .expect("writing to a string does not fail")
    };
    section("gpt", &command.render_help().to_string());
    for subcommand in command.get_subcommands().filter(|c| !c.is_hide_set()) {
        let title = format!("gpt {}", subcommand.get_name());
        section(&title, &subcommand.clone().render_help().to_string());
    }
    text
}
