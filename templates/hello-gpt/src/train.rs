//! Trains the model on `main.rs`, for a few seconds.

use std::path::Path;

use gpt_runtime::train::{RandomWindows, Schedule, Tokens};
use gpt_runtime::weights::{save, save_config};
use gpt_runtime::{AdamW, Device, Error, Tokenizer, TrainerSettings};

use crate::Hello;

/// The text to learn. `vocab` has to be at least the number of its distinct characters.
const TEXT: &str = include_str!("main.rs");
const STEPS: u64 = 300;

/// Trains weights and writes them to `folder`, unless it exists.
pub fn unless_there(device: &Device, folder: &Path) -> Result<(), Error> {
    if folder.exists() {
        return Ok(());
    }
    let tokenizer = Tokenizer::characters(TEXT)?;
    tokenizer.check_vocab(Hello::VOCAB as u32)?;
    let tokens: Tokens = tokenizer.encode(TEXT)?.into();
    let batches = RandomWindows::new(tokens, 8, Hello::CONTEXT, 1)?;
    let optimizer = AdamW {
        lr: 3e-3,
        ..AdamW::default()
    };
    let mut trainer = Hello::init(device, 1)?.trainer(TrainerSettings {
        schedule: Schedule::cosine(20, STEPS, 3e-4),
        ..TrainerSettings::from(optimizer)
    })?;
    for step in 0..STEPS {
        let loss = trainer.step(&batches.batch(step))?;
        if (step + 1).is_multiple_of(50) {
            eprintln!("step {}: loss {loss:.3}", step + 1);
        }
    }
    std::fs::create_dir_all(folder).map_err(|source| Error::Io {
        doing: "create",
        path: folder.to_owned(),
        source,
    })?;
    // The names and the layout of Hugging Face's files.
    let weights = trainer.weights();
    save(&folder.join("model.safetensors"), &Hello::PLAN, &weights)?;
    save_config(&folder.join("config.json"), &Hello::PLAN)?;
    tokenizer.save(&folder.join("tokenizer.json"))
}
