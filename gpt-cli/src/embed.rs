//! `gpt embed`: prints embedding vectors of texts, for search and comparison.

use std::io::{BufWriter, Write};
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use gpt_runtime::__private::files;
use gpt_runtime::{EmbedOptions, Pooling};
use serde_json::json;

use crate::options::{LoadArguments, TokenizerArgument};
use crate::output::{self, Failure};
use crate::progress::Spinner;

#[derive(Args)]
#[command(after_help = "Examples:
  gpt embed --text \"Good night\" --text \"Good morrow\"
  gpt embed --weights all-MiniLM-L6-v2 --file shakespeare.txt --json")]
pub struct Arguments {
    /// A text; can be repeated
    #[arg(long, value_name = "TEXT", required_unless_present = "file")]
    text: Vec<String>,
    /// A file with a text on each line, UTF-8; empty lines are skipped
    #[arg(long, value_name = "FILE", conflicts_with = "text")]
    file: Option<PathBuf>,
    /// Pooling: mean, cls, last [default: from modules.json beside the weights, or mean]
    #[arg(long, value_enum, value_name = "KIND", hide_possible_values = true)]
    pooling: Option<Kind>,
    /// Cuts longer texts to N tokens [default: from sentence_bert_config.json, or the context]
    #[arg(long, value_name = "N")]
    max_tokens: Option<usize>,
    #[command(flatten)]
    load: LoadArguments,
    #[command(flatten)]
    tokenizer: TokenizerArgument,
    /// Prints {"embeddings": [[...]], "truncated": N}, a row for each text
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    Mean,
    Cls,
    Last,
}

impl From<Kind> for Pooling {
    fn from(kind: Kind) -> Pooling {
        match kind {
            Kind::Mean => Pooling::Mean,
            Kind::Cls => Pooling::Cls,
            Kind::Last => Pooling::Last,
        }
    }
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let lines = match &arguments.file {
        None => String::new(),
        Some(path) => files::read_text(path)?,
    };
    let given = arguments.text.iter().map(String::as_str);
    let texts: Vec<&str> =
        given.chain(lines.lines().filter(|line| !line.trim().is_empty())).collect();
    if texts.is_empty() {
        return Err(Failure::Input("the file has no text; write one on each line".to_owned()));
    }
    let described = match &arguments.load.weights {
        Some(path) => EmbedOptions::beside(path)?,
        None => None,
    };
    let mut options = described.unwrap_or_default();
    if let Some(pooling) = arguments.pooling {
        options.pooling = pooling.into();
    }
    options.max_tokens = arguments.max_tokens.or(options.max_tokens);
    let model = arguments.load.load(arguments.tokenizer.tokenizer.clone())?;
    let spinner = Spinner::new(format!("embedding {}", output::counted(texts.len(), "text")));
    let embeddings = model.embed(&texts, &options)?;
    drop(spinner);
    let truncated = embeddings.truncated();
    if truncated > 0 {
        eprintln!(
            "note: truncated {truncated} of {} to the maximum length",
            output::counted(texts.len(), "text")
        );
    }
    let mut out = BufWriter::new(output::stdout());
    if arguments.json {
        let rows: Vec<&[f32]> = embeddings.rows().collect();
        let result = json!({ "embeddings": rows, "truncated": truncated });
        output::line(&mut out, &result.to_string())?;
    } else {
        for row in embeddings.rows() {
            let numbers: Vec<String> = row.iter().map(|x| format!("{x:.6}")).collect();
            output::line(&mut out, &numbers.join(" "))?;
        }
    }
    Ok(out.flush()?)
}
