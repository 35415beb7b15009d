//! Plans with the first layers of a model only. They use every kernel of the model, but not the
//! time and memory of all layers; the self-test and `tune` run them.

use gpt_plan::{Format, NO_KERNEL, Phase, Plan, Repeat, Spec, TrainOp};

/// Layers that are kept: the first layer of a post-norm model differs from the others.
const LAYERS: u32 = 2;

/// `plan` with its first layers only. It is leaked, as plans are static; borrowed parts are shared
/// with `plan`.
pub fn truncate(plan: &'static Plan) -> &'static Plan {
    let layers = plan.spec.layers.min(LAYERS);
    let mut truncated = plan.clone();
    truncated.spec.layers = layers;
    for section in truncated.sections.to_mut() {
        if let Some((from, to)) = &mut section.layers {
            (*from, *to) = ((*from).min(layers), (*to).min(layers));
        }
    }
    let training = &mut truncated.training;
    for sections in [&mut training.forward, &mut training.backward] {
        for section in sections.to_mut() {
            if let Repeat::Layers(from, to) | Repeat::LayersBack(from, to) = &mut section.repeat {
                (*from, *to) = ((*from).min(layers), (*to).min(layers));
            }
            // The end of the residual stream is the input of the layer after the last.
            for step in section.steps.to_mut() {
                if let TrainOp::Norm { x, stats, .. }
                | TrainOp::NormAgain { x, stats, .. }
                | TrainOp::NormInput { x, stats, .. }
                | TrainOp::NormWeight { x, stats, .. } = &mut step.op
                {
                    x.shift = x.shift.min(layers);
                    stats.shift = stats.shift.min(layers);
                }
            }
        }
    }
    Box::leak(Box::new(truncated))
}

/// Whether every step has kernels for matrices in `format`.
pub fn has_kernels(plan: &Plan, format: Format) -> bool {
    let mut steps = plan.walk().map(|(_, step)| step);
    steps.all(|step| {
        let kernels = [Phase::Decode, Phase::Prefill].map(|phase| step.kernel(phase).of(format));
        step.matrix().is_none() || !kernels.contains(&NO_KERNEL)
    })
}

/// `count` tokens spread over the vocabulary.
pub fn some_tokens(spec: &Spec, count: u32) -> Vec<u32> {
    let tokens = (0..count).map(|i| (i.wrapping_mul(2_654_435_761) >> 7) % spec.vocab);
    tokens.collect()
}
