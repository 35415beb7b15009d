//! Arguments that several subcommands share.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use gpt_runtime::Format;
use gpt_runtime::{
    CacheFormat, Device, DeviceKind, DeviceOptions, LoadOptions, Model, Sampling, Untyped,
};

use crate::loading;
use crate::models::{self, BuiltIn};
use crate::output::Failure;

/// Selects the device.
#[derive(Args)]
pub struct DeviceArguments {
    /// The device: the best one, a GPU, or the CPU engine
    #[arg(long, value_enum, default_value_t = Kind::Auto)]
    pub device: Kind,
    /// Part of the name of a GPU adapter, if there are several
    #[arg(long, value_name = "NAME")]
    pub adapter: Option<String>,
    /// Threads of the CPU engine [default: the physical cores]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum Kind {
    Auto,
    Gpu,
    Cpu,
}

impl DeviceArguments {
    pub fn open(&self) -> Result<Device, Failure> {
        Ok(Device::open(&DeviceOptions {
            kind: match self.device {
                Kind::Auto => DeviceKind::Auto,
                Kind::Gpu => DeviceKind::Gpu,
                Kind::Cpu => DeviceKind::Cpu,
            },
            adapter: self.adapter.clone(),
            threads: self.threads,
        })?)
    }
}

/// Selects the model.
#[derive(Args)]
pub struct ModelArgument {
    /// A model built into this binary: bard, nano, gpt2, gpt2-medium, gpt2-large, gpt2-xl,
    /// smollm2-135m
    #[arg(long, value_name = "MODEL", value_parser = models::parse, default_value = models::EMBEDDED)]
    pub model: &'static BuiltIn,
}

/// Selects the model, its weights and the device.
#[derive(Args)]
pub struct LoadArguments {
    #[command(flatten)]
    pub model: ModelArgument,
    /// Safetensors (a file, the index of a sharded model, or its folder) or GGUF [default: bard's,
    /// embedded in this binary]
    #[arg(long, value_name = "FILE")]
    pub weights: Option<PathBuf>,
    /// Converts matrices at load [default: the file's format]
    #[arg(long, value_name = "TYPE", value_parser = format)]
    pub dtype: Option<Format>,
    #[command(flatten)]
    pub device: DeviceArguments,
}

impl LoadArguments {
    /// Opens the device and loads the model, with notes about both on standard error.
    pub fn load(&self, tokenizer: Option<PathBuf>) -> Result<Model<Untyped>, Failure> {
        let device = self.device.open()?;
        eprintln!("running on {}: {}", device.name(), device.reason());
        let options = LoadOptions {
            dtype: self.dtype,
            tokenizer,
            progress: Some(loading::bar()),
        };
        let model = self
            .model
            .model
            .load(self.weights.as_deref(), &device, &options)?;
        for note in model.notes() {
            eprintln!("note: {note}");
        }
        Ok(model)
    }
}

/// Selects the format of the KV cache.
#[derive(Args)]
pub struct CacheArgument {
    /// Format of cached keys and values (CPU engine): f32, f16 or bf16; the last two halve memory
    /// and the time to read it
    #[arg(long, value_name = "TYPE", value_parser = cache_format, default_value = "f32")]
    pub cache: CacheFormat,
}

/// Replaces the tokenizer of the weights.
#[derive(Args)]
pub struct TokenizerArgument {
    /// tokenizer.json, vocab.bpe (with encoder.json), or GGUF [default: the one beside the weights]
    #[arg(long, value_name = "FILE")]
    pub tokenizer: Option<PathBuf>,
}

/// Sampling and stopping.
#[derive(Args)]
pub struct SamplingArguments {
    /// Maximum number of new tokens [default: until the model stops or the context is full; 512 for
    /// an answer in chat]
    #[arg(long, value_name = "N")]
    pub tokens: Option<usize>,
    /// Divides the logits; 0 takes the likeliest token
    #[arg(long, value_name = "X", default_value_t = Sampling::default().temperature)]
    temperature: f32,
    /// Samples from the K likeliest tokens; 0 for all
    #[arg(long, value_name = "K", default_value_t = Sampling::default().top_k)]
    top_k: usize,
    /// Samples from the likeliest tokens with a total probability of P
    #[arg(long, value_name = "P", default_value_t = Sampling::default().top_p)]
    top_p: f32,
    /// Samples only tokens at least P times as likely as the likeliest
    #[arg(long, value_name = "P", default_value_t = Sampling::default().min_p)]
    min_p: f32,
    /// Makes recent tokens less likely; 1 has no effect
    #[arg(long, value_name = "X", default_value_t = Sampling::default().repetition_penalty)]
    repetition_penalty: f32,
    /// Seed of the random numbers
    #[arg(long, value_name = "S", default_value_t = Sampling::default().seed)]
    seed: u64,
    /// Stops at this text; can be repeated
    #[arg(long, value_name = "TEXT")]
    pub stop: Vec<String>,
}

impl SamplingArguments {
    pub fn sampling(&self) -> Sampling {
        Sampling {
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p,
            min_p: self.min_p,
            repetition_penalty: self.repetition_penalty,
            seed: self.seed,
            ..Sampling::default()
        }
    }
}

/// Parses `--dtype`.
pub fn format(name: &str) -> Result<Format, String> {
    Format::ALL
        .into_iter()
        .find(|f| f.name() == name)
        .ok_or_else(|| "expected one of f32, bf16, f16, q8, q4".to_owned())
}

/// Parses `--cache`.
fn cache_format(name: &str) -> Result<CacheFormat, String> {
    CacheFormat::ALL
        .into_iter()
        .find(|f| f.name() == name)
        .ok_or_else(|| "expected one of f32, f16, bf16".to_owned())
}

/// Parses `--train`: sequences times tokens, such as `4x64`.
pub fn shape(text: &str) -> Result<(u32, u32), String> {
    text.split_once('x')
        .and_then(|(batch, tokens)| Some((batch.parse().ok()?, tokens.parse().ok()?)))
        .filter(|(batch, tokens): &(u32, u32)| {
            (1..1 << 16).contains(batch) && (1..1 << 15).contains(tokens)
        })
        .ok_or_else(|| "expected sequences and tokens, as in 4x64".to_owned())
}
