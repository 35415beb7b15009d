//! A model's first layers: what is run where all layers' kernels are wanted, but not the time and the memory of all layers. The self-test and `tune` do so.

use gpt_plan::{Format, NO_KERNEL, Phase, Plan, Spec};

/// Layers that are run: a post-norm block's first differs from the others.
const LAYERS: u32 = 2;

/// `plan` with its first layers only. It lives as long as the program, as plans do; what it shares with the model's is not copied.
pub fn shallow(plan: &'static Plan) -> &'static Plan {
    let layers = plan.spec.layers.min(LAYERS);
    let mut shallow = plan.clone();
    shallow.spec.layers = layers;
    let training = &mut shallow.training;
    for sections in [
        &mut shallow.sections,
        &mut training.forward,
        &mut training.backward,
    ] {
        for section in sections.to_mut() {
            section.repeat = section.repeat.truncated(layers);
        }
    }
    Box::leak(Box::new(shallow))
}

/// Whether all steps have kernels for matrices in `format`.
pub fn has_kernels(plan: &Plan, format: Format) -> bool {
    let mut steps = plan.steps().map(|(_, step)| step);
    steps.all(|step| {
        let mut kernels = [Phase::Decode, Phase::Prefill]
            .into_iter()
            .map(|phase| step.kernel(phase, format));
        step.matrix().is_none() || kernels.all(|kernel| kernel != NO_KERNEL)
    })
}

/// Tokens of all parts of the vocabulary.
pub fn some_tokens(spec: &Spec, count: u32) -> Vec<u32> {
    let tokens = (0..count).map(|i| (i.wrapping_mul(2_654_435_761) >> 7) % spec.vocab);
    tokens.collect()
}
