//! `gpt completions`: prints a script that completes commands, options and their values in a shell.

use std::io::Write;

use clap::Args;
use clap_complete::Shell;

use crate::output::{self, Failure};
use crate::usage;

#[derive(Args)]
#[command(after_help = "Examples:
  gpt completions bash > ~/.local/share/bash-completion/completions/gpt
  gpt completions zsh > ~/.zfunc/_gpt")]
pub struct Arguments {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    // Into memory first, because clap_complete panics if its output is closed.
    let mut script = Vec::new();
    let mut command = usage::command::<crate::Arguments>();
    clap_complete::generate(arguments.shell, &mut command, "gpt", &mut script);
    Ok(output::stdout().write_all(&script)?)
}
