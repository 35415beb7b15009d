//! A model of one's own: declared, trained on this file, saved, and sampled.
//!
//! The first `cargo run` trains for some seconds and writes the folder `model`, later ones load it.

use std::path::Path;

use gpt_runtime::train::{RandomWindows, Schedule, Tokens};
use gpt_runtime::weights::{save, save_config};
use gpt_runtime::{
    AdamW, Device, Error, Model, Sampling, Stop, Tokenizer, TrainerSettings, gpt_model,
};

gpt_model! {
    /// Change a size, and the compiler writes other shaders; a size that does not fit is an error
    /// at its place in this file.
    pub struct Hello {
        vocab: 128, context: 128, layers: 3, heads: 4, embed: 96,
        mlp: Dense { hidden: 4 * embed, activation: Gelu },
        bias: false,
    }
}

/// The text to learn. `vocab` has to be at least the number of its characters.
const TEXT: &str = include_str!("main.rs");
const STEPS: u64 = 300;

fn main() -> Result<(), Error> {
    let folder = Path::new("model");
    let device = Device::auto()?;
    if !folder.join("model.safetensors").exists() {
        train(&device, folder)?;
    }
    let model: Model<Hello> = Hello::load(folder, &device)?;
    let mut session = model.session().open()?;
    let prompt = "fn main";
    print!("{prompt}");
    // Until the context is full.
    for piece in session.generate(prompt, Sampling::default(), Stop::default())? {
        print!("{}", piece?);
    }
    println!();
    Ok(())
}

fn train(device: &Device, folder: &Path) -> Result<(), Error> {
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
