//! `gpt`: generate, chat, train, inspect and measure from the command line. Each subcommand is a
//! file or folder of its own, listed in [`Command`]. `models` declares the built-in models,
//! `options` the arguments that subcommands share, and `output` prints results and failures.
//!
//! Standard output carries results, standard error messages about them. A failure is one sentence
//! on standard error. The exit status is 2 for invalid arguments or files and 1 for other failures.

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

use std::env;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use output::Failure;

/// Runs and trains GPTs whose shaders and Rust code were generated for exactly these models.
#[derive(Parser)]
#[command(name = "gpt", version, arg_required_else_help = false)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Lists the devices, and the one that `auto` chooses
    Devices(devices::Arguments),
    /// Prints a model's spec, parameters, memory and dispatches
    Inspect(inspect::Arguments),
    /// Compares the results of a device with plain Rust, step by step
    Selftest(selftest::Arguments),
    /// Finds the fastest kernel variants of a model for a GPU, and saves the choice
    Tune(tune::Arguments),
    /// Writes a model's WGSL, one file for each kernel
    Shaders(shaders::Arguments),
    /// Continues a prompt
    Generate(generate::Arguments),
    /// Holds a conversation with a model
    Chat(chat::Arguments),
    /// Prints the logits after each of some tokens
    Logits(logits::Arguments),
    /// Measures how well a model predicts a text
    Eval(eval::Arguments),
    /// Trains a model on a text, or resumes a run
    Train(train::Arguments),
    /// Writes a model's weights as GGUF or safetensors
    Convert(convert::Arguments),
    /// Measures speed in tokens a second
    Bench(bench::Arguments),
}

fn main() -> ExitCode {
    silence_device_select();
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

/// Disables Mesa's Vulkan layer that reorders adapters, unless the user configures it. The layer looks
/// for a Wayland display, and where there is none it prints an error for each instance of Vulkan.
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
