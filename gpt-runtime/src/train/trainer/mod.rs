//! The trainer: runs training steps on an engine and, between steps, evaluates the model and copies
//! its parameters.
//!
//! `batch` and `data` provide the training data, `settings` the hyperparameters. `checkpoint` saves
//! and resumes a trainer.

use std::marker::PhantomData;

use gpt_plan::{Dropout, Plan, TrainBytes};

use super::average::Average;
use super::loss_scale::LossScale;
use super::parameters::Parameters;
use super::{Batch, Tokens, TrainerSettings, memory};
use crate::Error;
use crate::device::Device;
use crate::engine::{
    EngineTrainer, Learn, Precision, TensorState, TrainProfile, TrainerOptions, Update,
};
use crate::error::counted;
use crate::model::Model;
use crate::parameter::{Matrix, Parameter};
use crate::text::Tokenizer;
use crate::vtable::{Gpt, ModelVtable, Untyped};
use crate::weights::{Weights, mix};

/// A model in training. Its memory is allocated when it is created.
pub struct Trainer<M = Untyped> {
    pub(super) engine: Box<dyn EngineTrainer>,
    pub(super) vtable: ModelVtable,
    pub(super) settings: TrainerSettings,
    /// Completed steps.
    pub(super) steps: u64,
    /// None unless the precision is f16.
    pub(super) loss_scale: Option<LossScale>,
    /// None unless the settings have its decay.
    pub(super) average: Option<Average>,
    device: Device,
    tokenizer: Option<Tokenizer>,
    gradient_norm: f64,
    brand: PhantomData<fn() -> M>,
}

impl<M: Gpt> Trainer<M> {
    /// A trainer that starts from `weights`.
    ///
    /// # Errors
    /// Fails if a setting is out of range, the weights cannot be read, or the device has too little
    /// memory.
    pub fn new(
        device: &Device,
        weights: &dyn Weights,
        settings: impl Into<TrainerSettings>,
    ) -> Result<Self, Error> {
        Trainer::with_vtable(ModelVtable::of::<M>(), device, weights, settings.into())
    }

    /// The current values of `parameter`, a constant of the model's type.
    ///
    /// # Errors
    /// Fails if the device fails.
    pub fn get<const ROWS: usize, const COLUMNS: usize>(
        &mut self,
        parameter: Parameter<M, ROWS, COLUMNS>,
    ) -> Result<Matrix<ROWS, COLUMNS>, Error> {
        let mut values = Matrix::zeros();
        let (id, layer) = (parameter.id(), parameter.layer());
        let flat = values.as_flattened_mut();
        self.engine.read(TensorState::Parameter, id, layer, flat)?;
        Ok(values)
    }

    /// Replaces the values of `parameter`. The moments of the optimizer and the average of the
    /// parameters are unchanged.
    ///
    /// # Errors
    /// Fails if the device fails.
    pub fn set<const ROWS: usize, const COLUMNS: usize>(
        &mut self,
        parameter: Parameter<M, ROWS, COLUMNS>,
        values: &Matrix<ROWS, COLUMNS>,
    ) -> Result<(), Error> {
        let (id, layer) = (parameter.id(), parameter.layer());
        let flat = values.as_flattened();
        self.engine.write(TensorState::Parameter, id, layer, flat)
    }
}

impl Trainer<Untyped> {
    /// A trainer of a model whose plan was made at run time.
    ///
    /// # Errors
    /// See [`new`](Trainer::new).
    pub fn from_plan(
        plan: &'static Plan,
        device: &Device,
        weights: &dyn Weights,
        settings: impl Into<TrainerSettings>,
    ) -> Result<Self, Error> {
        Trainer::with_vtable(ModelVtable::of_plan(plan), device, weights, settings.into())
    }
}

impl<M> Trainer<M> {
    pub(crate) fn with_vtable(
        vtable: ModelVtable,
        device: &Device,
        weights: &dyn Weights,
        settings: TrainerSettings,
    ) -> Result<Self, Error> {
        let plan = vtable.plan;
        settings.check(&plan.spec)?;
        let options = TrainerOptions {
            shape: settings.shape(plan.spec.context),
            precision: settings.precision,
        };
        memory::check(device, plan, &options.shape, settings.ema.is_some())?;
        let scales = settings.precision == Precision::F16;
        let loss_scale = scales.then(LossScale::default);
        let mut engine = vtable.trainer(device, weights, options)?;
        let average = match settings.ema {
            Some(_) => Some(Average::new(plan, &mut *engine)?),
            None => None,
        };
        Ok(Trainer {
            engine,
            average,
            vtable,
            settings,
            steps: 0,
            loss_scale,
            device: device.clone(),
            tokenizer: None,
            gradient_norm: 0.0,
            brand: PhantomData,
        })
    }

    /// Sets the tokenizer of the models that [`model`](Self::model) returns.
    pub fn tokenizer(mut self, tokenizer: Option<Tokenizer>) -> Self {
        self.tokenizer = tokenizer;
        self
    }

