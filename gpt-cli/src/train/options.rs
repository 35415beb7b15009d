//! The options of a run and their defaults.

use std::fmt::Display;

use clap::{Args, ValueEnum};
use gpt_runtime::train::{Decay, Masking, Objective, Precision, Recompute, Schedule};
use gpt_runtime::{AdamW, Tokenizer, TrainerSettings};
use gpt_runtime::{Format, Plan};
use serde::{Deserialize, Serialize};

use crate::output::{self, Failure};

/// The settings of a run. Most defaults are nanoGPT's for small character-level models. Hidden
/// options are in the book, and not in the help, which fills a screen.
#[derive(Args, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Options {
    /// What is predicted: next-token, masked [default: next-token]
    #[arg(long, value_enum, value_name = "WHAT", hide_possible_values = true)]
    pub objective: Option<Predicted>,
    /// Optimizer steps [default: 2000]
    #[arg(long, value_name = "N")]
    pub steps: Option<u64>,
    /// Sequences per batch [default: 12]
    #[arg(long, value_name = "B")]
    pub batch: Option<u32>,
    /// Tokens per sequence [default: the model's context, at most 1024]
    #[arg(long, value_name = "T")]
    pub context: Option<u32>,
    /// Batches per optimizer step [default: 1]
    #[arg(long, value_name = "N")]
    pub accumulate: Option<u32>,
    /// Peak learning rate [default: 1e-3; 3e-5 with --weights]
    #[arg(long, value_name = "X")]
    pub lr: Option<f32>,
    /// Final learning rate [default: a tenth of --lr]
    #[arg(long, value_name = "X")]
    pub min_lr: Option<f32>,
    /// Warm-up steps of the learning rate [default: 100]
    #[arg(long, value_name = "N")]
    pub warmup: Option<u64>,
    /// Decay: cosine, linear, constant, wsd, wsd-linear [default: cosine]
    #[arg(long, value_enum, value_name = "DECAY", hide_possible_values = true)]
    pub schedule: Option<DecayKind>,
    /// Steps in which wsd decays [default: a fifth of --steps]
    #[arg(long, value_name = "N")]
    pub decay_steps: Option<u64>,
    /// Weight decay of matrices [default: 0.1]
    #[arg(long, value_name = "X", hide = true)]
    pub weight_decay: Option<f32>,
    /// AdamW's decay of the first moment [default: 0.9]
    #[arg(long, value_name = "X", hide = true)]
    pub beta1: Option<f32>,
    /// AdamW's decay of the second moment [default: 0.99]
    #[arg(long, value_name = "X", hide = true)]
    pub beta2: Option<f32>,
    /// Largest gradient norm; 0 for no clipping [default: 1]
    #[arg(long, value_name = "X", hide = true)]
    pub clip: Option<f32>,
    /// Dropout probability [default: the model's]
    #[arg(long, value_name = "P")]
    pub dropout: Option<f32>,
    /// Validates and keeps an average of the weights, with this decay
    #[arg(long, value_name = "DECAY")]
    pub ema: Option<f32>,
    /// Operands of matmuls: f32, bf16 (CPU), f16 (GPU) [default: f32]
    #[arg(long, value_enum, value_name = "TYPE", hide_possible_values = true)]
    pub dtype: Option<Operands>,
    /// Activation checkpointing: nothing, block [default: nothing]
    #[arg(long, value_enum, value_name = "WHAT", hide_possible_values = true)]
    pub recompute: Option<Recomputation>,
    /// Seed of weights, data order, dropout and masked tokens [default: 0]
    #[arg(long, value_name = "S")]
    pub seed: Option<u64>,
    /// Steps between validations [default: 250]
    #[arg(long, value_name = "N")]
    pub eval_every: Option<u64>,
    /// Most windows per validation; 0 for no validation [default: all]
    #[arg(long, value_name = "N")]
    pub eval_windows: Option<usize>,
    /// Stops after N validations without a lower loss [default: never]
    #[arg(long, value_name = "N")]
    pub early_stop: Option<u64>,
    /// Steps between checkpoints [default: --eval-every]
    #[arg(long, value_name = "N")]
    pub save_every: Option<u64>,
    /// Steps between samples of text [default: none]
    #[arg(long, value_name = "N")]
    pub sample_every: Option<u64>,
    /// Tokens per sample [default: 200]
    #[arg(long, value_name = "N", hide = true)]
    pub sample_tokens: Option<usize>,
    /// Removes byte order marks from the text, and \r from its line ends
    // Hidden, because the message about such a text says to use it.
    #[arg(long, hide = true)]
    pub normalize_newlines: bool,
    /// Whether the run began from weights; stored in checkpoints.
    #[arg(skip)]
    pub tuned: bool,
}

