//! Continues a prompt with a custom model and the weights named on the command line.
//! If there are no weights, the first run trains them on this file; see `train.rs`.

use std::io::{Write, stdout};
use std::process::ExitCode;

use gpt_runtime::{Device, Error, Sampling, Stop, gpt_model};

mod train;

gpt_model! {
    /// Change a size, and the compiler writes other shaders; a size that does not fit is an error
    /// at its place in this file.
    pub struct Hello {
        vocab: 128, context: 128, layers: 3, heads: 4, embed: 96,
        mlp: Dense { hidden: 4 * embed, activation: Gelu },
        bias: false,
    }
}

/// The most tokens that follow a prompt.
const TOKENS: usize = 256;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [weights, prompt] = &arguments[..] else {
        eprintln!("usage: {} WEIGHTS PROMPT", env!("CARGO_PKG_NAME"));
        return ExitCode::from(2);
    };
    match generate(weights, prompt) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Streams the prompt and what follows to standard output.
fn generate(weights: &str, prompt: &str) -> Result<(), Error> {
    // A GPU if there is one, the CPU engine otherwise.
    let device = Device::auto()?;
    train::unless_there(&device, weights.as_ref())?;
    let model = Hello::load(weights, &device)?;
    let tokens = model.tokenizer()?.encode_prompt(prompt)?;
    // A session holds memory for its capacity, and the context may be long.
    let capacity = (tokens.len() + TOKENS).min(Hello::CONTEXT);
    let mut session = model.session().capacity(capacity as u32).open()?;
    let mut out = stdout();
    let mut show = |text: &str| write!(out, "{text}").and_then(|()| out.flush()).is_ok();
    show(prompt);
    let stop = Stop::default().with_tokens(TOKENS);
    for piece in session.generate_from_tokens(&tokens, Sampling::default(), stop)? {
        if !show(&piece?) {
            break; // The reader closed the pipe.
        }
    }
    show("\n");
    Ok(())
}
