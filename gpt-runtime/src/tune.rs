//! Which variants of a model's kernels are the fastest on a GPU.
//!
//! The compiler chooses tiles from a model's shapes, but what an adapter gains from is not known before it is tried. Here it is: two layers of the model at its
//! own shapes, on random weights, once with each set of features, in turns, every step timed by the device's own clock. What is found for a kernel is kept on disk
//! for all who open the adapter later. Only variants that compute the same are tried, and only where one is faster by more than noise does it take
//! the place of the compiler's choice. The kernels of training are timed in steps that learn a batch.

use std::path::PathBuf;
use std::sync::Arc;

use gpt_plan::{Feature, Features, Format, Kernel, Phase, Plan};

use crate::device::EngineRef;
use crate::engine::Precision;
use crate::gpu::GpuDevice;
use crate::truncated_plan::{has_kernels, shallow, some_tokens};
use crate::vtable::ModelVtable;
use crate::weights::lively::Lively;
use crate::{Batch, Device, Error, Model, Session, Trainer, TrainerSettings, Untyped};

/// Tokens of the prompt that is timed, on a GPU and on a processor that plays one.
const PROMPT: [u32; 2] = [256, 64];

/// Sequences of such length that are learned, likewise.
const SEQUENCES: [u32; 2] = [4, 1];

/// How often each is timed.
const RUNS: usize = 7;

/// A variant has to take less than this of what the compiler's choice takes.
const GAIN: f64 = 0.97;

/// Of the weights.
const SEED: u64 = 0x7e1e;

/// What was found.
#[derive(Clone, Debug)]
pub struct Tuning {
    /// Where it was measured.
    pub device: String,
    /// Every kernel that has a variant, in the order of formats, then prompt and token, then steps.
    pub choices: Vec<Choice>,
    /// Where it is kept.
    pub path: PathBuf,
}

/// A kernel, and the variant that was the fastest.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// The kernel's name in the plan.
    pub kernel: String,
    /// Tokens that it was timed with.
    pub rows: u32,
    /// Features of the fastest variant.
    pub features: Features,
    /// Its time in seconds.
    pub seconds: f64,
    /// The time of what runs without a measurement.
    pub default: f64,
}

/// Measures the kernels of `plan` with matrices in each of `formats` on `device`, which has to be a GPU, and keeps what was found.
///
/// # Errors
/// The device is no GPU, has no clock of its own, has no room for two layers and the head some times over, or is lost; what was found cannot be kept.
pub fn tune(plan: &'static Plan, device: &Device, formats: &[Format]) -> Result<Tuning, Error> {
    let gpu = measurable(device)?;
    let plan = shallow(plan);
    let kernels = &plan.kernels;
    let mut found = Found::default();
    for &format in formats.iter().filter(|format| has_kernels(plan, **format)) {
        let mut readers = Vec::new();
        for features in candidates(gpu, kernels) {
            readers.push(Reader::new(plan, format, &with(gpu, features)?, features)?);
        }
        for phase in [Phase::Prefill, Phase::Decode] {
            let rows = match phase {
                Phase::Decode => 1,
                Phase::Prefill => PROMPT[usize::from(gpu.is_software())].min(plan.spec.context),
            };
            for _ in 0..=RUNS {
                for reader in &mut readers {
                    reader.run(phase, rows)?;
                }
            }
            let mut rivals: Vec<&mut Rival> = readers.iter_mut().map(|r| &mut r.rival).collect();
            found.take(&mut rivals, kernels, rows);
        }
    }
    found.keep(gpu)
}

/// As [`tune`], of the kernels of training, in f32 and, where `device` has it, in f16.
///
/// # Errors
/// As [`tune`]; a trainer takes more room than a session.
pub fn tune_training(plan: &'static Plan, device: &Device) -> Result<Tuning, Error> {
    let gpu = measurable(device)?;
    let plan = shallow(plan);
    let kernels = &plan.training.kernels;
    let mut found = Found::default();
    let software = usize::from(gpu.is_software());
    let shape = (SEQUENCES[software], PROMPT[software].min(plan.spec.context));
    let precisions: &[Precision] = match gpu.has_f16() {
        true => &[Precision::F32, Precision::F16],
        false => &[Precision::F32],
    };
    for &precision in precisions {
        let mut learners = Vec::new();
        for features in candidates(gpu, kernels) {
            let device = with(gpu, features)?;
            learners.push(Learner::new(plan, shape, precision, &device, features)?);
        }
        for _ in 0..=RUNS {
            for learner in &mut learners {
                learner.run()?;
            }
        }
        let mut rivals: Vec<&mut Rival> = learners.iter_mut().map(|l| &mut l.rival).collect();
        found.take(&mut rivals, kernels, shape.0 * shape.1);
    }
    found.keep(gpu)
}

