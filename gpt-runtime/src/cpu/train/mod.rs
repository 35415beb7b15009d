//! Training on the CPU: the steps of a plan's training pass, forward and back, and the optimizer.
//!
//! Parameters stand in one flat buffer, gradients and moments in others of the same layout (`parameters`): matrices in panels of 32 rows, as
//! inference packs them, so that the forward product and the gradient of the weights read and write them as they stand; only the gradient of
//! an input turns a panel over, 32 by 32 elements at a time in the cache (`linear`). Work is cut into tasks in the same way whatever the
//! number of threads, and every sum has one order, so a run gives the same bits again.
//!
//! In bf16 both operands of a projection's three products are rounded to bf16, whose products an f32 holds exactly; sums, attention, norms and
//! the optimizer are f32.
//!
//! `buffers` holds the activations, `linear`, `attention` and `rows` the steps, `optimizer` what follows them; this file walks the plan.

mod attention;
mod buffers;
mod linear;
mod optimizer;
mod parameters;
mod rows;

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use gpt_plan::{
    Dropout, Epilogue, Op, Plan, Repeat, Section, Site, Statistics, Step, TensorId, TrainBytes,
};

use super::device::CpuDevice;
use super::memory::Arena;
use super::parameters::Rotary;
use crate::Error;
use crate::engine::{
    Clock, EngineTrainer, Learn, Precision, Sequences, State, TrainProfile, TrainerOptions, Update,
};
use crate::weights::Weights;

pub(super) use attention::AttentionScratch;
use buffers::Buffers;
pub(super) use linear::ROUNDED;
use parameters::Parameters;

/// An activation of values, in place, and its derivative there.
pub type Activate = fn(&mut [f32], &mut [f32]);

/// A model that learns on the CPU.
pub struct CpuTrainer {
    device: Arc<CpuDevice>,
    plan: &'static Plan,
    options: TrainerOptions,
    activate: Option<Activate>,
    parameters: Parameters,
    buffers: Buffers,
    rotary: Rotary,
}

impl CpuTrainer {
    /// Allocates everything, and takes the parameters from `weights`. `activate` is what `gpt_model!` wrote for the model's activation; without
    /// it the plan's is looked up, and a closure is evaluated node by node.
    ///
    /// # Errors
    /// Weights that cannot be read; a precision that this engine does not have.
    pub fn new(
        device: Arc<CpuDevice>,
        plan: &'static Plan,
        activate: Option<Activate>,
        weights: &dyn Weights,
        options: TrainerOptions,
    ) -> Result<CpuTrainer, Error> {
        if options.precision == Precision::F16 {
            return Err(Error::Unsupported(
                "the CPU engine trains in f32 or bf16, and f16 is for GPUs; choose bf16".to_owned(),
            ));
        }
        let rounds = options.precision == Precision::Bf16;
        let arena = Arena::default();
        Ok(CpuTrainer {
            parameters: Parameters::new(&device.pool, &arena, plan, weights, rounds)?,
            buffers: Buffers::new(&arena, plan, &options.shape)?,
            rotary: Rotary::new(plan),
            device,
            plan,
            options,
            activate,
        })
    }

    /// Fills whatever a pass must make before it reads it with NaN: for tests.
    pub fn poison(&mut self) {
        self.buffers.poison();
    }

    fn pass<'a>(&'a mut self, batch: &Sequences<'_>, how: Learn) -> Pass<'a> {
        self.buffers.tokens[..batch.inputs.len()].copy_from_slice(batch.inputs);
        self.buffers.targets[..batch.targets.len()].copy_from_slice(batch.targets);
        Pass {
            device: &self.device,
            plan: self.plan,
            activate: self.activate,
            parameters: &mut self.parameters,
            buffers: &mut self.buffers,
            rotary: &self.rotary,
            recomputes: self.options.shape.recompute.is_block(),
            rows: batch.inputs.len(),
            tokens: batch.tokens as usize,
            how,
            layer: 0,
            chunk: 0..0,
            profile: None,
        }
    }
}

