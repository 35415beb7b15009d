//! Streams text from a prompt, with the weights that are embedded in `gpt`:
//! `cargo run --release -p gpt-runtime --example generate -- "ROMEO:"`.

use std::io::{Error as IoError, Write, stdout};

use gpt_runtime::{Device, Error, Sampling, Stop, gpt_model};

gpt_model! {
    /// The model whose weights are in `gpt-cli/assets`: a character-level model of Shakespeare.
    struct Bard {
        vocab: 65, context: 256, layers: 6, heads: 6, embed: 192, bias: false, dropout: 0.05,
        norm: RmsNorm { eps: 1e-5 },
        mlp: Gated { hidden: 512, activation: Silu },
        positions: Rope { theta: 10_000.0 },
    }
}

const WEIGHTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../gpt-cli/assets/bard.gguf");

fn main() -> Result<(), Error> {
    let prompt = std::env::args().nth(1).unwrap_or("JULIET:\n".to_owned());
    let device = Device::auto()?;
    eprintln!("running on {}: {}", device.name(), device.reason());
    let model = Bard::load(WEIGHTS, &device)?;

    let mut session = model.session().open()?;
    let sampling = Sampling { temperature: 0.7, seed: 7, ..Sampling::default() };
    let stop = Stop::default().with_tokens(200);
    let mut generation = session.generate(&prompt, sampling, stop)?;
    print!("{prompt}");
    // Each piece is valid UTF-8, even where a character takes several tokens.
    for piece in &mut generation {
        print!("{}", piece?);
        let _: Result<(), IoError> = stdout().flush();
    }
    println!();
    eprintln!("{} tokens, {:?}", generation.generated(), generation.ended());
    Ok(())
}
