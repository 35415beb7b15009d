//! `gpt`: generate, chat, train, inspect and measure from the command line.
//!
//! One file a subcommand; `models` has the models built into the binary, `options` the arguments that subcommands share, `output` what
//! goes to a terminal or a script. Standard output carries results, standard error everything about them. A failure is one
//! sentence on standard error, and exit status 2 where arguments or files are at fault, 1 else.

mod bench;
mod chat;
mod convert;
mod devices;
mod eval;
mod generate;
mod inspect;
mod interrupt;
mod loading;
mod logits;
mod models;
mod options;
mod output;
mod selftest;
mod shaders;
mod train;
mod tune;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use output::Failure;

/// GPTs that the compiler wrote: shaders and Rust for exactly these models.
#[derive(Parser)]
#[command(name = "gpt", version, arg_required_else_help = false)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Lists what a model can run on, and what would be chosen
    Devices(devices::Arguments),
    /// Prints a model's spec, parameters, memory and dispatches
    Inspect(inspect::Arguments),
    /// Compares what a device computes with plain Rust, step by step
    Selftest(selftest::Arguments),
    /// Measures which variants of a model's kernels a GPU runs fastest, and keeps what it found
    Tune(tune::Arguments),
    /// Writes a model's WGSL, one file a kernel
    Shaders(shaders::Arguments),
    /// Continues a prompt
    Generate(generate::Arguments),
    /// Talks with a model, turn by turn
    Chat(chat::Arguments),
    /// Prints the logits that follow each of some tokens
    Logits(logits::Arguments),
    /// Measures how well a model predicts a text
    Eval(eval::Arguments),
    /// Trains a model on a text, or goes on with a run
    Train(train::Arguments),
    /// Writes a model's weights as GGUF or safetensors
    Convert(convert::Arguments),
    /// Measures tokens a second
    Bench(bench::Arguments),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        None => welcome(),
        Some(Command::Devices(arguments)) => devices::run(&arguments),
        Some(Command::Inspect(arguments)) => inspect::run(&arguments),
        Some(Command::Selftest(arguments)) => selftest::run(&arguments),
        Some(Command::Tune(arguments)) => tune::run(&arguments),
        Some(Command::Shaders(arguments)) => shaders::run(&arguments),
        Some(Command::Generate(arguments)) => generate::run(&arguments),
        Some(Command::Chat(arguments)) => chat::run(&arguments),
        Some(Command::Logits(arguments)) => logits::run(&arguments),
        Some(Command::Eval(arguments)) => eval::run(&arguments),
        Some(Command::Train(arguments)) => train::run(&arguments),
        Some(Command::Convert(arguments)) => convert::run(&arguments),
        Some(Command::Bench(arguments)) => bench::run(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

/// Text from the embedded model, and a way on.
fn welcome() -> Result<(), Failure> {
    eprintln!(
        "{} is a model of Shakespeare's characters, trained by this program and part of it; Ctrl-C stops it",
        models::EMBEDDED
    );
    generate::run(&generate::Arguments::welcome())?;
    let mut out = output::stdout();
    output::line(
        &mut out,
        "\nTry: gpt generate --prompt \"JULIET:\" · gpt train --model nano --data TEXT --out DIR · gpt --help",
    )
}
