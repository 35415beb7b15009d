//! What the benchmarks share: the models they run and the devices they run on.
//!
//! A benchmark is a file in `benches/`; `cargo bench -p gpt-benches --bench decode` runs one. Shapes are those of real models. Timings
//! are for comparison within one run: machines differ, and the same machine from minute to minute.

pub mod gpu;
pub mod versus;

use gpt_runtime::{Device, DeviceKind, DeviceOptions, gpt_model};

gpt_model! {
    /// The character model that is part of `gpt`, 2.7 M parameters.
    pub struct Bard {
        vocab: 65, context: 256, layers: 6, heads: 6, embed: 192, bias: false,
        norm: RmsNorm { eps: 1e-5 }, mlp: Gated { hidden: 512, activation: Silu }, positions: Rope { theta: 10_000.0 },
        ..GPT2_SMALL
    }
    /// nanoGPT's model for CPUs.
    pub struct Nano { vocab: 65, context: 64, layers: 4, heads: 4, embed: 128, bias: false, ..GPT2_SMALL }
    /// OpenAI's GPT-2, 124 M parameters.
    pub struct Gpt2 { ..GPT2_SMALL }
    /// HuggingFaceTB's SmolLM2, 135 M parameters.
    pub struct SmolLm2 { ..SMOLLM2_135M }
}

/// The CPU, and an adapter if there is one, each with a short name.
pub fn devices() -> Vec<(&'static str, Device)> {
    let mut devices = vec![("cpu", Device::cpu().expect("the CPU engine starts"))];
    let gpu = DeviceOptions {
        kind: DeviceKind::Gpu,
        ..DeviceOptions::default()
    };
    match Device::open(&gpu) {
        Ok(gpu) => devices.push(("gpu", gpu)),
        Err(error) => eprintln!("the GPU is left out: {error}"),
    }
    devices
}

/// Tokens that look random and are the same in every run.
pub fn tokens(vocab: u32, n: usize) -> Vec<u32> {
    (0..n as u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 7) % vocab)
        .collect()
}
