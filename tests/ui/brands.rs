//! Two models do not mix: logits and sessions are branded.
use gpt_runtime::{Logits, Session, gpt_model};

gpt_model! {
    pub struct One { layers: 1, ..GPT2_SMALL }
    pub struct Two { layers: 2, ..GPT2_SMALL }
}

fn read(_: &Logits<'_, One>) {}

fn mix(session: &mut Session<Two>) {
    read(&session.push(&[1]).unwrap());
}

fn main() {}
