//! `gpt`: generate, chat, train, inspect and measure from the command line. Each subcommand is a
//! separate file or folder, with a line in `subcommands!` below; help, completions and man pages
//! are generated from its `Arguments`. `usage` parses them, `models` declares the built-in models,
//! `options` the arguments that subcommands share. `output` prints results and failures, `progress`
//! the progress of long operations.
//!
//! Results go to standard output, messages about them to standard error. A failure is printed on
//! standard error, as one sentence except for the errors of a spec. The exit status is 2 for
//! invalid arguments or files and 1 for other failures.

#[macro_use]
mod stderr;

mod bench;
mod chat;
mod completions;
mod convert;
mod devices;
mod embed;
mod eval;
mod exhausted;
mod explain;
mod fill;
mod generate;
mod hub;
mod inspect;
mod interrupt;
mod lock;
mod logits;
mod man;
mod models;
mod new;
mod options;
mod output;
mod plot;
mod progress;
mod pull;
mod report;
mod selftest;
mod shaders;
mod sigbus;
mod spec;
mod table;
mod train;
mod tune;
mod usage;

use std::env;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use output::Failure;

/// Runs and trains GPTs, each with shaders generated for exactly its sizes
#[derive(Parser)]
#[command(
    name = "gpt",
    version,
    after_help = "Examples:
  gpt generate --prompt \"JULIET:\"
  gpt train --model nano --data shakespeare.txt --out run"
)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

/// Declares the subcommands in the order of `gpt --help`. Each is a module with `Arguments` and
/// `run`.
macro_rules! subcommands {
    ($($(#[$attribute:meta])+ $name:ident: $module:ident,)+) => {
        #[derive(Subcommand)]
        enum Command {
            $($(#[$attribute])+ $name($module::Arguments),)+
        }

        impl Command {
            fn run(&self) -> Result<(), Failure> {
                match self {
                    $(Command::$name(arguments) => $module::run(arguments),)+
                }
            }
        }
    };
}

subcommands! {
    /// Lists the devices, and the one that `auto` chooses
    Devices: devices,
    /// Prints a model's spec, parameters, memory, operations and kernels
    Inspect: inspect,
    /// Prints the declaration of the model that a file describes
    Spec: spec,
    /// Downloads a model from the Hugging Face hub
    Pull: pull,
    /// Writes a crate with the model that a file describes
    New: new,
    /// Compares the results of a device with plain Rust, step by step
    Selftest: selftest,
    /// Finds the fastest kernel variants of a model for a GPU, and saves the choice
    Tune: tune,
    /// Tests and measures a device, and writes a report to paste into an issue
    Report: report,
    /// Writes a model's WGSL, one file for each kernel
    Shaders: shaders,
    /// Continues a prompt
    Generate: generate,
    /// Holds a conversation with a model
    Chat: chat,
    /// Prints the logits after each token of a prompt
    Logits: logits,
    /// Prints embedding vectors of texts, for search and comparison
    Embed: embed,
    /// Fills the blanks of a text with a bidirectional model
    Fill: fill,
    /// Measures how well a model predicts a text
    Eval: eval,
    /// Draws a page of what a model computes for a prompt: attention, logit lens, surprise
    Explain: explain,
    /// Trains a model on a text, or resumes a run
    Train: train,
    /// Draws the losses of training runs into one picture
    Plot: plot,
    /// Writes a model's weights as GGUF or safetensors
    Convert: convert,
    /// Measures speed in tokens per second
    Bench: bench,
    /// Prints completions for a shell
    Completions: completions,
    /// Writes man pages and a reference of all commands
    #[command(hide = true)]
    Man: man,
}

fn main() -> ExitCode {
    silence_device_select();
    exhausted::install();
    sigbus::install();
    let result = match usage::parse::<Arguments>() {
        Ok(Arguments { command: None }) => welcome(),
        Ok(Arguments { command: Some(command) }) => command.run(),
        Err(failure) => Err(failure),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

/// Disables Mesa's Vulkan layer that reorders adapters, unless the user configures it. The layer
/// looks for a Wayland display, and if there is none, it prints an error for each Vulkan instance.
/// `gpt` ranks adapters itself.
fn silence_device_select() {
    let configured = ["MESA_VK_DEVICE_SELECT", "NODEVICE_SELECT"];
    if cfg!(target_os = "linux") && !configured.iter().any(|name| env::var_os(name).is_some()) {
        // SAFETY: this is the first call of `main`, so no other thread reads the environment.
        unsafe { env::set_var("NODEVICE_SELECT", "1") };
    }
}

/// Generates text with the embedded model and suggests what to try next.
fn welcome() -> Result<(), Failure> {
    eprintln!(
        "{} is a character-level model of Shakespeare's plays, trained by this program and \
         embedded in it; press Ctrl-C to stop",
        models::EMBEDDED
    );
    generate::run(&generate::Arguments::welcome())?;
    let mut out = output::stdout();
    output::line(
        &mut out,
        "\nTry: gpt generate --prompt \"JULIET:\" · gpt train --model nano --data TEXT --out DIR · gpt --help",
    )
}
