//! `gpt eval`: measures how well a model predicts a text.
//!
//! The text is cut into windows of `--context` tokens. Only the second half of each window is
//! scored, so each scored token has at least half a window of context. If the tokenizer begins a
//! text with BOS, each window begins with it, too. llama.cpp's `llama-perplexity` does the same, so
//! the results are comparable.

use std::path::PathBuf;

use clap::Args;
use gpt_runtime::__private::files;
use gpt_runtime::{Session, Untyped};
use serde_json::json;

use crate::interrupt;
use crate::options::{CacheArgument, LoadArguments, TokenizerArgument};
use crate::output::{self, Failure};
use crate::progress::{Bar, Spinner};

#[derive(Args)]
#[command(after_help = "Examples:
  gpt eval --data shakespeare.txt --windows 20
  gpt eval --model nano --weights run --data shakespeare.txt")]
pub struct Arguments {
    /// The text, UTF-8
    #[arg(long, value_name = "TEXT")]
    data: PathBuf,
    /// Tokens of a window [default: 512, or the model's context]
    #[arg(long, value_name = "N")]
    context: Option<usize>,
    /// At most N windows [default: the whole text]
    #[arg(long, value_name = "N")]
    windows: Option<usize>,
    #[command(flatten)]
    load: LoadArguments,
    #[command(flatten)]
    cache: CacheArgument,
    #[command(flatten)]
    tokenizer: TokenizerArgument,
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let text = files::read_text(&arguments.data)?;
    if text.is_empty() {
        return Err(Failure::Input(format!("{} is empty", arguments.data.display())));
    }
    let model = arguments.load.load(arguments.tokenizer.tokenizer.clone())?;
    if !model.plan().spec.is_causal() {
        return Err(Failure::Input(format!(
            "{} is bidirectional and reads the tokens that it would predict; gpt train --validate-only evaluates masked tokens",
            model.plan().name
        )));
    }
    let spinner = Spinner::new("encoding the text");
    let tokenizer = model.tokenizer()?;
    let tokens = tokenizer.encode_prompt(&text)?;
    drop(spinner);
    let longest = model.plan().spec.context as usize;
    let context = arguments.context.unwrap_or(longest.min(512));
    if context < 4 || context > longest {
        return Err(Failure::Input(format!(
            "--context is {context}; it must be from 4 to {longest}, the model's context"
        )));
    }
    let windows: Vec<&[u32]> = tokens.chunks_exact(context).collect();
    let windows = &windows[..windows.len().min(arguments.windows.unwrap_or(usize::MAX))];
    if windows.is_empty() {
        return Err(Failure::Input(format!(
            "{} has {} tokens, too few for a window of {context}; give more text or a smaller --context",
            arguments.data.display(),
            tokens.len()
        )));
    }
    interrupt::listen();
    let mut session = model
        .session()
        .capacity(context as u32)
        .all_logits()
        .cache(arguments.cache.cache)
        .open()?;
    let bar = Bar::new(windows.len() as u64, "{bar:30} {pos}/{len} windows, {msg}, {eta} left");
    let mut total = Total::default();
    let prefix = tokenizer.prefix();
    for (done, window) in (1..).zip(windows) {
        // Each window begins with the prefix of a text. The tokens that it replaces are not scored.
        let mut window = window.to_vec();
        let begin = prefix.len().min(context / 2);
        window[..begin].copy_from_slice(&prefix[..begin]);
        total.add(&mut session, &window)?;
        bar.set_with(done, || format!("perplexity {:.3}", total.nll().exp()));
        if interrupt::take() {
            break;
        }
    }
    drop(bar);
    let nll = total.nll();
    if arguments.json {
        return output::json(&json!({
            "tokens": total.tokens, "nll": nll, "perplexity": nll.exp(), "device": model.device().name(),
        }));
    }
    let text = format!(
        "perplexity {:.4} (nll {nll:.5} nats per token, {} tokens in windows of {context})",
        nll.exp(),
        total.tokens
    );
    output::line(&mut output::stdout(), &text)
}

/// Negative log likelihood of the tokens so far.
#[derive(Default)]
struct Total {
    sum: f64,
    tokens: u64,
}

impl Total {
    fn nll(&self) -> f64 {
        self.sum / self.tokens as f64
    }

    /// Adds the tokens of the second half of `window`.
    fn add(&mut self, session: &mut Session<Untyped>, window: &[u32]) -> Result<(), Failure> {
        session.truncate(0);
        let half = window.len() / 2;
        session.each_logits(window, |position, logits| {
            if let (true, Some(&next)) = (position >= half, window.get(position + 1)) {
                self.sum -= log_probability(logits, next as usize);
                self.tokens += 1;
            }
        })?;
        Ok(())
    }
}

/// The log softmax of `logits` at `token`.
fn log_probability(logits: &[f32], token: usize) -> f64 {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|&x| f64::from(x - max).exp()).sum();
    f64::from(logits[token] - max) - sum.ln()
}
