//! Shapes of parameters and rows are types.
use gpt_runtime::{Error, Logits, Matrix, Trainer, gpt_model};

gpt_model! {
    pub struct Tiny { vocab: 5, context: 4, layers: 2, heads: 1, embed: 8 }
    pub struct Wide { embed: 16, ..Tiny }
}

fn wrong_width(trainer: &mut Trainer<Tiny>) -> Result<(), Error> {
    trainer.set(Tiny::MLP_UP.layer(0), &Matrix::<32, 16>::zeros())
}

fn wrong_model(trainer: &mut Trainer<Tiny>) {
    let _ = trainer.get(Wide::TOKEN_EMBEDDING);
}

fn wrong_row<'a>(logits: &'a Logits<'_, Tiny>) -> &'a [f32; 6] {
    logits.as_array()
}

fn main() {}
