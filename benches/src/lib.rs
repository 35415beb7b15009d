//! Models, devices, single kernels, and the comparison of two forms, for all benchmarks.
//!
//! A file in `benches/` measures a kernel or a whole pass; `cargo bench -p gpt-benches --bench
//! linear -- "gpt2 qkv q4"` selects some of its measurements. Shapes come from real models.
//! `versus` compares sizes known at compile time with sizes known at run time, for kernels of a GPU
//! (`gpu`) and inner loops of the CPU engine (`cpu`). Compare timings within one run only: machines
//! differ, and so does the same machine from minute to minute.

pub mod cpu;
pub mod gpu;
pub mod versus;
pub mod weights;

use gpt_runtime::{Device, DeviceKind, DeviceOptions, gpt_model};

gpt_model! {
    /// The character-level model embedded in `gpt`, 2.7 M parameters.
    pub struct Bard {
        vocab: 65, context: 256, layers: 6, heads: 6, embed: 192, bias: false,
        norm: RmsNorm { eps: 1e-5 }, mlp: Gated { hidden: 512, activation: Silu }, positions: Rope { theta: 10_000.0 },
        ..GPT2_SMALL
    }
    /// nanoGPT's configuration for CPUs.
    pub struct Nano { vocab: 65, context: 64, layers: 4, heads: 4, embed: 128, bias: false, ..GPT2_SMALL }
    /// OpenAI's GPT-2, 124 M parameters.
    pub struct Gpt2 { ..GPT2_SMALL }
    /// HuggingFaceTB's SmolLM2, 135 M parameters.
    pub struct SmolLm2 { ..SMOLLM2_135M }
}

/// The CPU and the adapter, if there is one, each with a short name.
pub fn devices() -> Vec<(&'static str, Device)> {
    let mut devices = vec![("cpu", Device::cpu().expect("the CPU engine starts"))];
    let gpu = DeviceOptions { kind: DeviceKind::Gpu, ..DeviceOptions::default() };
    match Device::open(&gpu) {
        Ok(gpu) => devices.push(("gpu", gpu)),
        Err(error) => eprintln!("the GPU is left out: {error}"),
    }
    devices
}

/// Whether a device is a slow software adapter.
pub fn is_software(device: &Device) -> bool {
    let adapters = gpt_runtime::adapters();
    let known = adapters.iter().find(|a| device.name().starts_with(&a.name));
    device.is_gpu() && known.is_some_and(|a| a.kind == "software")
}

/// The label of a pass over `rows` rows.
pub fn phase(rows: u32) -> String {
    match rows {
        1 => "decode".to_owned(),
        rows => format!("prefill {rows}"),
    }
}

/// Pseudo-random tokens, the same in every run.
pub fn tokens(vocab: u32, n: usize) -> Vec<u32> {
    (0..n as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 7) % vocab).collect()
}
