//! Which variants of a model's kernels are the fastest on a GPU.
//!
//! The compiler chooses tiles from a model's shapes, but what an adapter gains from is not known before it is tried. Here it is: two layers of the model at its
//! own shapes, on random weights, once with each set of features, in turns, every step timed by the device's own clock. What is found for a kernel is kept on disk
//! for all who open the adapter later. Only variants that compute the same are tried, and only where one is faster by more than noise does it take
//! the place of the compiler's choice. The kernels of training are not part of this.

use std::path::PathBuf;
use std::sync::Arc;

use gpt_plan::{Feature, Features, Format, Phase, Plan};

use crate::device::EngineRef;
use crate::self_test::{has_kernels, shallow};
use crate::weights::lively::Lively;
use crate::{Any, Device, Error, Model, Session};

/// Tokens of the prompt that is timed, on a GPU and on a processor that plays one.
const PROMPT: [u32; 2] = [256, 64];

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
    // Whether it can be kept is known before minutes are spent.
    gpu.tuned().path()?;
    let shallow = shallow(plan);
    let mut choices = Vec::new();
    let mut kept = Vec::new();
    for &format in formats.iter().filter(|format| has_kernels(plan, **format)) {
        let mut rivals = candidates(Features::usual(gpu.is_software()))
            .into_iter()
            .map(|features| {
                let own = Device::of_gpu(Arc::new(gpu.again(features)?), "measured");
                Rival::new(shallow, format, &own, features)
            })
            .collect::<Result<Vec<_>, Error>>()?;
        for phase in [Phase::Prefill, Phase::Decode] {
            let rows = match phase {
                Phase::Decode => 1,
                Phase::Prefill => PROMPT[usize::from(gpu.is_software())].min(plan.spec.context),
            };
            for _ in 0..=RUNS {
                for rival in &mut rivals {
                    rival.run(phase, rows)?;
                }
            }
            for (index, kernel) in shallow.kernels.iter().enumerate() {
                let found = fastest(&rivals, kernel, index);
                if let Some((features, seconds, default)) = found {
                    choices.push(Choice {
                        kernel: kernel.name.to_string(),
                        rows,
                        features,
                        seconds,
                        default,
                    });
                    kept.push((kernel, features));
                }
            }
            rivals.iter_mut().for_each(|rival| rival.forget());
        }
    }
    Ok(Tuning {
        device: device.name(),
        choices,
        path: gpu.tuned().keep(&kept)?,
    })
}

/// The sets that are tried, the usual one first: without subgroups, with inputs from neighbours or from memory, attention by many invocations or few, and tiles of all sizes, with one
/// place for inputs or two. Whether matrices are textures is the device's affair, as several kernels read the same one.
fn candidates(usual: Features) -> Vec<Features> {
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
    let mut seen = Vec::new();
    sets.retain(|set| {
        !seen.contains(set) && {
            seen.push(*set);
            true
        }
    });
    sets
}

/// The model with one set of features.
struct Rival {
    features: Features,
    model: Model<Any>,
    session: Option<Session<Any>>,
    format: Format,
    /// By kernel: what each run took, all steps together, the first of them not to be counted.
    seconds: Vec<Vec<f64>>,
}

impl Rival {
    fn new(
        plan: &'static Plan,
        format: Format,
        device: &Device,
        features: Features,
    ) -> Result<Rival, Error> {
        let weights = Lively::new(plan, SEED, format);
        Ok(Rival {
            features,
            model: Model::from_plan(plan, &weights, device)?,
            session: None,
            format,
            seconds: vec![Vec::new(); plan.kernels.len()],
        })
    }

    fn run(&mut self, phase: Phase, rows: u32) -> Result<(), Error> {
        let plan = self.model.plan();
        let context = plan.spec.context;
        let tokens: Vec<u32> = (0..rows)
            .map(|i| i.wrapping_mul(2_654_435_761) % plan.spec.vocab)
            .collect();
        let session = match &mut self.session {
            Some(session) => session,
            none => {
                let capacity = (PROMPT[0] + 1).min(context);
                let open = self
                    .model
                    .session()
                    .capacity(capacity)
                    .chunk(capacity)
                    .open()?;
                none.insert(open)
            }
        };
        session.truncate(0);
        let profile = session.profile(&tokens)?;
        let mut taken = vec![None; plan.kernels.len()];
        for ((_, step), time) in plan.walk().zip(&profile.steps) {
            let format = if step.matrix().is_some() {
                self.format
            } else {
                Format::F32
            };
            let kernel = usize::from(step.kernel(phase).of(format));
            *taken[kernel].get_or_insert(0.0) += time.seconds;
        }
        for (all, taken) in self.seconds.iter_mut().zip(taken) {
            all.extend(taken);
        }
        Ok(())
    }

    fn forget(&mut self) {
        self.seconds.iter_mut().for_each(Vec::clear);
    }
}

/// The features of the fastest variant of kernel `index`, its time, and that of the default; nothing if it did not run or has no variants.
fn fastest(
    rivals: &[Rival],
    kernel: &gpt_plan::Kernel,
    index: usize,
) -> Option<(Features, f64, f64)> {
    let name = |features| {
        let variant = kernel.variant(features);
        variant.map_or(kernel.name.clone(), |variant| variant.name)
    };
    let mut variants: Vec<(Features, gpt_plan::Str, Vec<f64>)> = Vec::new();
    for rival in rivals {
        let times = rival.seconds[index].iter().skip(1).copied();
        let own = name(rival.features);
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
