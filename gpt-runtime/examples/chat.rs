//! A conversation with SmolLM2:
//! `cargo run --release -p gpt-runtime --example chat -- SmolLM2-135M-Instruct.Q4_1.gguf`.
//!
//! The chat template comes with the weights. A session keeps the keys and values of the whole
//! conversation, so that each turn reads only its new tokens.

use std::io::{Write, stdin, stdout};
use std::process::exit;

use gpt_runtime::text::{Message, Role};
use gpt_runtime::{Device, Error, Sampling, Stop, gpt_model};

gpt_model! {
    /// HuggingFaceTB/SmolLM2-135M.
    struct SmolLm2 { ..SMOLLM2_135M }
}

fn main() -> Result<(), Error> {
    let Some(weights) = std::env::args().nth(1) else {
        eprintln!("give the path of the weights (GGUF or safetensors) as an argument");
        exit(2);
    };
    let model = SmolLm2::load(weights, &Device::auto()?)?;
    let tokenizer = model.tokenizer()?;
    let mut session = model.session().open()?;
    let mut messages = vec![Message::new(Role::System, "Answer in one sentence.")];
    for line in stdin().lines().map_while(Result::ok) {
        messages.push(Message::new(Role::User, line));
        let prompt = tokenizer.encode_chat(&messages)?;

        // The cache holds the conversation so far; only what differs from it is read.
        let held = session.tokens().iter().zip(&prompt);
        let known = held.take_while(|(held, new)| held == new).count();
        let known = known.min(prompt.len() - 1);
        session.truncate(known);

        let stop = Stop::default().with_tokens(200);
        let sampling = Sampling::default();
        let mut answer = String::new();
        for piece in session.generate_from_tokens(&prompt[known..], sampling, stop)? {
            let piece = piece?;
            print!("{piece}");
            // A closed pipe ends the program at the next print.
            let _ = stdout().flush();
            answer.push_str(&piece);
        }
        println!();
        messages.push(Message::new(Role::Assistant, answer.trim()));
    }
    Ok(())
}
