//! The models built into the binary. The macro generates everything from a declaration.

use std::path::Path;

use gpt_runtime::train::Saved;
use gpt_runtime::weights::Weights;
use gpt_runtime::{
    Device, Error, Gpt, LoadOptions, Model, Trainer, TrainerSettings, Untyped, gpt_model,
};
use gpt_runtime::{Format, Plan};

use crate::options::Named;

gpt_model! {
    /// A character-level model of Shakespeare with 2.7 M parameters, embedded in the binary.
    pub struct Bard {
        vocab: 65, context: 256, layers: 6, heads: 6, embed: 192, bias: false, dropout: 0.05,
        norm: RmsNorm { eps: 1e-5 }, mlp: Gated { hidden: 512, activation: Silu }, positions: Rope { theta: 10_000.0 },
        ..GPT2_SMALL
    }

    /// nanoGPT's configuration for CPUs.
    pub struct Nano {
        vocab: 65, context: 64, layers: 4, heads: 4, embed: 128, bias: false, dropout: 0.0,
        mlp: Dense { hidden: 4 * embed, activation: Gelu },
        ..GPT2_SMALL
    }

    /// OpenAI's GPT-2 with 124 M parameters.
    pub struct Gpt2 { ..GPT2_SMALL }

    /// OpenAI's GPT-2 with 355 M parameters.
    pub struct Gpt2Medium { ..GPT2_MEDIUM }

    /// OpenAI's GPT-2 with 774 M parameters.
    pub struct Gpt2Large { ..GPT2_LARGE }

    /// OpenAI's GPT-2 with 1.6 G parameters.
    pub struct Gpt2Xl { ..GPT2_XL }

    /// HuggingFaceTB's SmolLM2 with 135 M parameters, base and Instruct.
    pub struct SmolLm2 { ..SMOLLM2_135M }
}

type Loaded = Result<Model<Untyped>, Error>;
type Learning = Result<Trainer<Untyped>, Error>;

/// A model with a name on the command line.
pub struct BuiltIn {
    pub name: &'static str,
    pub plan: fn() -> &'static Plan,
    /// The GGUF file embedded in the binary.
    embedded: Option<&'static [u8]>,
    load: fn(&Path, &Device, &LoadOptions) -> Loaded,
    load_embedded: fn(&'static [u8], &Device, &LoadOptions) -> Loaded,
    init: fn(&Device, u64, Format) -> Loaded,
    /// Starts a training run.
    pub trainer: fn(&Device, &dyn Weights, TrainerSettings) -> Learning,
    /// Resumes a training run.
    pub resume: fn(&Device, &Saved, TrainerSettings) -> Learning,
}

const fn built_in<M: Gpt>(name: &'static str) -> BuiltIn {
    BuiltIn {
        name,
        plan: M::plan,
        embedded: None,
        load: |path, device, options| {
            Model::<M>::load_with(path, device, options).map(Model::erase)
        },
        load_embedded: |gguf, device, options| {
            Model::<M>::load_embedded(gguf, device, options).map(Model::erase)
        },
        init: |device, seed, format| Model::<M>::init_as(device, seed, format).map(Model::erase),
        trainer: |device, weights, settings| {
            Trainer::<M>::new(device, weights, settings).map(Trainer::erase)
        },
        resume: |device, saved, settings| {
            Trainer::<M>::resume(device, saved, settings).map(Trainer::erase)
        },
    }
}

/// The name of the model whose weights are embedded in the binary.
pub const EMBEDDED: &str = "bard";

/// All built-in models.
pub static ALL: [BuiltIn; 7] = [
    BuiltIn { embedded: Some(include_bytes!("../assets/bard.gguf")), ..built_in::<Bard>(EMBEDDED) },
    built_in::<Nano>("nano"),
    built_in::<Gpt2>("gpt2"),
    built_in::<Gpt2Medium>("gpt2-medium"),
    built_in::<Gpt2Large>("gpt2-large"),
    built_in::<Gpt2Xl>("gpt2-xl"),
    built_in::<SmolLm2>("smollm2-135m"),
];

impl BuiltIn {
    /// Loads the model with the weights at `path`, or with the embedded ones.
    ///
    /// # Errors
    /// No path for a model without embedded weights; weights that cannot be loaded.
    pub fn load(
        &self,
        path: Option<&Path>,
        device: &Device,
        options: &LoadOptions,
    ) -> Result<Model<Untyped>, Error> {
        match (path, self.embedded) {
            (Some(path), _) => (self.load)(path, device, options),
            (None, Some(gguf)) => (self.load_embedded)(gguf, device, options),
            (None, None) => Err(Error::Input(format!(
                "the weights of {} are not part of this binary, only those of {EMBEDDED} are; pass them with --weights",
                self.name
            ))),
        }
    }

    /// The model with random weights.
    pub fn init(&self, device: &Device, format: Format) -> Result<Model<Untyped>, Error> {
        (self.init)(device, 0, format)
    }
}

/// Parses `--model`.
pub fn named() -> Named<&'static BuiltIn> {
    Named {
        names: || ALL.iter().map(|m| m.name).collect(),
        parse: |name| {
            ALL.iter().find(|m| m.name == name).ok_or_else(|| {
                let names: Vec<&str> = ALL.iter().map(|m| m.name).collect();
                format!(
                    "the models built into this binary are {}; others are declared with gpt_model! in a program of your own",
                    names.join(", ")
                )
            })
        },
    }
}
