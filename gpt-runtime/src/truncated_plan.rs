//! Plans with only the first layers of a model. They use every kernel of the model, but take less
//! time and memory than all layers would; the self-test and `tune` run them.

use gpt_plan::{Format, NO_KERNEL, Phase, Plan, Spec};

/// The number of layers that are kept: one, because the first layer of a post-norm model differs
/// from the others, and then one of each kind that alternates.
fn kept(plan: &Plan) -> u32 {
    let kinds = plan.sections.iter().map(|section| section.period).max();
    plan.spec.layers.min(1 + kinds.unwrap_or(1))
}

/// `plan` with its first layers only. It is leaked, because plans are static; borrowed parts are
/// shared with `plan`.
pub fn truncate(plan: &'static Plan) -> &'static Plan {
    let layers = kept(plan);
    let mut truncated = plan.clone();
    truncated.spec.layers = layers;
    let training = &mut truncated.training;
    for sections in [&mut truncated.sections, &mut training.forward, &mut training.backward] {
        for section in sections.to_mut() {
            section.repeat = section.repeat.truncated(layers);
        }
    }
    Box::leak(Box::new(truncated))
}

/// Whether every step has kernels for matrices in `format`.
pub fn has_kernels(plan: &Plan, format: Format) -> bool {
    let mut steps = plan.steps().map(|(_, step)| step);
    steps.all(|step| {
        let mut kernels =
            [Phase::Decode, Phase::Prefill].into_iter().map(|phase| step.kernel(phase, format));
        step.matrix().is_none() || kernels.all(|kernel| kernel != NO_KERNEL)
    })
}

/// `count` tokens spread over the vocabulary.
pub fn some_tokens(spec: &Spec, count: u32) -> Vec<u32> {
    let tokens = (0..count).map(|i| (i.wrapping_mul(2_654_435_761) >> 7) % spec.vocab);
    tokens.collect()
}
