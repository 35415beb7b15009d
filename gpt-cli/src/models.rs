//! The model of a command: built into the binary, or compiled at start.
//!
//! The macro generates a built-in model from its declaration. [`choose`] finds the model that the
//! arguments name with `--model` or declare with the keys of `--spec`; without either, the one that
//! the weight file describes. A model that is not built in is compiled by the compiler that the
//! macro calls; naga validates its shaders before a GPU runs them.

use std::collections::HashSet;
use std::path::Path;

use gpt_runtime::__private::plan::Spec;
use gpt_runtime::train::SavedRun;
use gpt_runtime::weights::{self, Weights};
use gpt_runtime::{
    Device, Error, Gpt, LoadOptions, Model, Trainer, TrainerSettings, Untyped, gpt_model,
};
use gpt_runtime::{Format, Plan};

use crate::hub;
use crate::options::Named;
use crate::output::Failure;

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
    trainer: fn(&Device, &dyn Weights, TrainerSettings) -> Learning,
    resume: fn(&Device, &SavedRun, TrainerSettings) -> Learning,
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

/// The model of a command.
pub struct Chosen {
    pub plan: &'static Plan,
    /// The built-in model, which the macro compiled. None for a model that was compiled at start:
    /// if the activation of such a model is a closure, the CPU engine interprets it.
    built_in: Option<&'static BuiltIn>,
}

/// The model of the arguments `--model` or `--spec`. Without either it is the one that `weights`
/// describes; without weights, the embedded one.
pub fn choose(
    model: Option<&'static BuiltIn>,
    spec: Option<&str>,
    weights: Option<&Path>,
) -> Result<Chosen, Failure> {
    match (model, spec, weights) {
        (Some(model), ..) => Ok(model.into()),
        (None, Some(keys), _) => of_keys("Spec", keys),
        (None, None, Some(path)) => described(path),
        (None, None, None) => Ok((&ALL[0]).into()),
    }
}

/// The model that a weight file or a `config.json` describes.
fn described(path: &Path) -> Result<Chosen, Failure> {
    let spec = weights::read_spec(path)?;
    // Dropout is for training, and is not read from files.
    let same = |other: &Spec| Spec { dropout: spec.dropout, ..other.clone() } == spec;
    if let Some(model) = ALL.iter().find(|model| same(&(model.plan)().spec)) {
        return Ok(model.into());
    }
    check(path, &spec)?;
    compile(&name_of_file(path), &spec)
}

/// Refuses a spec of the file at `path` that the compiler cannot compile.
pub fn check(path: &Path, spec: &Spec) -> Result<(), Failure> {
    let problems = gpt_codegen::check_spec(spec);
    if problems.is_empty() {
        return Ok(());
    }
    let lines: String = problems.iter().map(|p| format!("\n  {p}")).collect();
    let path = path.display();
    Err(Failure::Input(format!("{path} describes a model that cannot be run:{lines}")))
}

/// The model called `name` with the keys of `--spec`.
pub fn of_keys(name: &str, keys: &str) -> Result<Chosen, Failure> {
    let spec = gpt_codegen::spec(keys).map_err(|errors| {
        let rendered: Vec<String> = errors.iter().map(|error| error.render(keys)).collect();
        Failure::Input(rendered.join("\nerror: "))
    })?;
    compile(name, &spec)
}

/// Compiles a spec that was checked.
fn compile(name: &str, spec: &Spec) -> Result<Chosen, Failure> {
    let plan = gpt_codegen::plan::plan(name, spec);
    // A plan lives as long as the program.
    Ok(Chosen { plan: Box::leak(Box::new(plan)), built_in: None })
}

