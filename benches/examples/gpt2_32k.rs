//! Measures a GPT-2 on the GPU, for `peers/compare.py --gpu`. Its vocabulary is small enough for
//! burn, which binds a tensor as one buffer of at most 128 MiB (here 96 MiB in f32); `gpt` has no
//! such model built in. Prints one JSON object with rates in tokens per second.
//!
//!     cargo run --release -p gpt-benches --example gpt2_32k -- PREFILL DECODE

use std::time::Instant;

use gpt_runtime::Format;
use gpt_runtime::{Device, Error, Model, gpt_model};

gpt_model! {
    /// GPT-2 with 32,768 tokens.
    pub struct Gpt2 { vocab: 32_768, ..GPT2_SMALL }
}

fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1).map(|a| a.parse::<u32>().ok());
    let (Some(Some(prefill)), Some(Some(decode)), None) =
        (arguments.next(), arguments.next(), arguments.next())
    else {
        return Err(Error::Input("expected two numbers: PREFILL DECODE".to_owned()));
    };
    let model = Model::<Gpt2>::init_as(&Device::gpu()?, 0, Format::F32)?;
    let tokens: Vec<u32> = (0..prefill).map(|i| i.wrapping_mul(2_654_435_761) % 32_768).collect();
    let mut session = model.session().capacity(prefill + decode + 1).open()?;
    let (mut prefilled, mut decoded) = (0.0, 0.0);
    // The first round is a warm-up, because some drivers compile a kernel on its first run.
    for _ in 0..2 {
        session.truncate(0);
        let start = Instant::now();
        let mut next = session.push(&tokens)?.argmax();
        prefilled = f64::from(prefill) / start.elapsed().as_secs_f64();
        let start = Instant::now();
        for _ in 0..decode {
            next = session.push(&[next])?.argmax();
        }
        decoded = f64::from(decode) / start.elapsed().as_secs_f64();
    }
    println!("{{\"prefill\": {prefilled}, \"decode\": {decoded}}}");
    Ok(())
}
