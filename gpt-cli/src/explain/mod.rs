//! `gpt explain`: a page about one prompt. It shows the surprise of each token, the logit lens, the
//! attention of every head, and the norm of the residual stream.
//!
//! `data` runs the model and makes one JSON object of what was observed, `labels` makes tokens
//! readable, and `page` puts the object into an HTML file that needs nothing else. The drawing is
//! in the folder `page`: a style sheet, and scripts that build everything below the heading from
//! the object, so that another page can show the same.
//!
//! The object, with `n` tokens:
//! - `layers`, `heads`, `vocab`: numbers of them
//! - `tokens`: `[{ id, label, surprise }]`, the prompt; `surprise` in nats, null where a token was
//!   not predicted
//! - `vocabulary`: `[{ id, label }]`, the tokens that the lens names
//! - `lens`: `[layers + 1][n][10]`, for each depth and position the five likeliest next tokens: an
//!   index into `vocabulary`, then the probability, and so on. Depth 0 is the embedding.
//! - `norms`: `[layers + 1][n]`, the norm of the stream
//! - `attention`: base64 of bytes, `[layers][heads][n][n]`: the weight `w` that a row's token gives
//!   to a column's is `round(255 sqrt(w))`. A byte of 0 is followed by the number of zeros, 1 to
//!   255.

mod data;
mod labels;
mod page;

use std::path::PathBuf;

use clap::Args;
use gpt_runtime::__private::files;
use gpt_runtime::__private::plan::Spec;
use gpt_runtime::Error;
use serde_json::json;

use crate::options::{LoadArguments, TokenizerArgument};
use crate::output::{self, Failure};

#[derive(Args)]
#[command(after_help = "Examples:
  gpt explain --prompt \"To be, or not to be\" --out explained
  gpt explain --model nano --weights run --prompt \"ROMEO:\" --out explained --json")]
pub struct Arguments {
    /// The text to explain
    #[arg(long, value_name = "TEXT")]
    prompt: String,
    /// The folder for explain.html, created if necessary
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    load: LoadArguments,
    #[command(flatten)]
    tokenizer: TokenizerArgument,
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
}

/// The most tokens of a page. With more, cells are too small to be seen.
const MOST_TOKENS: usize = 256;

/// The most weights of attention in a page. A causal mask makes half of them zero, and the others
/// are 11 MB of text.
const MOST_WEIGHTS: usize = 16 << 20;

/// The most tokens in a page of a model.
fn most_tokens(spec: &Spec) -> usize {
    let maps = (spec.layers * spec.heads) as usize;
    let tokens = (MOST_WEIGHTS / maps).isqrt().clamp(1, MOST_TOKENS);
    tokens.min(spec.context as usize)
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    if arguments.prompt.is_empty() {
        return Err(Failure::Input("the prompt is empty; give at least one character".to_owned()));
    }
    let model = arguments.load.load(arguments.tokenizer.tokenizer.clone())?;
    let tokens = model.tokenizer()?.encode_prompt(&arguments.prompt)?;
    let (name, spec) = (arguments.load.model.model.name, &model.plan().spec);
    let most = most_tokens(spec);
    if tokens.len() > most {
        return Err(Failure::Input(format!(
            "the prompt has {} tokens, and a page of {name} has room for {most}; shorten it",
            tokens.len()
        )));
    }
    std::fs::create_dir_all(&arguments.out).map_err(|source| Error::Io {
        doing: "create the folder",
        path: arguments.out.clone(),
        source,
    })?;

    let data = data::of(&model, &tokens)?;
    let title = format!("{name}, token by token");
    let sizes = format!(
        "{}, {} of {}",
        count(tokens.len(), "token"),
        count(spec.layers as usize, "layer"),
        count(spec.heads as usize, "head"),
    );
    let summary = format!("{sizes}. Computed on {}.", model.device().name());
    let path = arguments.out.join("explain.html");
    let html = page::html(&title, &summary, &data);
    files::write(&path, &html)?;

    if arguments.json {
        return output::json(&json!({
            "file": path.display().to_string(), "bytes": html.len(), "tokens": data["tokens"],
            "device": model.device().name(),
        }));
    }
    let text = format!("{}: {sizes}, {}", path.display(), output::bytes(html.len() as u64));
    output::line(&mut output::stdout(), &text)
}

/// `1 token`, `2 tokens`.
fn count(n: usize, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models;

    #[test]
    fn a_page_of_many_heads_has_fewer_tokens() {
        let most = |name: &str| {
            let model = models::ALL.iter().find(|m| m.name == name).expect(name);
            most_tokens(&(model.plan)().spec)
        };
        assert_eq!(most("bard"), 256);
        assert_eq!(most("nano"), 64);
        assert_eq!(most("gpt2"), 256);
        assert_eq!(most("gpt2-xl"), 118);
    }
}