/// The name of a model: its file's name without the extension. If `path` is a folder, or if the
/// file's name is `config` or begins with `model`, it is the folder's name, or in the hub's cache
/// the repository's.
pub fn name_of_file(path: &Path) -> String {
    let text = |name: &std::ffi::OsStr| name.to_string_lossy().into_owned();
    // A link is not resolved: in the hub's cache it leads to a blob, named after its checksum.
    let stem = path.file_stem().map(text).filter(|_| !path.is_dir());
    let folder = if path.is_dir() { Some(path) } else { path.parent() };
    let folder = folder.map(|folder| if folder == Path::new("") { Path::new(".") } else { folder });
    let folder = folder.and_then(|folder| folder.canonicalize().ok());
    let name = stem.filter(|stem| !stem.starts_with("model") && stem != "config").or_else(|| {
        let folder = folder?;
        let name = hub::name_of_snapshot(&folder).map(str::to_owned);
        name.or_else(|| folder.file_name().map(text))
    });
    let name: String = name
        .unwrap_or_default()
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || "-_.".contains(*c))
        .collect();
    if name.is_empty() { "Model".to_owned() } else { name }
}

/// The name of a model in messages: as `--model` spells it, or otherwise its plan's name.
pub fn name_of(plan: &'static Plan) -> &'static str {
    let built_in = ALL.iter().find(|model| std::ptr::eq((model.plan)(), plan));
    built_in.map_or(&plan.name, |model| model.name)
}

impl From<&'static BuiltIn> for Chosen {
    fn from(model: &'static BuiltIn) -> Chosen {
        Chosen { plan: (model.plan)(), built_in: Some(model) }
    }
}

impl Chosen {
    /// The keys that declare the model; none if it is built in.
    pub fn keys(&self) -> Option<String> {
        self.built_in.is_none().then(|| gpt_codegen::declaration(&self.plan.spec))
    }

    /// Validates the shaders of a model that was compiled at start, as the macro does for a
    /// built-in one. Does nothing for the CPU engine, which uses no shaders.
    fn validate(&self, device: &Device) -> Result<(), Error> {
        if self.built_in.is_some() || !device.is_gpu() {
            return Ok(());
        }
        match gpt_codegen::wgsl::validate_plan(self.plan, &mut HashSet::new()).into_iter().next() {
            None => Ok(()),
            Some(error) => Err(Error::device(format!(
                "{error}; this is a bug in gpt, not in the model; please report it"
            ))),
        }
    }

    /// Loads the model with the weights at `path`, or with the embedded ones.
    ///
    /// # Errors
    /// Fails if there is no path and the model has no embedded weights, or if the weights cannot be
    /// loaded.
    pub fn load(&self, path: Option<&Path>, device: &Device, options: &LoadOptions) -> Loaded {
        self.validate(device)?;
        let embedded = self.built_in.and_then(|model| Some((model, model.embedded?)));
        match (path, self.built_in, embedded) {
            (Some(path), Some(model), _) => (model.load)(path, device, options),
            (Some(path), None, _) => Model::load_plan(self.plan, path, device, options),
            (None, _, Some((model, gguf))) => (model.load_embedded)(gguf, device, options),
            (None, ..) => Err(Error::Input(format!(
                "this program contains only the weights of {EMBEDDED}; pass the weights of {} with \
                 --weights",
                name_of(self.plan)
            ))),
        }
    }

    /// The model with random weights.
    pub fn init(&self, device: &Device, format: Format) -> Loaded {
        self.validate(device)?;
        match self.built_in {
            Some(model) => (model.init)(device, 0, format),
            None => Model::init_plan(self.plan, device, 0, format),
        }
    }

    /// Starts a training run.
    pub fn trainer(
        &self,
        device: &Device,
        weights: &dyn Weights,
        settings: TrainerSettings,
    ) -> Learning {
        self.validate(device)?;
        match self.built_in {
            Some(model) => (model.trainer)(device, weights, settings),
            None => Trainer::from_plan(self.plan, device, weights, settings),
        }
    }

    /// Resumes a training run.
    pub fn resume(&self, device: &Device, saved: &SavedRun, settings: TrainerSettings) -> Learning {
        self.validate(device)?;
        match self.built_in {
            Some(model) => (model.resume)(device, saved, settings),
            None => Trainer::resume_plan(self.plan, device, saved, settings),
        }
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
                    "the models built into this binary are {}; --spec takes the keys of any other",
                    names.join(", ")
                )
            })
        },
    }
}