/// What a run learns to predict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub enum Predicted {
    #[default]
    NextToken,
    Masked,
}

impl Predicted {
    /// The name of the value.
    fn name(self) -> &'static str {
        match self {
            Predicted::NextToken => "next-token",
            Predicted::Masked => "masked",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub enum DecayKind {
    Constant,
    Linear,
    Cosine,
    /// Warm-up, stable, decay: a constant rate, then a fall like 1 - sqrt(x).
    Wsd,
    /// A constant rate, then a linear fall.
    WsdLinear,
}

impl DecayKind {
    fn is_stable(self) -> bool {
        matches!(self, DecayKind::Wsd | DecayKind::WsdLinear)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub enum Operands {
    F32,
    Bf16,
    F16,
}

impl Operands {
    /// The format of the operands of matrix products.
    pub fn format(self) -> Format {
        match self {
            Operands::F32 => Format::F32,
            Operands::Bf16 => Format::Bf16,
            Operands::F16 => Format::F16,
        }
    }

    pub fn precision(self) -> Precision {
        match self {
            Operands::F32 => Precision::F32,
            Operands::Bf16 => Precision::Bf16,
            Operands::F16 => Precision::F16,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub enum Recomputation {
    Nothing,
    Block,
}

impl Options {
    /// These options, with unset ones taken from the checkpoint of a run.
    pub fn over(self, before: &Options) -> Result<Options, Failure> {
        if let (Some(given), begun) = (self.seed, before.seed())
            && given != begun
        {
            return Err(Failure::Input(format!(
                "the run began with --seed {begun} and cannot continue with {given}"
            )));
        }
        if let (Some(given), begun) = (self.objective, before.objective())
            && given != begun
        {
            return Err(Failure::Input(format!(
                "the run began with --objective {} and cannot continue with {}",
                begun.name(),
                given.name()
            )));
        }
        let schedule = self.schedule.or(before.schedule);
        let is_stable = schedule.is_some_and(DecayKind::is_stable);
        Ok(Options {
            objective: before.objective,
            steps: self.steps.or(before.steps),
            batch: self.batch.or(before.batch),
            context: self.context.or(before.context),
            accumulate: self.accumulate.or(before.accumulate),
            lr: self.lr.or(before.lr),
            min_lr: self.min_lr.or(before.min_lr),
            warmup: self.warmup.or(before.warmup),
            schedule,
            // A run that changes to another schedule drops the number of its decay steps.
            decay_steps: self.decay_steps.or(before.decay_steps.filter(|_| is_stable)),
            weight_decay: self.weight_decay.or(before.weight_decay),
            beta1: self.beta1.or(before.beta1),
            beta2: self.beta2.or(before.beta2),
            clip: self.clip.or(before.clip),
            dropout: self.dropout.or(before.dropout),
            ema: self.ema.or(before.ema),
            dtype: self.dtype.or(before.dtype),
            recompute: self.recompute.or(before.recompute),
            seed: before.seed,
            eval_every: self.eval_every.or(before.eval_every),
            eval_windows: self.eval_windows.or(before.eval_windows),
            early_stop: self.early_stop.or(before.early_stop),
            save_every: self.save_every.or(before.save_every),
            sample_every: self.sample_every.or(before.sample_every),
            sample_tokens: self.sample_tokens.or(before.sample_tokens),
            normalize_newlines: self.normalize_newlines || before.normalize_newlines,
            tuned: before.tuned,
        })
    }

    /// Checks that the model can learn the objective, before anything is read.
    pub fn check_objective(&self, plan: &Plan) -> Result<(), Failure> {
        let name = &plan.name;
        match (self.objective(), plan.spec.is_causal()) {
            (Predicted::NextToken, false) => Err(Failure::Input(format!(
                "{name} is bidirectional, so it would read the next token instead of predicting it; pass --objective masked"
            ))),
            (Predicted::Masked, true) => Err(Failure::Input(format!(
                "{name} is causal, so it cannot use the text after a masked token; --objective masked needs a model with `mask: Bidirectional`"
            ))),
            (Predicted::Masked, false) if self.sample_every.is_some() => Err(Failure::Input(
                format!("{name} is bidirectional and generates no text; remove --sample-every"),
            )),
            _ => Ok(()),
        }
    }

    /// The settings of the trainer. The mask token is that of `tokenizer`.
    pub fn settings(&self, plan: &Plan, tokenizer: &Tokenizer) -> Result<TrainerSettings, Failure> {
        for (name, value) in [
            ("steps", Some(self.steps())),
            ("batch", Some(self.batch().into())),
            ("context", Some(self.tokens(plan).into())),
            ("accumulate", Some(self.accumulate().into())),
            ("eval-every", Some(self.eval_every())),
            ("save-every", Some(self.save_every())),
            ("sample-every", self.sample_every),
            ("decay-steps", self.decay_steps),
        ] {
            above_zero(name, value)?;
        }
        let lr = self.lr.unwrap_or(if self.tuned { 3e-5 } else { 1e-3 });
        let (until, min_lr) = (self.steps(), self.min_lr.unwrap_or(lr / 10.0));
        let schedule = self.schedule.unwrap_or(DecayKind::Cosine);
        if let Some(fall) = self.decay_steps {
            if !schedule.is_stable() {
                return Err(Failure::Input(
                    "--decay-steps is the fall of --schedule wsd or wsd-linear; pass one of them"
                        .to_owned(),
                ));
            }
            if fall > until {
                return Err(Failure::Input(format!(
                    "--decay-steps is {fall}, and the run has {}; pass at most as many",
                    output::counted(until as usize, "step")
                )));
            }
        }
        let from = until - self.decay_steps.unwrap_or(until / 5);
        let decay = match schedule {
            DecayKind::Constant => Decay::None,
            DecayKind::Linear => Decay::Linear { until, min_lr },
            DecayKind::Cosine => Decay::Cosine { until, min_lr },
            DecayKind::Wsd => Decay::StableSqrt { from, until, min_lr },
            DecayKind::WsdLinear => Decay::StableLinear { from, until, min_lr },
        };
        Ok(TrainerSettings {
            optimizer: AdamW {
                lr,
                beta1: self.beta1.unwrap_or(0.9),
                beta2: self.beta2.unwrap_or(0.99),
                weight_decay: self.weight_decay.unwrap_or(0.1),
                clip: Some(self.clip.unwrap_or(1.0)).filter(|clip| *clip != 0.0),
                ..AdamW::default()
            },
            schedule: Schedule { warmup: self.warmup.unwrap_or(100), decay },
            batch: self.batch(),
            tokens: Some(self.tokens(plan)),
            precision: self.dtype.unwrap_or(Operands::F32).precision(),
            recompute: match self.recompute.unwrap_or(Recomputation::Nothing) {
                Recomputation::Nothing => Recompute::Nothing,
                Recomputation::Block => Recompute::Block,
            },
            dropout: self.dropout,
            seed: self.seed(),
            objective: match self.objective() {
                Predicted::NextToken => Objective::NextToken,
                Predicted::Masked => Objective::Masked(self.masking(plan, tokenizer)?),
            },
            ema: self.ema.filter(|decay| *decay != 0.0),
        })
    }

    fn masking(&self, plan: &Plan, tokenizer: &Tokenizer) -> Result<Masking, Failure> {
        let (_, token) = tokenizer.mask_token().ok_or_else(|| {
            Failure::Input(
                "the tokenizer of the run has no mask token; start another run".to_owned(),
            )
        })?;
        let vocab = tokenizer.vocab().min(plan.spec.vocab as usize) as u32;
        Ok(Masking { token, vocab, seed: self.seed() })
    }

    pub fn objective(&self) -> Predicted {
        self.objective.unwrap_or_default()
    }

    /// Whether tokens of the text are hidden.
    pub fn masks(&self) -> bool {
        self.objective() == Predicted::Masked
    }

    pub fn steps(&self) -> u64 {
        self.steps.unwrap_or(2000)
    }

    fn batch(&self) -> u32 {
        self.batch.unwrap_or(12)
    }

    /// Tokens of a window.
    pub fn tokens(&self, plan: &Plan) -> u32 {
        self.context.unwrap_or(plan.spec.context.min(1024))
    }

    /// Windows of a step.
    pub fn sequences(&self) -> u64 {
        u64::from(self.batch()) * u64::from(self.accumulate())
    }

    pub fn accumulate(&self) -> u32 {
        self.accumulate.unwrap_or(1)
    }

    pub fn seed(&self) -> u64 {
        self.seed.unwrap_or(0)
    }

    pub fn eval_every(&self) -> u64 {
        self.eval_every.unwrap_or(250)
    }

    pub fn eval_windows(&self) -> usize {
        self.eval_windows.unwrap_or(usize::MAX)
    }

    /// The validations without a lower loss after which the run stops.
    pub fn early_stop(&self) -> Option<u64> {
        self.early_stop.filter(|validations| *validations > 0)
    }

    pub fn save_every(&self) -> u64 {
        self.save_every.unwrap_or(self.eval_every())
    }

    pub fn sample_every(&self) -> Option<u64> {
        self.sample_every
    }

    pub fn sample_tokens(&self) -> usize {
        self.sample_tokens.unwrap_or(200)
    }
}

fn above_zero(name: impl Display, value: Option<u64>) -> Result<(), Failure> {
    match value {
        Some(0) => Err(Failure::Input(format!("--{name} is 0; it has to be at least 1"))),
        _ => Ok(()),
    }
}