impl EngineTrainer for CpuTrainer {
    fn learn(&mut self, batch: &Sequences<'_>, how: &Learn) -> Result<f64, Error> {
        let mut pass = self.pass(batch, *how);
        pass.forward();
        pass.backward();
        Ok(pass.loss())
    }

    fn evaluate(&mut self, batch: &Sequences<'_>) -> Result<f64, Error> {
        let how = Learn {
            first: true,
            scale: 0.0,
            dropout: None,
        };
        let mut pass = self.pass(batch, how);
        pass.forward();
        pass.losses_only();
        Ok(pass.loss())
    }

    fn update(&mut self, update: &Update) -> Result<f64, Error> {
        Ok(optimizer::update(
            &self.device,
            &mut self.parameters,
            update,
        ))
    }

    fn profile(
        &mut self,
        batch: &Sequences<'_>,
        how: &Learn,
        update: &Update,
    ) -> Result<(TrainProfile, f64), Error> {
        let mut profile = TrainProfile::new(Clock::Host);
        let mut pass = self.pass(batch, *how);
        pass.profile = Some(&mut profile);
        pass.forward();
        pass.backward();
        let start = Instant::now();
        let norm = self.update(update)?;
        profile.add("update", start.elapsed().as_secs_f64());
        Ok((profile, norm))
    }

    fn read(
        &mut self,
        state: State,
        id: TensorId,
        layer: u32,
        values: &mut [f32],
    ) -> Result<(), Error> {
        self.parameters.read(self.plan, state, id, layer, values);
        Ok(())
    }

    fn write(
        &mut self,
        state: State,
        id: TensorId,
        layer: u32,
        values: &[f32],
    ) -> Result<(), Error> {
        self.parameters.write(self.plan, state, id, layer, values);
        Ok(())
    }

    fn allocated(&self) -> TrainBytes {
        let (activations, scratch) = self.buffers.bytes(self.plan);
        let [parameters, gradients, first, second] = self.parameters.bytes();
        TrainBytes {
            parameters,
            gradients,
            optimizer: first + second,
            activations,
            scratch,
        }
    }
}

/// One batch on its way.
struct Pass<'a> {
    device: &'a CpuDevice,
    plan: &'static Plan,
    activate: Option<Activate>,
    parameters: &'a mut Parameters,
    buffers: &'a mut Buffers,
    rotary: &'a Rotary,
    recomputes: bool,
    /// Tokens of all sequences, and of each.
    rows: usize,
    tokens: usize,
    how: Learn,
    /// Where the walk is.
    layer: usize,
    chunk: Range<usize>,
    /// Told what each step took.
    profile: Option<&'a mut TrainProfile>,
}

