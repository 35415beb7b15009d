//! `gpt explain`: a page about one prompt. It shows the surprise of each token, the logit lens, the
//! attention of every head, and the norm of the residual stream.
//!
//! `data` runs the model and builds one JSON object. `labels` makes tokens readable. `page` puts
//! the object into a self-contained HTML file. The folder `page` has the style sheet and the
//! scripts. The scripts build everything below the heading from the object, so another page can use
//! them.
//!
//! The object has these fields, for `n` tokens:
//! - `layers`, `heads`, `vocab`: the number of layers, of heads in a layer, and of tokens in the
//!   vocabulary
//! - `tokens`: `[{ id, label, surprise }]`, the prompt. `surprise` is in nats. It is null for the
//!   first token, and for all tokens of a model that is not causal.
//! - `vocabulary`: `[{ id, label }]`, the tokens in the lens
//! - `lens`: `[layers + 1][n][10]`, the five likeliest next tokens for each depth and position.
//!   Each is two numbers, an index into `vocabulary` and a probability. Depth 0 is the embedding.
//! - `norms`: `[layers + 1][n]`, the norm of the stream
//! - `attention`: base64 of bytes, `[layers][heads][n][n]`. The weight `w` that a row's token gives
//!   to a column's token is the byte `round(255 sqrt(w))`. A run of zeros is a byte of 0 and a byte
//!   with the length of the run, 1 to 255.

mod data;
mod labels;
mod page;

use std::path::PathBuf;

use clap::Args;
use gpt_runtime::__private::files;
use gpt_runtime::__private::plan::Spec;
use gpt_runtime::Error;
use serde_json::json;

use crate::models;
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

/// The largest number of tokens in a page. With more, cells are too small to see.
const MOST_TOKENS: usize = 256;

/// The largest number of attention weights in a page. A causal mask makes half of them zero; the
/// other half takes 11 MB of text.
const MOST_WEIGHTS: usize = 16 << 20;

/// The largest number of tokens in a page for the model of `spec`.
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
    let (name, spec) = (models::name_of(model.plan()), &model.plan().spec);
    let most = most_tokens(spec);
    if tokens.len() > most {
        return Err(Failure::Input(format!(
            "the prompt has {} tokens, and a page of {name} has room for {most}; shorten the prompt",
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
        output::counted(tokens.len(), "token"),
        output::counted(spec.layers as usize, "layer"),
        output::counted(spec.heads as usize, "head"),
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
