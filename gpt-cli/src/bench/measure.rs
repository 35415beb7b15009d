//! The timed work: a prompt, decoding, training steps.

use std::time::Instant;

use gpt_runtime::train::Precision;
use gpt_runtime::{AdamW, Batch, CacheFormat, Model, Session, Trainer, TrainerSettings, Untyped};

use super::profile::Training;
use crate::output::Failure;

/// The least duration of a training measurement in seconds. A step of a small model is too short to
/// be timed alone.
const TRAIN_TIME: f64 = 0.5;

/// Measures inference.
pub struct Bench {
    session: Session<Untyped>,
    pub tokens: Vec<u32>,
    /// Positions in the cache before decoding.
    position: usize,
}

impl Bench {
    /// Opens a session with room for a prompt of `prefill` tokens, and for `decode` tokens after
    /// `position` others.
    pub fn open(
        model: &Model<Untyped>,
        prefill: usize,
        (position, decode): (usize, usize),
        cache: CacheFormat,
    ) -> Result<Bench, Failure> {
        let vocab = model.plan().spec.vocab;
        let longest = prefill.max(position + decode) as u32;
        let tokens = (0..longest).map(|i| some_token(i, vocab));
        let session = model.session().capacity(longest).cache(cache);
        Ok(Bench { session: session.open()?, tokens: tokens.collect(), position })
    }

    /// Measures a prompt of `n` tokens, with the logits of the last one, in tokens per second.
    pub fn prefill(&mut self, n: usize) -> Result<f64, Failure> {
        self.session.truncate(0);
        let start = Instant::now();
        self.session.push(&self.tokens[..n])?;
        Ok(n as f64 / start.elapsed().as_secs_f64())
    }

    /// Measures decoding `n` tokens from `self.position` on, in tokens per second.
    pub fn decode(&mut self, n: usize) -> Result<f64, Failure> {
        let (before, rest) = self.tokens.split_at(self.position);
        let held = self.session.tokens().len();
        if held < before.len() {
            self.session.push(&before[held..])?;
        }
        // Every measurement starts with the same tokens in the cache.
        self.session.truncate(before.len());
        let start = Instant::now();
        for token in &rest[..n] {
            self.session.push(std::slice::from_ref(token))?;
        }
        Ok(n as f64 / start.elapsed().as_secs_f64())
    }
}

/// Measures training, repeatedly on one batch.
pub struct TrainBench {
    trainer: Trainer<Untyped>,
    batch: Batch,
    /// Steps of a measurement.
    steps: usize,
}

impl TrainBench {
    pub fn open(
        model: Model<Untyped>,
        (sequences, tokens): (u32, u32),
        precision: Precision,
    ) -> Result<Self, Failure> {
        let vocab = model.plan().spec.vocab;
        let mut trainer = model.trainer(TrainerSettings {
            batch: sequences,
            tokens: Some(tokens),
            precision,
            // A tiny learning rate: if the model memorised the batch, its gradients would vanish.
            ..TrainerSettings::from(AdamW { lr: 1e-6, ..AdamW::default() })
        })?;
        let texts = (0..sequences * (tokens + 1)).map(|i| some_token(i, vocab));
        let batch = Batch::next_tokens(&texts.collect::<Vec<u32>>(), tokens as usize)?;
        // Two warm-up steps; the second one determines the steps of a measurement.
        trainer.step(&batch)?;
        let start = Instant::now();
        trainer.step(&batch)?;
        let steps = (TRAIN_TIME / start.elapsed().as_secs_f64()).ceil() as usize;
        Ok(TrainBench { trainer, batch, steps })
    }

    /// Measures `self.steps` steps, in tokens per second.
    pub fn train(&mut self) -> Result<f64, Failure> {
        let start = Instant::now();
        for _ in 0..self.steps {
            self.trainer.step(&self.batch)?;
        }
        Ok((self.steps * self.batch.rows()) as f64 / start.elapsed().as_secs_f64())
    }

    /// Profiles a step `reps` times.
    pub fn profile(&mut self, reps: usize) -> Result<Training, Failure> {
        // A warm-up step.
        self.trainer.profile(&self.batch)?;
        let runs = (0..reps).map(|_| self.trainer.profile(&self.batch));
        let runs = runs.collect::<Result<Vec<_>, _>>()?;
        Ok(Training::of(self.batch.rows(), &runs))
    }
}

fn some_token(i: u32, vocab: u32) -> u32 {
    i.wrapping_mul(2_654_435_761) % vocab
}
