//! Arguments that several subcommands share.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use clap::{Arg, Args, Command, ValueEnum};
use gpt_runtime::Format;
use gpt_runtime::weights::Recipe;
use gpt_runtime::{
    CacheFormat, Device, DeviceKind, DeviceOptions, LoadOptions, Model, Sampler, Sampling, Untyped,
};

use crate::hub;
use crate::models::{self, BuiltIn, Chosen};
use crate::output::Failure;
use crate::progress::{self, Spinner};

/// Selects the device.
#[derive(Args)]
pub struct DeviceArguments {
    /// Device: auto takes a hardware GPU, else the CPU
    #[arg(long, value_enum, value_name = "auto|gpu|cpu", default_value_t = Kind::Auto)]
    #[arg(hide_possible_values = true)]
    pub device: Kind,
    /// Index, PCI id or part of the name of a GPU adapter
    #[arg(long, value_name = "NAME")]
    pub adapter: Option<String>,
    /// Threads of the CPU engine [default: one per physical core]
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
        let _spinner = Spinner::new("opening the device");
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
    /// A model built into gpt [default: the model in --weights, or bard]
    #[arg(long, value_parser = models::named(), conflicts_with = "spec")]
    pub model: Option<&'static BuiltIn>,
    /// Declares the model with the keys of gpt_model!
    #[arg(long, value_name = "KEYS")]
    pub spec: Option<String>,
}

impl ModelArgument {
    /// The model that `--model` names or `--spec` declares; otherwise the one that `weights`
    /// describes; without weights, bard.
    pub fn choose(&self, weights: Option<&Path>) -> Result<Chosen, Failure> {
        models::choose(self.model, self.spec.as_deref(), weights)
    }
}

/// Selects the model, its weights and the device.
#[derive(Args)]
pub struct LoadArguments {
    #[command(flatten)]
    pub model: ModelArgument,
    /// Weights, safetensors or GGUF [default: bard's, embedded in gpt]
    #[arg(long, value_name = "FILE", value_parser = hub::path())]
    pub weights: Option<PathBuf>,
    #[arg(long, value_name = "TYPE", value_parser = formats(), hide_possible_values = true)]
    #[arg(help = formats_help("the file's"))]
    pub dtype: Option<Format>,
    #[command(flatten)]
    pub device: DeviceArguments,
}

impl LoadArguments {
    /// Opens the device and loads the model. Prints notes about both to standard error.
    pub fn load(&self, tokenizer: Option<PathBuf>) -> Result<Model<Untyped>, Failure> {
        let chosen = self.model.choose(self.weights.as_deref())?;
        let device = self.device.open()?;
        eprintln!("running on {}: {}", device.name(), device.reason());
        let options =
            LoadOptions { dtype: self.dtype, tokenizer, progress: Some(progress::loading()) };
        let model = chosen.load(self.weights.as_deref(), &device, &options)?;
        for note in model.notes() {
            eprintln!("note: {note}");
        }
        Ok(model)
    }
}

/// Selects the format of the KV cache.
#[derive(Args)]
pub struct CacheArgument {
    /// Format of the KV cache: f32, f16 (CPU), bf16 (CPU)
    #[arg(long, value_name = "TYPE", value_parser = cache_formats(), default_value = "f32")]
    #[arg(hide_possible_values = true)]
    pub cache: CacheFormat,
}

/// Replaces the tokenizer of the weights.
#[derive(Args)]
pub struct TokenizerArgument {
    /// tokenizer.json, vocab.bpe, or GGUF [default: from the weights]
    #[arg(long, value_name = "FILE")]
    pub tokenizer: Option<PathBuf>,
}

/// Sampling and stopping.
#[derive(Args)]
pub struct SamplingArguments {
    /// At most N new tokens [default: as many as fit; 512 in chat]
    #[arg(long, value_name = "N")]
    pub tokens: Option<usize>,
    /// Sampling temperature; 0 takes the likeliest token
    #[arg(long, value_name = "X", default_value_t = Sampling::default().temperature)]
    temperature: f32,
    /// Keeps the K likeliest tokens; 0 for all
    #[arg(long, value_name = "K", default_value_t = Sampling::default().top_k)]
    top_k: usize,
    /// Keeps the likeliest tokens up to total probability P
    #[arg(long, value_name = "P", default_value_t = Sampling::default().top_p)]
    top_p: f32,
    /// Drops tokens less likely than P times the likeliest
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
    /// Rejects values out of range before a model is loaded.
    pub fn check(&self) -> Result<(), Failure> {
        Sampler::new(self.sampling(), 1)?;
        Ok(())
    }

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

/// Parses a value by its name, and lists all names for completions and help. An invalid name gives
/// the error of `parse`, which says what is expected, instead of clap's.
#[derive(Clone)]
pub struct Named<T> {
    pub names: fn() -> Vec<&'static str>,
    pub parse: fn(&str) -> Result<T, String>,
}

impl<T: Clone + Send + Sync + 'static> TypedValueParser for Named<T> {
    type Value = T;

    fn parse_ref(
        &self,
        command: &Command,
        argument: Option<&Arg>,
        value: &OsStr,
    ) -> Result<T, clap::Error> {
        let parse = self.parse;
        StringValueParser::new()
            .try_map(move |name| parse(&name))
            .parse_ref(command, argument, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new((self.names)().into_iter().map(PossibleValue::new)))
    }
}

/// Parses `--dtype`.
pub fn formats() -> Named<Format> {
    Named {
        names: || Format::ALL.map(Format::name).to_vec(),
        parse: |name| {
            let found = Format::ALL.into_iter().find(|f| f.name() == name);
            found.ok_or_else(|| format!("expected one of {}", format_names()))
        },
    }
}

/// Parses the `--dtype` of `gpt convert`.
pub fn recipes() -> Named<Recipe> {
    Named {
        names: Recipe::names,
        parse: |name| {
            let names = || Recipe::names().join(", ");
            Recipe::find(name).ok_or_else(|| format!("expected one of {}", names()))
        },
    }
}

/// The help of `--dtype`.
pub fn formats_help(default: &str) -> String {
    format!("Format of matrices: {} [default: {default}]", format_names())
}

fn format_names() -> String {
    Format::ALL.map(Format::name).join(", ")
}

/// Parses `--cache`.
fn cache_formats() -> Named<CacheFormat> {
    Named {
        names: || CacheFormat::ALL.map(CacheFormat::name).to_vec(),
        parse: |name| {
            let found = CacheFormat::ALL.into_iter().find(|f| f.name() == name);
            found.ok_or_else(|| "expected one of f32, f16, bf16".to_owned())
        },
    }
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
