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

use gpt_plan::{Dropout, Plan, Repeat, Site, TensorId, TrainBytes, TrainOp, TrainStep};

use super::activation::evaluate;
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
            return Err(Error::Input(
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
        how.check(&self.plan.spec)?;
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
        how.check(&self.plan.spec)?;
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
            self.repeat(section.repeat, |pass| {
                for step in section.steps.iter() {
                    pass.step(step);
                }
            });
        }
    }

    fn backward(&mut self) {
        let plan = self.plan;
        for section in plan.training.backward.iter() {
            self.repeat(section.repeat, |pass| {
                if pass.recomputes && matches!(section.repeat, Repeat::LayersBack(..)) {
                    pass.forward_again();
                }
                for step in section.steps.iter() {
                    pass.step(step);
                }
            });
        }
    }

    /// What the layer's forward pass left, once more; its output is there.
    fn forward_again(&mut self) {
        let plan = self.plan;
        let layer = self.layer as u32;
        for section in plan.training.forward.iter() {
            let Repeat::Layers(from, to) = section.repeat else {
                continue;
            };
            if !(from..to).contains(&layer) {
                continue;
            }
            for step in section.steps.iter() {
                let leaves = matches!(
                    step.op,
                    TrainOp::Residual {
                        site: Site::MlpDown,
                        ..
                    }
                );
                if !leaves {
                    self.step(step);
                }
            }
        }
    }

    /// The losses of a batch, without gradients.
    fn losses_only(&mut self) {
        let plan = self.plan;
        for section in plan.training.backward.iter() {
            if section.repeat != Repeat::Chunks {
                continue;
            }
            self.repeat(section.repeat, |pass| {
                let is_loss =
                    |op: &TrainOp| matches!(op, TrainOp::Logits { .. } | TrainOp::CrossEntropy);
                for step in section.steps.iter().filter(|step| is_loss(&step.op)) {
                    pass.step(step);
                }
            });
        }
    }

    fn repeat(&mut self, repeat: Repeat, mut run: impl FnMut(&mut Self)) {
        match repeat {
            Repeat::Once => {
                self.layer = 0;
                run(self);
            }
            Repeat::Layers(from, to) => {
                for layer in from..to {
                    self.layer = layer as usize;
                    run(self);
                }
            }
            Repeat::LayersBack(from, to) => {
                for layer in (from..to).rev() {
                    self.layer = layer as usize;
                    run(self);
                }
            }
            Repeat::Chunks => {
                self.layer = 0;
                let most = self.buffers.chunk_rows;
                for from in (0..self.rows).step_by(most) {
                    self.chunk = from..(from + most).min(self.rows);
                    run(self);
                }
            }
        }
    }

    fn step(&mut self, step: &'static TrainStep) {
        let start = self.profile.is_some().then(Instant::now);
        self.run(step);
        if let (Some(profile), Some(start)) = (&mut self.profile, start) {
            profile.add(step.name, start.elapsed().as_secs_f64());
        }
    }

    fn run(&mut self, step: &TrainStep) {
        match step.op {
            TrainOp::Embed {
                table,
                positions,
                out,
            } => self.embed(table, positions, out),
            TrainOp::Norm {
                norm,
                x,
                stats,
                out,
            } => self.norm(norm, x, stats, out, true),
            TrainOp::NormAgain {
                norm,
                x,
                stats,
                out,
            } => self.norm(norm, x, stats, out, false),
            TrainOp::Qkv {
                weight,
                bias,
                input,
            } => self.qkv(weight, bias, input),
            TrainOp::Attention => self.attention(),
            TrainOp::Residual {
                weight,
                bias,
                input,
                residual,
                out,
                site,
            } => self.residual(weight, bias, [input, residual, out], site),
            TrainOp::MlpUp {
                weight,
                bias,
                input,
            } => self.mlp_up(weight, bias, input),
            TrainOp::Logits { weight } => self.logits(weight),
            TrainOp::CrossEntropy => self.cross_entropy(),
            TrainOp::Dropped { site, dy, out } => self.dropped(site, dy, out),
            TrainOp::LinearInput { weight, dy, into } => self.linear_input(weight, dy, into),
            TrainOp::LinearWeight {
                weight,
                bias,
                dy,
                input,
            } => self.linear_weight(weight, bias, dy, input),
            TrainOp::NormInput {
                norm,
                x,
                stats,
                dy,
                also,
                add,
                out,
            } => self.norm_input(norm, [x, stats, dy, out], also, add),
            TrainOp::NormWeight {
                norm,
                x,
                stats,
                dy,
                also,
            } => self.norm_weight(norm, [x, stats, dy], also),
            TrainOp::Add { a, b, out } => self.add(a, b, out),
            TrainOp::AttentionInput => self.attention_input(),
            TrainOp::EmbedWeight {
                table,
                positions,
                dx,
            } => self.embed_weight(table, positions, dx),
        }
    }

    /// The sum of all rows' losses, in f64 and in their order.
    fn loss(&self) -> f64 {
        let losses = &self.buffers.one(gpt_plan::BufferName::Losses)[..self.rows];
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
                    *slope = evaluate(derivative, *x);
                    *x = evaluate(value, *x);
                }
            }
            (None, built_in) => self.device.kernels.with_slopes(built_in, values, slopes),
        }
    }
}
