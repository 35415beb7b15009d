//! The work that is timed: a prompt, tokens one by one, steps of training.

use std::time::Instant;

use gpt_runtime::train::Precision;
use gpt_runtime::{AdamW, Batch, CacheFormat, Model, Session, Trainer, TrainerSettings, Untyped};

use super::profile::Training;
use crate::output::Failure;

/// Time that a measurement of training takes at least; steps of a small model are too short to be measured alone.
const TRAIN_TIME: f64 = 0.5;

/// A session to measure.
pub struct Bench {
    session: Session<Untyped>,
    pub tokens: Vec<u32>,
    /// Positions that are filled before tokens are decoded.
    position: usize,
}

impl Bench {
    /// With room for a prompt of `prefill` tokens, and for `decode` tokens after `position` others.
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
        Ok(Bench {
            session: session.open()?,
            tokens: tokens.collect(),
            position,
        })
    }

    /// Tokens a second of a prompt of `n`, with the logits of its last.
    pub fn prefill(&mut self, n: usize) -> Result<f64, Failure> {
        self.session.truncate(0);
        let start = Instant::now();
        self.session.push(&self.tokens[..n])?;
        Ok(n as f64 / start.elapsed().as_secs_f64())
    }

    /// Tokens a second of `n` decoded from the position on.
    pub fn decode(&mut self, n: usize) -> Result<f64, Failure> {
        let (before, rest) = self.tokens.split_at(self.position);
        let held = self.session.tokens().len();
        if held < before.len() {
            self.session.push(&before[held..])?;
        }
        // The cache holds the same tokens, whatever was measured before.
        self.session.truncate(before.len());
        let start = Instant::now();
        for token in &rest[..n] {
            self.session.push(std::slice::from_ref(token))?;
        }
        Ok(n as f64 / start.elapsed().as_secs_f64())
    }
}

/// A trainer to measure, which learns one batch again and again.
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
            // The model should not learn this text by heart: its gradients would vanish.
            ..TrainerSettings::from(AdamW {
                lr: 1e-6,
                ..AdamW::default()
            })
        })?;
        let texts = (0..sequences * (tokens + 1)).map(|i| some_token(i, vocab));
        let batch = Batch::next_tokens(&texts.collect::<Vec<u32>>(), tokens as usize)?;
        // Twice for the caches and the clock; the second tells how many steps make a measurement.
        trainer.step(&batch)?;
        let start = Instant::now();
        trainer.step(&batch)?;
        let steps = (TRAIN_TIME / start.elapsed().as_secs_f64()).ceil() as usize;
        Ok(TrainBench {
            trainer,
            batch,
            steps,
        })
    }

    /// Tokens a second.
    pub fn train(&mut self) -> Result<f64, Failure> {
        let start = Instant::now();
        for _ in 0..self.steps {
            self.trainer.step(&self.batch)?;
        }
        Ok((self.steps * self.batch.rows()) as f64 / start.elapsed().as_secs_f64())
    }

    /// A step part by part, `reps` times.
    pub fn profile(&mut self, reps: usize) -> Result<Training, Failure> {
        // Once for the caches, not counted.
        self.trainer.profile(&self.batch)?;
        let runs = (0..reps).map(|_| self.trainer.profile(&self.batch));
        let runs = runs.collect::<Result<Vec<_>, _>>()?;
        Ok(Training::of(self.batch.rows(), &runs))
    }
}

fn some_token(i: u32, vocab: u32) -> u32 {
    i.wrapping_mul(2_654_435_761) % vocab
}