    /// Drops the type parameter, for code that serves many models.
    pub fn erase(self) -> Trainer<Untyped> {
        Trainer {
            engine: self.engine,
            vtable: self.vtable,
            settings: self.settings,
            steps: self.steps,
            loss_scale: self.loss_scale,
            average: self.average,
            device: self.device,
            tokenizer: self.tokenizer,
            gradient_norm: self.gradient_norm,
            brand: PhantomData,
        }
    }

    /// Trains on `batch`: forward, backward, and a step of the optimizer. Returns the mean loss of
    /// its targets before the step, in nats. A batch with more sequences than one pass takes is
    /// split into several passes, whose gradients are added up. The result then differs only in
    /// rounding and in the dropout masks.
    ///
    /// In [`Precision::F16`] a step whose gradient overflows is skipped: the [loss
    /// scale](Self::loss_scale) is halved, [`skipped`](Self::skipped) is incremented, and nothing
    /// else changes.
    ///
    /// # Errors
    /// Fails if the batch does not fit the trainer or the device fails, and with
    /// [`Error::Diverged`] if the loss or the gradient is not finite; the parameters are then
    /// unchanged.
    pub fn step(&mut self, batch: &Batch) -> Result<f64, Error> {
        self.check(batch)?;
        self.check_parameters()?;
        let loss_scale = self.loss_scale.map_or(1.0, |scale| scale.value());
        let scale = loss_scale / batch.counted() as f32;
        let mut sum = 0.0;
        for (i, part) in batch.parts(self.settings.batch).enumerate() {
            let options = Learn { first: i == 0, scale, dropout: self.dropout(i as u64) };
            sum += self.engine.learn(&part, &options)?;
        }
        let loss = sum / batch.counted() as f64;
        if !loss.is_finite() {
            return Err(self.diverged("loss", loss));
        }
        let norm = self.engine.update(&self.next_update(loss_scale))?;
        self.record(norm)?;
        Ok(loss)
    }

    /// Counts the step whose gradient has this `norm`. If the norm is not finite, the engine has
    /// changed nothing: the step is skipped and the loss scale is halved, as long as that can help.
    fn record(&mut self, norm: f64) -> Result<(), Error> {
        if !norm.is_finite() {
            return match self.loss_scale.as_mut().is_some_and(LossScale::skip) {
                true => Ok(()),
                false => Err(self.diverged("gradient's norm", norm)),
            };
        }
        if let Some(scale) = &mut self.loss_scale {
            scale.record_good_step();
        }
        self.gradient_norm = norm;
        self.steps += 1;
        if let (Some(average), Some(decay)) = (&mut self.average, self.settings.ema) {
            average.add(self.vtable.plan, &mut *self.engine, decay, self.steps)?;
        }
        Ok(())
    }

    /// The optimizer update of the next step.
    fn next_update(&self, loss_scale: f32) -> Update {
        let optimizer = self.settings.optimizer;
        Update {
            step: self.steps + 1,
            lr: self.learning_rate(),
            beta1: optimizer.beta1,
            beta2: optimizer.beta2,
            eps: optimizer.eps,
            weight_decay: optimizer.weight_decay,
            clip: optimizer.clip,
            scale: loss_scale,
        }
    }

    /// Runs a [`step`](Self::step) and measures the time of each kernel (GPU) or step of the plan
    /// (CPU). This is slower than a step without measurement, and the loss is not checked.
    ///
    /// # Errors
    /// Fails if the batch does not fit the trainer or has more sequences than one pass takes, if
    /// the device fails, and with [`Error::Diverged`] if the gradient is not finite; the parameters
    /// are then unchanged.
    pub fn profile(&mut self, batch: &Batch) -> Result<TrainProfile, Error> {
        self.check(batch)?;
        self.check_parameters()?;
        let mut parts = batch.parts(self.settings.batch);
        let (Some(part), None) = (parts.next(), parts.next()) else {
            return Err(Error::Input(format!(
                "a profile measures one pass: the batch has {} sequences, and a pass takes at most {}",
                batch.sequences(),
                self.settings.batch
            )));
        };
        let loss_scale = self.loss_scale.map_or(1.0, |scale| scale.value());
        let options = Learn {
            first: true,
            scale: loss_scale / batch.counted() as f32,
            dropout: self.dropout(0),
        };
        let update = self.next_update(loss_scale);
        let (profile, norm) = self.engine.profile(&part, &options, &update)?;
        self.record(norm)?;
        Ok(profile)
    }

    /// The mean loss of the targets of `batch` without dropout, in nats per token. Changes nothing.
    ///
    /// # Errors
    /// Fails if the batch does not fit the trainer, as in [`step`](Self::step), or if the device is
    /// lost.
    pub fn loss(&mut self, batch: &Batch) -> Result<f64, Error> {
        self.check(batch)?;
        let mut sum = 0.0;
        for part in batch.parts(self.settings.batch) {
            sum += self.engine.evaluate(&part)?;
        }
        Ok(sum / batch.counted() as f64)
    }

