//! A model's pipelines: what each kernel binds, and when it is compiled.
//!
//! A driver takes milliseconds for a kernel, even one that it finds in its cache, and a text needs few of those that a model has: with one token at a time those
//! of prompts are idle, and nobody splits attention who has a hundred keys. So kernels are compiled before the first pass of their kind (a prompt, a token,
//! tokens that the device chooses), all that it lacks at once, on all cores; passes that follow compile nothing. Those of a single token are compiled beside the
//! weights' upload, as every text needs them; and so are all the others where there are cores that have nothing else to do then.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use gpt_plan::Plan;

use super::device::{GpuDevice, Pipeline};
use super::layout::{self, MatrixSlots, SlotEntry, WeightSlots};

/// What a kernel binds of a session, and of the weights.
pub type Groups = (&'static [SlotEntry], Option<WeightSlots>);

/// So many cores compile everything while weights are on their way; with fewer, a start would take longer by what its first pass does not need.
const MANY_CORES: usize = 4;

/// The kernels of a model, and those of their pipelines that were built.
pub struct Pipelines {
    device: Arc<GpuDevice>,
    plan: &'static Plan,
    /// By the kernel's index; those that no step needs are missing.
    kernels: Vec<Option<(Groups, OnceLock<Pipeline>)>>,
}

impl Pipelines {
    pub fn new(
        device: Arc<GpuDevice>,
        plan: &'static Plan,
        groups: &HashMap<u16, Groups>,
    ) -> Pipelines {
        let kernels = (0..plan.kernels.len() as u16)
            .map(|kernel| Some((*groups.get(&kernel)?, OnceLock::new())))
            .collect();
        Pipelines {
            device,
            plan,
            kernels,
        }
    }

    /// Builds what a start needs: `first`, or everything.
    pub fn start(&self, first: impl IntoIterator<Item = u16>) {
        match cores() < MANY_CORES {
            true => self.prepare(first),
            false => self.prepare((0..self.kernels.len() as u16).filter(|&k| self.has(k))),
        }
    }

    fn has(&self, kernel: u16) -> bool {
        self.kernels[usize::from(kernel)].is_some()
    }

    /// Builds those of `kernels` that are missing, on all cores, as a driver compiles one at a time on each.
    pub fn prepare(&self, kernels: impl IntoIterator<Item = u16>) {
        let missing: BTreeSet<u16> = kernels
            .into_iter()
            .filter(|&kernel| self.place(kernel).1.get().is_none())
            .collect();
        if missing.is_empty() {
            return;
        }
        let missing: Vec<u16> = missing.into_iter().collect();
        let next = AtomicUsize::new(0);
        let build = || {
            while let Some(&kernel) = missing.get(next.fetch_add(1, Ordering::Relaxed)) {
                self.get(kernel);
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..cores().min(missing.len()) {
                scope.spawn(build);
            }
            build();
        });
        self.device.keep_pipelines();
    }

    /// The pipeline of a kernel, built now if it was not before. What goes wrong is noted by the device.
    pub fn get(&self, kernel: u16) -> &Pipeline {
        let (groups, pipeline) = self.place(kernel);
        pipeline.get_or_init(|| self.build(kernel, *groups))
    }

    fn place(&self, kernel: u16) -> &(Groups, OnceLock<Pipeline>) {
        self.kernels[usize::from(kernel)]
            .as_ref()
            .expect("a kernel of the model's steps")
    }

    fn build(&self, kernel: u16, (session, weights): Groups) -> Pipeline {
        let device = &self.device;
        let session = layout::session_layout(device, session);
        let textures = weights.is_some_and(|slots| matches!(slots.matrix, MatrixSlots::Texture(_)));
        let weights = weights.map(|slots| layout::weight_layout(device, slots));
        let mut groups = vec![Some(&session)];
        groups.extend(weights.iter().map(Some));
        device.pipeline(&self.plan.kernels[usize::from(kernel)], &groups, textures)
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[cfg(test)]
mod tests {
    use gpt_plan::{ChoiceOp, Features};

    use super::*;

    /// Each kernel is compiled once, when it is needed, whoever asks first.
    #[test]
    fn kernels_are_built_once_and_when_they_are_needed() {
        let device = match GpuDevice::open_with(None, Features::NONE) {
            Ok(device) => Arc::new(device),
            Err(error) => {
                assert!(std::env::var_os("GPT_REQUIRE_GPU").is_none(), "{error}");
                return eprintln!("NOT RUN, as there is no GPU: {error}");
            }
        };
        let plan = crate::weights::testing::llama();
        let choice = ChoiceOp::ALL.map(|op| (plan.choice[op as usize], layout::choice_slots(op)));
        let groups = choice.map(|(kernel, slots)| (kernel, (slots, None)));
        let pipelines = Pipelines::new(device.clone(), plan, &HashMap::from(groups));
        let before = device.created();
        // Each of these is a pipeline and the layout of its one group.
        let built = || (device.created() - before) as f64 / 2.0;
        let [first, second, third] = [0, 1, 2].map(|i| choice[i].0);
        pipelines.prepare([first, second, first]);
        assert_eq!(built(), 2.0);
        pipelines.prepare([second, first]);
        assert_eq!(built(), 2.0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| pipelines.get(third));
            }
        });
        assert_eq!(built(), 3.0);
        pipelines.start(choice.map(|(kernel, _)| kernel));
        assert_eq!(built(), choice.len() as f64);
        device.check().unwrap();
    }
}
