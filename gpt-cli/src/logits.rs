//! `gpt logits`: prints logits for comparison with another implementation.

use std::io::{BufWriter, IsTerminal, Write, stdout};

use clap::Args;

use crate::options::LoadArguments;
use crate::output::{self, Failure};
use crate::progress::{Bar, Spinner};

#[derive(Args)]
#[command(after_help = "Examples:
  gpt logits --ids 1,2,3
  gpt logits --model nano --weights run --ids 4,5,6 --last --json")]
pub struct Arguments {
    /// The tokens
    #[arg(long, value_name = "1,2,3", value_delimiter = ',')]
    #[arg(required_unless_present = "prompt", conflicts_with = "prompt")]
    ids: Vec<u32>,
    /// A text; its token ids are printed, too
    #[arg(long, value_name = "TEXT")]
    prompt: Option<String>,
    /// Prints only the logits after the last token
    #[arg(long)]
    last: bool,
    #[command(flatten)]
    load: LoadArguments,
    /// Prints {"logits": [[...]]}, a row for each token
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let model = arguments.load.load(None)?;
    let ids = match &arguments.prompt {
        Some(prompt) => model.tokenizer()?.encode_prompt(prompt)?,
        None => arguments.ids.clone(),
    };
    let capacity = ids.len().min(model.plan().spec.context as usize) as u32;
    let session = model.session().capacity(capacity);
    // Rows are written one by one, because all of them may be gigabytes.
    let mut out = BufWriter::new(output::stdout());
    let mut start = "{\"logits\":[".to_owned();
    if arguments.prompt.is_some() {
        let list: Vec<String> = ids.iter().map(u32::to_string).collect();
        start = format!("{{\"ids\":[{}],\"logits\":[", list.join(","));
        if !arguments.json {
            output::line(&mut out, &format!("tokens: {}", list.join(",")))?;
        }
    }
    let mut first = true;
    let mut row = |position: usize, logits: &[f32]| -> Result<(), Failure> {
        if !arguments.json {
            return output::line(&mut out, &likeliest(position, logits));
        }
        out.write_all(if first { start.as_bytes() } else { b"," })?;
        first = false;
        serde_json::to_writer(&mut out, logits).map_err(std::io::Error::from)?;
        Ok(())
    };
    if arguments.last {
        let mut session = session.open()?;
        let spinner = Spinner::new(format!("reading {}", output::counted(ids.len(), "token")));
        let logits = session.push(&ids)?;
        drop(spinner);
        row(ids.len() - 1, &logits)?;
    } else {
        let mut session = session.all_logits().open()?;
        let mut written = Ok(());
        // Rows that a terminal prints are progress enough.
        let bar = (!stdout().is_terminal())
            .then(|| Bar::new(ids.len() as u64, "{bar:30} {pos}/{len} tokens"));
        session.each_logits(&ids, |position, logits| {
            if let Some(bar) = &bar {
                bar.set(position as u64 + 1);
            }
            if written.is_ok() {
                written = row(position, logits);
            }
        })?;
        written?;
    }
    if arguments.json {
        output::line(&mut out, "]}")?;
    }
    Ok(out.flush()?)
}

/// A line with the five likeliest tokens and their logits.
fn likeliest(position: usize, logits: &[f32]) -> String {
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
    let best: Vec<String> =
        order.iter().take(5).map(|&id| format!("{id} ({:.4})", logits[id])).collect();
    format!("position {position}: {}", best.join(", "))
}
