//! `gpt generate`: continues a prompt.

use std::io::Write;
use std::time::{Instant, UNIX_EPOCH};

use clap::{Args, Parser};
use gpt_runtime::{Ended, Generation, Stop};
use serde_json::json;

use crate::interrupt;
use crate::options::{CacheArgument, LoadArguments, SamplingArguments, TokenizerArgument};
use crate::output::{self, Failure};
use crate::progress::Spinner;

#[derive(Args)]
#[command(after_help = "Examples:
  gpt generate --prompt \"JULIET:\" --tokens 200 --seed 7
  gpt generate --model nano --weights run --prompt \"ROMEO:\" --temperature 0")]
pub struct Arguments {
    /// The text to continue
    #[arg(long, value_name = "TEXT")]
    prompt: String,
    #[command(flatten)]
    sampling: SamplingArguments,
    #[command(flatten)]
    load: LoadArguments,
    #[command(flatten)]
    cache: CacheArgument,
    #[command(flatten)]
    tokenizer: TokenizerArgument,
    /// Prints one JSON object instead of the text
    #[arg(long)]
    json: bool,
}

impl Arguments {
    /// The arguments that `gpt` without a subcommand uses.
    pub fn welcome() -> Arguments {
        // A new seed for each run, so that each run generates a different text.
        let seed = UNIX_EPOCH.elapsed().map_or(0, |time| time.as_secs());
        let seed = seed.to_string();
        let arguments = ["generate", "--prompt", "\n", "--temperature", "0.8", "--seed", &seed];
        Alone::parse_from(arguments).arguments
    }
}

#[derive(Parser)]
struct Alone {
    #[command(flatten)]
    arguments: Arguments,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    arguments.sampling.check()?;
    interrupt::listen();
    let model = arguments.load.load(arguments.tokenizer.tokenizer.clone())?;
    let prompt = model.tokenizer()?.encode_prompt(&arguments.prompt)?;
    let wanted = arguments.sampling.tokens.unwrap_or(usize::MAX);
    let context = model.plan().spec.context as usize;
    let capacity = prompt.len().saturating_add(wanted).min(context);
    let session = model.session().capacity(capacity.max(1) as u32);
    let mut session = session.cache(arguments.cache.cache).open()?;
    let stop = Stop {
        tokens: arguments.sampling.tokens,
        strings: arguments.sampling.stop.clone(),
        ..Stop::default()
    };
    let start = Instant::now();
    let spinner = Spinner::new(format!("reading {}", output::counted(prompt.len(), "token")));
    let mut generation =
        session.generate_from_tokens(&prompt, arguments.sampling.sampling(), stop)?;
    drop(spinner);
    let prefill = start.elapsed().as_secs_f64();
    let start = Instant::now();
    let mut text = String::new();
    stream(&mut generation, |piece| {
        text.push_str(piece);
        if arguments.json {
            return Ok(());
        }
        let mut out = output::stdout();
        out.write_all(piece.as_bytes())?;
        Ok(out.flush()?)
    })?;
    let decode = start.elapsed().as_secs_f64();
    let (tokens, ended) = (generation.generated(), generation.ended());
    if arguments.json {
        return output::json(&json!({
            "text": text, "prompt_tokens": prompt.len(), "tokens": tokens, "ended": ended.map(reason),
            "prefill_s": prefill, "decode_s": decode, "device": model.device().name(),
        }));
    }
    output::line(&mut output::stdout(), "")?;
    eprintln!(
        "{} read in {}, {tokens} written in {} ({:.1} tokens/s)",
        output::counted(prompt.len(), "token"),
        output::seconds(prefill),
        output::seconds(decode),
        tokens as f64 / decode.max(1e-9)
    );
    Ok(())
}

/// Forwards the pieces of a text until it ends or Ctrl-C is pressed.
pub fn stream<M>(
    generation: &mut Generation<'_, M>,
    mut sink: impl FnMut(&str) -> Result<(), Failure>,
) -> Result<(), Failure> {
    while let Some(piece) = generation.next() {
        sink(&piece?)?;
        if interrupt::take() {
            sink(&generation.finish())?;
        }
    }
    Ok(())
}

fn reason(ended: Ended) -> &'static str {
    match ended {
        Ended::EndOfText => "end_of_text",
        Ended::StopString => "stop_string",
        Ended::Length => "length",
        Ended::Full => "context_full",
        _ => "failed",
    }
}
