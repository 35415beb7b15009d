//! Declares a model, trains it on a text, and generates from it:
//! `cargo run --release -p gpt-runtime --example train`.
//!
//! The text is small, so the model memorises it within a few seconds. To train on another text,
//! replace `TEXT` and set `vocab` to at least its number of distinct characters.

use gpt_runtime::train::{RandomWindows, Schedule, Tokens};
use gpt_runtime::{AdamW, Device, Error, Sampling, Stop, Tokenizer, TrainerSettings, gpt_model};

gpt_model! {
    /// A small model with rotary positions.
    struct Poet {
        vocab: 64, context: 64, layers: 3, heads: 4, embed: 96, bias: false,
        norm: RmsNorm { eps: 1e-5 },
        positions: Rope { theta: 10_000.0 },
    }
}

/// William Blake, "The Tyger", 1794.
const TEXT: &str = "\
Tyger Tyger, burning bright,
In the forests of the night;
What immortal hand or eye,
Could frame thy fearful symmetry?

In what distant deeps or skies,
Burnt the fire of thine eyes?
On what wings dare he aspire?
What the hand, dare seize the fire?
";

const STEPS: u64 = 300;

fn main() -> Result<(), Error> {
    let device = Device::auto()?;
    let tokenizer = Tokenizer::characters(TEXT)?;
    tokenizer.check_vocab(Poet::VOCAB as u32)?;
    let text: Tokens = tokenizer.encode(TEXT)?.into();
    // Batches of eight windows of the text, in an order that the seed decides.
    let data = RandomWindows::new(text, 8, Poet::CONTEXT, 1)?;
    println!(
        "{} parameters on {}; training takes {} MiB",
        Poet::PARAMS,
        device.name(),
        Poet::train_bytes(8, Poet::CONTEXT as u32).total() >> 20
    );

    let optimizer = AdamW { lr: 3e-3, ..AdamW::default() };
    let settings = TrainerSettings {
        schedule: Schedule::cosine(20, STEPS, 1e-4),
        ..TrainerSettings::from(optimizer)
    };
    let trainer = Poet::init(&device, 1)?.trainer(settings)?;
    let mut trainer = trainer.tokenizer(Some(tokenizer));
    for step in 0..STEPS {
        let loss = trainer.step(&data.batch(step))?;
        if (step + 1).is_multiple_of(50) {
            println!("step {}: loss {loss:.3}", step + 1);
        }
    }

    let model = trainer.model()?;
    let mut session = model.session().open()?;
    let stop = Stop::default().with_string("\n\n");
    print!("\nIn what");
    for piece in session.generate("In what", Sampling::default(), stop)? {
        print!("{}", piece?);
    }
    println!();
    Ok(())
}
