//! A model's first layers: what is run where all layers' kernels are wanted, but not the time and the memory of all layers. The self-test and `tune` do so.

use gpt_plan::{Format, NO_KERNEL, Phase, Plan, Repeat, Spec, TrainOp};

/// Layers that are run: a post-norm block's first differs from the others.
const LAYERS: u32 = 2;

/// `plan` with its first layers only. It lives as long as the program, as plans do; what it shares with the model's is not copied.
pub fn shallow(plan: &'static Plan) -> &'static Plan {
    let layers = plan.spec.layers.min(LAYERS);
    let mut shallow = plan.clone();
    shallow.spec.layers = layers;
    for section in shallow.sections.to_mut() {
        if let Some((from, to)) = &mut section.layers {
            (*from, *to) = ((*from).min(layers), (*to).min(layers));
        }
    }
    let training = &mut shallow.training;
    for sections in [&mut training.forward, &mut training.backward] {
        for section in sections.to_mut() {
            if let Repeat::Layers(from, to) | Repeat::LayersBack(from, to) = &mut section.repeat {
                (*from, *to) = ((*from).min(layers), (*to).min(layers));
            }
            // What ends the stream is read behind the last layer.
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
    Box::leak(Box::new(shallow))
}

/// Whether all steps have kernels for matrices in `format`.
pub fn has_kernels(plan: &Plan, format: Format) -> bool {
    let mut steps = plan.walk().map(|(_, step)| step);
    steps.all(|step| {
        let kernels = [Phase::Decode, Phase::Prefill].map(|phase| step.kernel(phase).of(format));
        step.matrix().is_none() || !kernels.contains(&NO_KERNEL)
    })
}

/// Tokens of all parts of the vocabulary.
pub fn some_tokens(spec: &Spec, count: u32) -> Vec<u32> {
    let tokens = (0..count).map(|i| (i.wrapping_mul(2_654_435_761) >> 7) % spec.vocab);
    tokens.collect()
}
