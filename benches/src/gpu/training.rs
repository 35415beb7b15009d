//! What the kernels of a training pass are run on: a batch of sequences, all rows at once.

use gpt_runtime::plan::{
    ADAMW, Kernel, Op, Plan, Projection, Step, TRAIN_COLUMNS, TRAIN_ROWS, TensorId,
};

use super::inference::Job;
use super::kernel::Sizes;
use crate::versus::Work;

/// Rows of a vocabulary's matrix to measure with: no engine takes more of them at once.
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

    /// The uniform `run`: gradients replace what was there, nothing is dropped.
    fn run(&self) -> (&'static str, Vec<u32>) {
        let one = 1f32.to_bits();
        ("run", vec![self.tokens, self.rows(), 0, 1, one, 0, 0, one])
    }
}

/// The step called `name`, if it is one that is measured: products, norms, attention and the loss. Its first kernel is meant, or the one with
/// this number.
///
/// # Panics
/// If the plan has no such step.
pub fn step(plan: &'static Plan, name: &str, number: usize, shape: Shape) -> Job {
    let training = &plan.training;
    let mut steps = training.sections().flat_map(|s| s.steps.iter());
    let step = steps.find(|s| s.name == name).expect("a step of the plan");
    let kernel = &training.kernels[usize::from(step.train_kernels()[number])];
    let rows = shape.rows();
    let widest = training
        .buffers
        .iter()
        .filter(|b| b.width < plan.spec.vocab);
    let widest = u64::from(widest.map(|b| b.stride).max().unwrap_or(1));
    let (extent, work) = extent(plan, step, kernel, shape);
    let (matrix, width) = match extent.matrix {
        Some(id) => {
            let tensor = plan.tensor(id);
            let piece = tensor.rows.min(VOCAB);
            (u64::from(piece * tensor.columns), u64::from(tensor.rows))
        }
        None => (0, 0),
    };
    let logits = match step.op {
        Op::CrossEntropy { .. } => u64::from(plan.spec.vocab),
        _ => width,
    };
    // A row's padding is less than a kilobyte.
    let activations = u64::from(rows) * (widest.max(logits) + 256);
    let [first, rows_of_step, second] = extent.step;
    Job {
        kernel,
        sizes: Sizes {
            uniforms: vec![
                shape.run(),
                ("step", vec![first, rows_of_step, second, 0, 0]),
            ],
            parts: if matrix > 0 {
                vec![4 * matrix]
            } else {
                Vec::new()
            },
            bytes: 4 * activations.max(matrix),
            vocab: plan.spec.vocab,
            groups: extent.groups,
        },
        work,
    }
}

/// What a step works on.
struct Extent {
    matrix: Option<TensorId>,
    /// First row, rows and the row of the second half, of the uniform `step`.
    step: [u32; 3],
    groups: [u32; 3],
}

fn extent(plan: &Plan, step: &Step, kernel: &Kernel, shape: Shape) -> (Extent, Work) {
    let (spec, rows) = (&plan.spec, shape.rows());
    let product = |weight: TensorId, half: bool, groups: [u32; 2]| {
        let tensor = plan.tensor(weight);
        let piece = tensor.rows.min(VOCAB);
        let (rows_of_step, second) = if half {
            (piece / 2, piece / 2)
        } else {
            (piece, 0)
        };
        let work = Work::Flops(2 * u64::from(rows) * u64::from(piece) * u64::from(tensor.columns));
        let extent = Extent {
            matrix: Some(weight),
            step: [0, rows_of_step, second],
            groups: [groups[0], groups[1], 1],
        };
        (extent, work)
    };
    let tiles = rows.div_ceil(TRAIN_ROWS);
    let plain = |groups, work| {
        let extent = Extent {
            matrix: None,
            step: [0; 3],
            groups,
        };
        (extent, work)
    };
    let piece = |weight: TensorId| plan.tensor(weight).rows.min(VOCAB);
    match step.op {
        Op::Project(Projection { weight, .. }) if step.op.is_gated() => {
            let features = (piece(weight) / 2).div_ceil(TRAIN_COLUMNS / 2);
            product(weight, true, [features, tiles])
        }
        Op::Project(Projection { weight, .. }) => product(
            weight,
            false,
            [piece(weight).div_ceil(TRAIN_COLUMNS), tiles],
        ),
        Op::ProjectInput { weight, .. } => product(weight, false, [kernel.groups, tiles]),
        Op::ProjectWeight { weight, .. } => product(
            weight,
            false,
            [kernel.groups, piece(weight).div_ceil(TRAIN_ROWS)],
        ),
        // Each logit is read three times and written once.
        Op::CrossEntropy { .. } => plain(
            [1, rows, 1],
            Work::Bytes(16 * u64::from(rows) * u64::from(spec.vocab)),
        ),
        Op::Norm { .. } | Op::NormInput { .. } => plain(
            [1, rows, 1],
            Work::Bytes(8 * u64::from(rows) * u64::from(spec.embed)),
        ),
        Op::Attention { .. } => {
            let tokens = u64::from(shape.tokens);
            let seen = u64::from(shape.sequences) * tokens * (tokens + 1) / 2;
            plain(
                [
                    kernel.groups,
                    shape.tokens.div_ceil(kernel.tile_rows),
                    shape.sequences,
                ],
                Work::Flops(4 * seen * u64::from(spec.q_width())),
            )
        }
        _ => panic!("{} is not measured", step.name),
    }
}

/// A step of the optimizer on `parameters` parameters.
pub fn adamw(plan: &'static Plan, parameters: u32) -> Job {
    let kernels = plan.training.kernels.iter();
    let kernel = kernels
        .into_iter()
        .find(|k| k.name == ADAMW)
        .expect("every plan has it");
    // Rate, betas, epsilon, decay, corrections, clip.
    let update = [1e-3, 0.9, 0.99, 1e-8, 1e-4, 1.0, 1.0, 1.0f32].map(f32::to_bits);
    let quads = parameters / 4;
    Job {
        kernel,
        sizes: Sizes {
            uniforms: vec![("update", update.to_vec()), ("piece", vec![0, quads, 1])],
            parts: Vec::new(),
            bytes: 4 * u64::from(parameters),
            vocab: plan.spec.vocab,
            groups: [quads.div_ceil(kernel.workgroup), 1, 1],
        },
        // Four are read and three are written.
        work: Work::Bytes(7 * 4 * u64::from(parameters)),
    }
}
