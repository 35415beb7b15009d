//! A custom activation, compared with GELU:
//! `cargo run --release -p gpt-runtime --example custom_activation`.
//!
//! The macro compiles the closure and its derivative to WGSL and to CPU code. The closure is not a
//! function pointer: both engines run it inside the kernel of the projection that precedes it.

use gpt_runtime::train::{RandomWindows, Schedule, Tokens};
use gpt_runtime::{AdamW, Device, Error, Gpt, Model, Tokenizer, TrainerSettings, gpt_model};

gpt_model! {
    /// A small model with GELU.
    struct Usual {
        vocab: 64, context: 32, layers: 2, heads: 2, embed: 64, bias: false,
        mlp: Dense { hidden: 4 * embed, activation: Gelu },
    }

    /// The same model with SiLU of a bounded argument.
    struct Mine {
        mlp: Dense {
            hidden: 4 * embed,
            activation: |x| { let y = max(min(x, 6.0), -6.0); y / (1.0 + exp(-y)) },
        },
        ..Usual
    }
}

const STEPS: u64 = 200;

/// Trains a model on `text`, and returns the loss of its last step.
fn train<M: Gpt>(model: Model<M>, text: &Tokens) -> Result<f64, Error> {
    let data = RandomWindows::new(text.clone(), 8, 32, 1)?;
    let optimizer = AdamW { lr: 3e-3, ..AdamW::default() };
    let mut trainer = model.trainer(TrainerSettings {
        schedule: Schedule::cosine(20, STEPS, 3e-4),
        ..TrainerSettings::from(optimizer)
    })?;
    let mut loss = f64::NAN;
    for step in 0..STEPS {
        loss = trainer.step(&data.batch(step))?;
    }
    Ok(loss)
}

fn main() -> Result<(), Error> {
    let kernel = Mine::KERNELS.iter().find(|k| k.name == "mlp_up_decode_f32");
    let header = kernel.map_or("", |kernel| &kernel.header);
    let generated = header.lines().skip_while(|l| !l.contains("fn activation"));
    println!("the closure in WGSL:");
    for line in generated.filter(|line| !line.is_empty()) {
        println!("  {line}");
    }

    let text = include_str!("custom_activation.rs");
    let text: String = text.chars().filter(|c| !c.is_uppercase()).collect();
    let tokenizer = Tokenizer::characters(&text)?;
    tokenizer.check_vocab(Usual::VOCAB as u32)?;
    let text: Tokens = tokenizer.encode(&text)?.into();
    let device = Device::auto()?;
    let usual = train(Usual::init(&device, 1)?, &text)?;
    let mine = train(Mine::init(&device, 1)?, &text)?;
    println!(
        "after {STEPS} steps on this file: loss {usual:.3} with GELU, {mine:.3} with the closure"
    );
    Ok(())
}
