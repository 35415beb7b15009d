//! Checkpoints of training runs: the state, and the moments of the optimizer.

use std::path::Path;
use std::sync::OnceLock;

use gpt_plan::Format;
use gpt_runtime::__private::parsers::read_moments;
use gpt_runtime::train::{RandomWindows, SavedRun};
use gpt_runtime::weights::RandomWeights;
use gpt_runtime::{AdamW, Device, Trainer, TrainerSettings};

use super::{gpt2, sentence};
use crate::{Place, Target};

pub const STATE: Target = Target {
    name: "checkpoint_state",
    seeds: || vec![of_checkpoint("state.json")],
    words: &[
        "Cosine",
        "Linear",
        "Block",
        "Nothing",
        "F16",
        "F32",
        "loss_scale",
        "{\"value\":65536.0,\"good\":1,\"skipped\":0}",
    ],
    check: |place, input| check(place, "state.json", input),
};

pub const MOMENTS: Target = Target {
    name: "checkpoint_moments",
    seeds: || vec![of_checkpoint("moments.safetensors")],
    words: &["F32", "F16", "first.0.", "second.0."],
    check: |place, input| check(place, "moments.safetensors", input),
};

const FILES: [&str; 4] = ["config.json", "model.safetensors", "moments.safetensors", "state.json"];

/// The files of a checkpoint, which is made once.
fn checkpoint() -> &'static [Vec<u8>; 4] {
    static CHECKPOINT: OnceLock<[Vec<u8>; 4]> = OnceLock::new();
    CHECKPOINT.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder for temporary files");
        let weights = RandomWeights::new(gpt2(), 1, Format::F32);
        let settings = TrainerSettings { batch: 1, ..AdamW::default().into() };
        let trainer = Trainer::from_plan(gpt2(), device(), &weights, settings);
        let caller = serde_json::json!({ "position": 4 });
        let saved = trainer.expect("a trainer").save(&folder, &caller).expect("it is written");
        FILES.map(|name| read(&saved.join(name)))
    })
}

fn of_checkpoint(name: &str) -> Vec<u8> {
    let at = FILES.iter().position(|file| *file == name).expect("a file of a checkpoint");
    checkpoint()[at].clone()
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).expect("a file of a checkpoint")
}

fn device() -> &'static Device {
    static DEVICE: OnceLock<Device> = OnceLock::new();
    DEVICE.get_or_init(|| Device::cpu().expect("the CPU engine"))
}

fn check(place: &Place, name: &str, input: &[u8]) -> Result<bool, String> {
    for (file, bytes) in FILES.iter().zip(checkpoint()) {
        place.keep(&format!("checkpoint-0/{file}"), || bytes.clone());
    }
    place.write(&format!("checkpoint-0/{name}"), input);
    let latest = sentence(SavedRun::latest(place.path("")))?;
    let Some(Some(saved)) = latest else { return Ok(false) };
    let moments = place.path("checkpoint-0/moments.safetensors");
    if sentence(read_moments(&moments, gpt2()))?.is_none() {
        return Ok(false);
    }
    // A trainer waits for threads, which takes as long as a hundred inputs.
    let settings = saved.settings();
    if place.is_due(&format!("{settings:?} {}", input.len()), 16) {
        // A pass takes the memory that its settings imply, so they are small here.
        let settings = TrainerSettings { batch: 1, tokens: None, ..settings.clone() };
        let resumed = Trainer::resume_plan(gpt2(), device(), &saved, settings);
        if let Some(mut trainer) = sentence(resumed)? {
            let batch = RandomWindows::new(vec![0_u32, 1, 2, 1].into(), 1, 2, 1);
            let batch = batch.expect("four tokens are enough").batch(0);
            sentence(trainer.step(&batch))?;
        }
    }
    Ok(true)
}