impl Pass<'_> {
    fn forward(&mut self) {
        let plan = self.plan;
        for section in plan.training.forward.iter() {
            self.section(section, |_| true);
        }
    }

    /// The loss, and the gradients of everything.
    fn backward(&mut self) {
        let plan = self.plan;
        let training = &plan.training;
        for section in training.loss.iter().chain(training.backward.iter()) {
            self.section(section, |_| true);
        }
    }

    /// The losses of a batch, without gradients.
    fn losses_only(&mut self) {
        let plan = self.plan;
        for section in plan.training.loss.iter() {
            self.section(section, |op| !op.is_backward());
        }
    }

    /// Runs the steps of a section whose op is `wanted`.
    fn section(&mut self, section: &'static Section, wanted: fn(&Op) -> bool) {
        match section.repeat {
            Repeat::Chunks => {
                self.layer = 0;
                let most = self.buffers.chunk_rows;
                for from in (0..self.rows).step_by(most) {
                    self.chunk = from..(from + most).min(self.rows);
                    self.steps(section, wanted);
                }
            }
            repeat => {
                for layer in repeat.layers() {
                    self.layer = layer as usize;
                    if self.recomputes && matches!(repeat, Repeat::LayersReversed { .. }) {
                        self.recompute(layer);
                    }
                    self.steps(section, wanted);
                }
            }
        }
    }

    /// Runs a layer's forward steps again, except the one whose output is kept.
    fn recompute(&mut self, layer: u32) {
        let plan = self.plan;
        let forward = plan.training.forward.iter();
        for section in forward.filter(|section| section.repeat.has_layer(layer)) {
            self.steps(section, |op| !op.ends_layer());
        }
    }

    fn steps(&mut self, section: &'static Section, wanted: fn(&Op) -> bool) {
        for step in section.steps.iter().filter(|step| wanted(&step.op)) {
            let start = self.profile.is_some().then(Instant::now);
            self.run(step);
            if let (Some(profile), Some(start)) = (&mut self.profile, start) {
                profile.add(&step.name, start.elapsed().as_secs_f64());
            }
        }
    }

    fn run(&mut self, step: &Step) {
        match step.op {
            Op::Embed {
                table,
                positions,
                out,
            } => self.embed(table, positions, out),
            Op::Norm {
                norm,
                x,
                stats,
                out,
                statistics,
            } => self.norm(norm, x, stats, out, statistics == Statistics::Compute),
            Op::Project(ref projection) => {
                let (weight, bias, input) = (projection.weight, projection.bias, projection.input);
                match projection.epilogue {
                    Epilogue::Heads { .. } => self.qkv(weight, bias, input),
                    Epilogue::Residual {
                        residual,
                        out,
                        site,
                        ..
                    } => self.residual(weight, bias, [input, residual, out], site),
                    Epilogue::Activation { .. } => self.mlp_up(weight, bias, input),
                    Epilogue::Store { .. } => self.logits(weight),
                }
            }
            Op::Attention { .. } => self.attention(),
            Op::CrossEntropy { .. } => self.cross_entropy(),
            Op::DropoutBackward { site, dy, out } => self.dropped(site, dy, out),
            Op::ProjectInput {
                weight,
                dy,
                slopes,
                out,
            } => self.linear_input(weight, dy, slopes, out),
            Op::ProjectWeight {
                weight,
                bias,
                dy,
                input,
            } => self.linear_weight(weight, bias, dy, input),
            Op::NormInput {
                norm,
                x,
                stats,
                dy,
                dy_residual,
                residual,
                out,
            } => self.norm_input(norm, [x, stats, dy, out], dy_residual, residual),
            Op::NormWeight {
                norm,
                x,
                stats,
                dy,
                dy_residual,
            } => self.norm_weight(norm, [x, stats, dy], dy_residual),
            Op::Add { a, b, out } => self.add(a, b, out),
            Op::AttentionBackward { .. } => self.attention_input(),
            Op::EmbedBackward {
                table,
                positions,
                dx,
            } => self.embed_weight(table, positions, dx),
        }
    }

    /// The sum of all rows' losses, in f64 and in their order.
    fn loss(&self) -> f64 {
        let losses = &self.buffers.one(gpt_plan::BufferId::Losses)[..self.rows];
        losses.iter().map(|&loss| f64::from(loss)).sum()
    }

    /// The masks of a site of this layer, and its key, if anything is dropped.
    fn dropout(&self, site: Site) -> Option<(Dropout, u32)> {
        let dropout = self.how.dropout?;
        let layer = self.layer as u32;
        Some((dropout, Dropout::site_key(dropout.key, site, layer)))
    }

    /// Whether gradients are added to what is there, not put in its place. A head's come chunk by chunk.
    fn adds(&self) -> bool {
        !self.how.first || self.chunk.start > 0
    }

    fn activate(&self, values: &mut [f32], slopes: &mut [f32]) {
        use gpt_plan::Activation::Custom;
        match (self.activate, &self.plan.spec.mlp.activation) {
            (Some(activate), _) => activate(values, slopes),
            (None, Custom { value, derivative }) => {
                for (x, slope) in values.iter_mut().zip(slopes) {
                    *slope = derivative.eval_f32(*x);
                    *x = value.eval_f32(*x);
                }
            }
            (None, built_in) => self.device.kernels.with_slopes(built_in, values, slopes),
        }
    }
}
