//! Inputs and sizes for the kernels of a training pass: a batch of sequences, all rows at once.

use gpt_runtime::__private::plan::{ADAMW, Extent, Op, Plan, Projection, Step, TensorId};

use super::inference::Job;
use super::kernel::Sizes;
use crate::versus::Work;

/// The most rows of a vocabulary's matrix in a measurement; no engine takes more at once.
const VOCAB: u32 = 8192;

/// A batch.
#[derive(Clone, Copy)]
pub struct Shape {
    pub sequences: u32,
    pub tokens: u32,
}

impl Shape {
    pub fn rows(&self) -> u32 {
        self.sequences * self.tokens
    }

    /// The uniform `pass_uniform`: gradients replace the previous ones, and nothing is dropped.
    fn pass_uniform(&self) -> (&'static str, Vec<u32>) {
        let one = 1f32.to_bits();
        ("pass_uniform", vec![self.tokens, self.rows(), 0, 1, one, 0, 0, one])
    }
}

/// Kernel `number` of the step called `name`: a product, a norm, attention or the loss.
///
/// # Panics
/// If the plan has no such step.
pub fn step(plan: &'static Plan, name: &str, number: usize, shape: Shape) -> Job {
    let training = &plan.training;
    let mut steps = training.sections().flat_map(|s| s.steps.iter());
    let step = steps.find(|s| s.name == name).expect("a step of the plan");
    let kernel = &training.kernels[usize::from(step.train_kernels()[number])];
    let rows = shape.rows();
    let widest = training.buffers.iter().filter(|b| b.width < plan.spec.vocab);
    let widest = u64::from(widest.map(|b| b.stride).max().unwrap_or(1));
    let (matrix, work) = work(plan, step, shape);
    let gated = step.op.is_gated();
    let (elements, width, slice) = match matrix {
        Some(id) => {
            let tensor = plan.tensor(id);
            let slice = tensor.rows.min(VOCAB);
            (u64::from(slice * tensor.columns), u64::from(tensor.rows), slice)
        }
        None => (0, 0, 0),
    };
    // A workgroup computes both features of a gated pair.
    let (rows_of_slice, binding_row) = if gated { (slice / 2, slice / 2) } else { (slice, 0) };
    let widest_output = match step.op {
        Op::CrossEntropy { .. } => u64::from(plan.spec.vocab),
        _ => width,
    };
    // The padding of a row is less than a kilobyte.
    let activations = u64::from(rows) * (widest.max(widest_output) + 256);
    Job {
        kernel,
        sizes: Sizes {
            uniforms: vec![
                shape.pass_uniform(),
                ("step_uniform", vec![0, rows_of_slice, binding_row, 0, 0]),
            ],
            parts: if elements > 0 { vec![4 * elements] } else { Vec::new() },
            bytes: 4 * activations.max(elements),
            vocab: plan.spec.vocab,
            groups: kernel.workgroups(&Extent {
                rows,
                tokens: shape.tokens,
                slice: rows_of_slice,
                ..Extent::default()
            }),
        },
        work,
    }
}

/// The matrix of a step, and its work.
fn work(plan: &Plan, step: &Step, shape: Shape) -> (Option<TensorId>, Work) {
    let (spec, rows) = (&plan.spec, u64::from(shape.rows()));
    let bytes = |bytes: u64| (None, Work::Bytes(bytes));
    match step.op {
        Op::Project(Projection { weight, .. })
        | Op::ProjectInput { weight, .. }
        | Op::ProjectWeight { weight, .. } => {
            let tensor = plan.tensor(weight);
            let elements = u64::from(tensor.rows.min(VOCAB)) * u64::from(tensor.columns);
            (Some(weight), Work::Flops(2 * rows * elements))
        }
        // Each logit is read three times and written once.
        Op::CrossEntropy { .. } => bytes(16 * rows * u64::from(spec.vocab)),
        Op::Norm { .. } | Op::NormInput { .. } => bytes(8 * rows * u64::from(spec.embed)),
        Op::Attention { .. } => {
            let tokens = u64::from(shape.tokens);
            let pairs = u64::from(shape.sequences) * tokens * (tokens + 1) / 2;
            (None, Work::Flops(4 * pairs * u64::from(spec.q_width())))
        }
        _ => panic!("{} is not measured", step.name),
    }
}

/// A step of the optimizer on `parameters` parameters.
pub fn adamw(plan: &'static Plan, parameters: u32) -> Job {
    let kernels = plan.training.kernels.iter();
    let kernel = kernels.into_iter().find(|k| k.name == ADAMW).expect("every plan has it");
    // Rate, betas, epsilon, decay, corrections, clip.
    let update = [1e-3, 0.9, 0.99, 1e-8, 1e-4, 1.0, 1.0, 1.0f32].map(f32::to_bits);
    let quads = parameters / 4;
    Job {
        kernel,
        sizes: Sizes {
            uniforms: vec![("update", update.to_vec()), ("region", vec![0, quads, 1])],
            parts: Vec::new(),
            bytes: 4 * u64::from(parameters),
            vocab: plan.spec.vocab,
            groups: kernel.workgroups(&Extent { slice: quads, ..Extent::default() }),
        },
        // Four values are read and three are written.
        work: Work::Bytes(7 * 4 * u64::from(parameters)),
    }
}