/// The GPU that `device` is, if its kernels can be told apart, and what is found of them can be kept: which is known before minutes are spent.
fn measurable(device: &Device) -> Result<&Arc<GpuDevice>, Error> {
    let EngineRef::Gpu(gpu) = device.engine() else {
        return Err(Error::Input(format!(
            "{} has no variants of kernels to choose from; name a GPU (`gpu`)",
            device.name()
        )));
    };
    if !gpu.has_timestamps() {
        return Err(Error::Device(format!(
            "{} writes no timestamps, and nothing else tells kernels apart",
            gpu.name()
        )));
    }
    gpu.tuned().path()?;
    Ok(gpu)
}

/// The same device with `features`.
fn with(gpu: &GpuDevice, features: Features) -> Result<Device, Error> {
    Ok(Device::of_gpu(Arc::new(gpu.again(features)?), "measured"))
}

/// What was found so far.
#[derive(Default)]
struct Found {
    choices: Vec<Choice>,
    kept: Vec<(&'static Kernel, Features)>,
}

impl Found {
    /// Takes the fastest variant of each of `kernels` that ran, and what was measured from `rivals`.
    fn take(&mut self, rivals: &mut [&mut Rival], kernels: &'static [Kernel], rows: u32) {
        for (index, kernel) in kernels.iter().enumerate() {
            // In f16 training has the norms and attention of f32.
            let known = self.choices.iter().any(|c| c.kernel == *kernel.name);
            if known {
                continue;
            }
            if let Some((features, seconds, default)) = fastest(rivals, kernel, index) {
                self.choices.push(Choice {
                    kernel: kernel.name.to_string(),
                    rows,
                    features,
                    seconds,
                    default,
                });
                self.kept.push((kernel, features));
            }
        }
        for rival in rivals {
            rival.seconds.iter_mut().for_each(Vec::clear);
        }
    }

    fn keep(self, gpu: &GpuDevice) -> Result<Tuning, Error> {
        Ok(Tuning {
            device: gpu.name().to_owned(),
            choices: self.choices,
            path: gpu.tuned().keep(&self.kept)?,
        })
    }
}

/// The sets that are tried, the usual one first: without subgroups, with inputs from neighbours or from memory, attention by many invocations or few, and tiles of all sizes, with one
/// place for inputs or two. Whether matrices are textures is the device's affair, as several kernels read the same one.
fn candidates(gpu: &GpuDevice, kernels: &[Kernel]) -> Vec<Features> {
    let usual = Features::usual(gpu.is_software());
    let sizes = [Feature::SmallTiles, Feature::LargeTiles, Feature::HugeTiles];
    let bare = sizes.into_iter().fold(usual, Features::without);
    let other = |feature| match usual.has(feature) {
        true => usual.without(feature),
        false => usual.with(feature),
    };
    let mut sets = vec![
        usual,
        usual.without(Feature::Subgroups),
        other(Feature::Broadcasts),
        other(Feature::SmallGroups),
    ];
    for size in std::iter::once(None).chain(sizes.map(Some)) {
        let set = size.map_or(bare, |size| bare.with(size));
        sets.extend([set, set.with(Feature::DoubleBuffers)]);
    }
    // Of sets that make the same of all kernels, the first.
    let mut seen = Vec::new();
    sets.retain(|set| {
        let names: Vec<_> = kernels.iter().map(|kernel| name(kernel, *set)).collect();
        !seen.contains(&names) && {
            seen.push(names);
            true
        }
    });
    sets
}

/// What `kernel` is called with a set of features.
fn name(kernel: &Kernel, features: Features) -> gpt_plan::Str {
    let variant = gpt_shaders::variant(kernel, features);
    variant.map_or(kernel.name.clone(), |variant| variant.name)
}

/// A set of features, and what kernels took with it.
struct Rival {
    features: Features,
    /// By kernel: what each run took, all steps together, the first of them not to be counted.
    seconds: Vec<Vec<f64>>,
}

impl Rival {
    fn new(features: Features, kernels: &[Kernel]) -> Rival {
        Rival {
            features,
            seconds: vec![Vec::new(); kernels.len()],
        }
    }

