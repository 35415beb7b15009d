//! `gpt fill`: fills the blanks of a text with a bidirectional model.

use std::io::Write;

use clap::Args;
use gpt_runtime::Filled;
use serde_json::{Value, json};

use crate::options::{LoadArguments, TokenizerArgument};
use crate::output::{self, Failure};

#[derive(Args)]
#[command(after_help = "Examples:
  gpt fill --weights bert-base-uncased \"To be, or not to [MASK].\"
  gpt fill --weights roberta-base --top-k 3 --json \"To be, or not to<mask>.\"")]
pub struct Arguments {
    /// The text, with the tokenizer's mask token where a token is missing, such as `[MASK]`
    #[arg(value_name = "TEXT")]
    text: String,
    /// Prints the K likeliest tokens of each blank
    #[arg(long, value_name = "K", default_value_t = 5)]
    top_k: usize,
    #[command(flatten)]
    load: LoadArguments,
    #[command(flatten)]
    tokenizer: TokenizerArgument,
    /// Prints {"text": "...", "blanks": [...]}, with ids, texts and probabilities of tokens
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let model = arguments.load.load(arguments.tokenizer.tokenizer.clone())?;
    let filled = model.fill(&arguments.text, arguments.top_k)?;
    if arguments.json {
        return output::json(&figures(&filled));
    }
    let mut out = output::stdout();
    for (number, blank) in (1..).zip(&filled.blanks) {
        let candidates = blank.candidates.iter();
        let candidates = candidates.map(|c| format!("{:?} {:.4}", c.text, c.probability));
        let candidates: Vec<String> = candidates.collect();
        output::line(&mut out, &format!("blank {number}: {}", candidates.join(", ")))?;
    }
    output::line(&mut out, &filled.text)?;
    Ok(out.flush()?)
}

fn figures(filled: &Filled) -> Value {
    let blanks = filled.blanks.iter().map(|blank| {
        let candidates = blank.candidates.iter().map(|candidate| {
            json!({
                "token": candidate.token, "text": candidate.text,
                "probability": candidate.probability,
            })
        });
        json!({ "position": blank.position, "candidates": candidates.collect::<Vec<_>>() })
    });
    json!({ "text": filled.text, "blanks": blanks.collect::<Vec<_>>() })
}