    /// The mean loss of all `tokens` except the first, in nats per token. They are split into
    /// windows of the length that [`Self::tokens`] returns. If the [objective] is masked tokens, it
    /// is the mean loss of the hidden ones, which are the same in each call.
    ///
    /// [objective]: TrainerSettings::objective
    ///
    /// # Errors
    /// Fails if there are fewer than two tokens, one is outside the vocabulary, or the device is
    /// lost.
    pub fn evaluate(&mut self, tokens: &Tokens) -> Result<f64, Error> {
        let (mut sum, mut targets, mut windows) = (0.0, 0, 0);
        let objective = self.settings.objective;
        for batch in tokens.windows(self.settings.batch as usize, self.tokens() as usize) {
            let batch = objective.validation(batch, windows);
            sum += self.loss(&batch)? * batch.counted() as f64;
            targets += batch.counted();
            windows += batch.sequences() as u64;
        }
        if targets == 0 {
            return Err(Error::Input(format!(
                "{} cannot be evaluated: at least 2 are needed",
                counted(tokens.len(), "token")
            )));
        }
        Ok(sum / targets as f64)
    }

    /// Calls `f` while the moving average ([`TrainerSettings::ema`]) takes the place of the
    /// parameters, to evaluate it ([`evaluate`](Self::evaluate)), to save it
    /// ([`weights`](Self::weights)), or to generate text ([`model`](Self::model)). `f` cannot
    /// train. Without an average, `f` sees the parameters.
    ///
    /// # Errors
    /// Fails if `f` fails or the device fails.
    pub fn with_average<T, E: From<Error>>(
        &mut self,
        f: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, E> {
        if self.average.as_ref().is_none_or(|average| average.is_swapped) {
            return f(self);
        }
        self.swap_average()?;
        let result = f(self);
        let swapped = self.swap_average();
        let value = result?;
        swapped?;
        Ok(value)
    }

    fn swap_average(&mut self) -> Result<(), Error> {
        let plan = self.vtable.plan;
        self.average.as_mut().map_or(Ok(()), |average| average.swap(plan, &mut *self.engine))
    }

    /// Checks that the engine holds the parameters and not their average.
    pub(super) fn check_parameters(&self) -> Result<(), Error> {
        match self.average.as_ref().is_some_and(|average| average.is_swapped) {
            true => Err(Error::Input(
                "the average is in the place of the parameters; train and save outside `with_average`"
                    .to_owned(),
            )),
            false => Ok(()),
        }
    }

    /// The current model, on the trainer's device.
    ///
    /// # Errors
    /// Fails if the device has too little memory or is lost.
    pub fn model(&mut self) -> Result<Model<M>, Error> {
        let (vtable, device) = (self.vtable, self.device.clone());
        let tokenizer = self.tokenizer.clone();
        Model::from_vtable(vtable, &self.weights(), &device, tokenizer)
    }

    /// The current parameters; [`save`](crate::weights::save) writes them to a file.
    pub fn weights(&mut self) -> impl Weights + '_ {
        self.parameters()
    }

    pub(super) fn parameters(&mut self) -> Parameters<'_> {
        Parameters::new(self.vtable.plan, &mut *self.engine)
    }

    /// The plan of the model.
    pub fn plan(&self) -> &'static Plan {
        self.vtable.plan
    }

    /// The device that the trainer runs on.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The settings of the run.
    pub fn settings(&self) -> &TrainerSettings {
        &self.settings
    }

    /// The length of the longest sequence that it accepts.
    pub fn tokens(&self) -> u32 {
        self.settings.tokens.unwrap_or(self.plan().spec.context)
    }

    /// Completed steps.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The learning rate of the next step.
    pub fn learning_rate(&self) -> f32 {
        let settings = &self.settings;
        settings.schedule.rate(settings.optimizer.lr, self.steps)
    }

    /// The norm of the gradient of the latest step, before clipping; 0 before the first step.
    pub fn gradient_norm(&self) -> f64 {
        self.gradient_norm
    }

    /// The factor by which the backward pass multiplies the loss, in [`Precision::F16`]; otherwise
    /// none.
    pub fn loss_scale(&self) -> Option<f32> {
        self.loss_scale.map(|scale| scale.value())
    }

    /// Steps that were skipped because their gradients overflowed.
    pub fn skipped(&self) -> u64 {
        self.loss_scale.map_or(0, |scale| scale.skipped())
    }

    /// Bytes allocated on the device.
    pub fn allocated(&self) -> TrainBytes {
        self.engine.allocated()
    }

    /// The dropout masks of pass `part` of the next step.
    fn dropout(&self, part: u64) -> Option<Dropout> {
        let probability = match self.settings.dropout {
            Some(probability) => f64::from(probability),
            None => self.plan().spec.dropout,
        };
        let key = mix(mix(mix(self.settings.seed) ^ self.steps) ^ part);
        Dropout::new(probability, key as u32)
    }

    fn check(&self, batch: &Batch) -> Result<(), Error> {
        batch.check(self.plan(), self.tokens())
    }

    fn diverged(&self, what: &str, value: f64) -> Error {
        Error::Diverged(format!(
            "the {what} of step {} is {value}: the training diverged; start again from an earlier state with a learning rate below {:e}",
            self.steps + 1,
            self.learning_rate()
        ))
    }
}

#[cfg(test)]
mod tests;