    /// Adds what each kernel took in a run, if it ran.
    fn add(&mut self, taken: Vec<Option<f64>>) {
        for (all, taken) in self.seconds.iter_mut().zip(taken) {
            all.extend(taken);
        }
    }
}

/// Reads prompts and tokens.
struct Reader {
    rival: Rival,
    plan: &'static Plan,
    session: Session<Untyped>,
    format: Format,
}

impl Reader {
    fn new(
        plan: &'static Plan,
        format: Format,
        device: &Device,
        features: Features,
    ) -> Result<Reader, Error> {
        let weights = Lively::new(plan, SEED, format);
        let model: Model<Untyped> = Model::from_plan(plan, &weights, device)?;
        let capacity = (PROMPT[0] + 1).min(plan.spec.context);
        let session = model.session().capacity(capacity).chunk(capacity);
        Ok(Reader {
            rival: Rival::new(features, &plan.kernels),
            plan,
            session: session.open()?,
            format,
        })
    }

    fn run(&mut self, phase: Phase, rows: u32) -> Result<(), Error> {
        let plan = self.plan;
        self.session.truncate(0);
        let profile = self.session.profile(&some_tokens(&plan.spec, rows))?;
        let mut taken = vec![None; plan.kernels.len()];
        for ((_, step), time) in plan.steps().zip(&profile.steps) {
            let format = if step.matrix().is_some() {
                self.format
            } else {
                Format::F32
            };
            let kernel = usize::from(step.kernel(phase, format));
            *taken[kernel].get_or_insert(0.0) += time.seconds;
        }
        self.rival.add(taken);
        Ok(())
    }
}

/// Learns a batch.
struct Learner {
    rival: Rival,
    plan: &'static Plan,
    trainer: Trainer<Untyped>,
    batch: Batch,
}

impl Learner {
    fn new(
        plan: &'static Plan,
        (sequences, tokens): (u32, u32),
        precision: Precision,
        device: &Device,
        features: Features,
    ) -> Result<Learner, Error> {
        let settings = TrainerSettings {
            batch: sequences,
            tokens: Some(tokens),
            precision,
            ..TrainerSettings::default()
        };
        let weights = Lively::new(plan, SEED, Format::F32);
        let texts = some_tokens(&plan.spec, sequences * (tokens + 1));
        Ok(Learner {
            rival: Rival::new(features, &plan.training.kernels),
            plan,
            trainer: Trainer::with_face(ModelVtable::of_plan(plan), device, &weights, settings)?,
            batch: Batch::next_tokens(&texts, tokens as usize)?,
        })
    }

    fn run(&mut self) -> Result<(), Error> {
        let profile = self.trainer.profile(&self.batch)?;
        let kernels = self.plan.training.kernels.iter();
        let taken = kernels.map(|kernel| {
            let mut parts = profile.parts.iter();
            let part = parts.find(|part| part.name == kernel.name)?;
            Some(part.seconds)
        });
        self.rival.add(taken.collect());
        Ok(())
    }
}

/// The features of the fastest variant of kernel `index`, its time, and that of the default; nothing if it did not run or has no variants.
fn fastest(rivals: &[&mut Rival], kernel: &Kernel, index: usize) -> Option<(Features, f64, f64)> {
    let mut variants: Vec<(Features, gpt_plan::Str, Vec<f64>)> = Vec::new();
    for rival in rivals {
        let times = rival.seconds[index].iter().skip(1).copied();
        let own = name(kernel, rival.features);
        // What is the same kernel was measured more often.
        match variants.iter_mut().find(|(_, known, _)| *known == own) {
            Some((_, _, all)) => all.extend(times),
            None => variants.push((rival.features, own, times.collect())),
        }
    }
    let mut times = variants
        .iter_mut()
        .map(|(features, _, times)| (*features, median(times)));
    let (plain, default) = times.next()?;
    let others: Vec<_> = times.collect();
    if others.is_empty() || default.is_nan() {
        return None;
    }
    let best = others
        .into_iter()
        .filter(|(_, seconds)| *seconds < GAIN * default)
        .min_by(|a, b| a.1.total_cmp(&b.1));
    let (features, seconds) = best.unwrap_or((plain, default));
    Some((features, seconds, default))
}

/// Not a number if there are none.
fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
}
