//! The settings of a run: optimizer, schedule, sizes and precision.

use gpt_plan::{Recompute, Spec, TrainShape};
use serde::{Deserialize, Serialize};

use super::Objective;
use crate::Error;
use crate::engine::Precision;
use crate::error::counted;

/// AdamW (Loshchilov and Hutter 2019). The defaults are GPT-3's (Brown et al. 2020, appendix B);
/// the learning rate is PyTorch's, which suits small models. Fields may be added: build it by
/// struct update, `AdamW { lr: 1e-3, ..AdamW::default() }`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdamW {
    /// The highest learning rate; a [`Schedule`] may lower it.
    pub lr: f32,
    /// The decay of the running mean of the gradient.
    pub beta1: f32,
    /// The decay of the running mean of the gradient's square. PyTorch's default, 0.999, averages
    /// over a thousand steps, which is long for a short run.
    pub beta2: f32,
    /// Added to the denominator of a step, which keeps it finite when gradients vanish.
    pub eps: f32,
    /// Weight decay: a step subtracts this share of a parameter, times the learning rate. Vectors
    /// (biases, and the parameters of norms) do not decay.
    pub weight_decay: f32,
    /// The largest norm of the whole gradient. A gradient with a larger norm is scaled down to it.
    pub clip: Option<f32>,
}

impl Default for AdamW {
    fn default() -> Self {
        AdamW { lr: 1e-3, beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.1, clip: Some(1.0) }
    }
}

/// The learning rate over a run: a linear rise over `warmup` steps, then a fall as `decay` defines.
/// The default is a constant rate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// Steps of the linear rise.
    pub warmup: u64,
    /// The fall after the rise.
    pub decay: Decay,
}

/// The fall of the learning rate. After step `until` it stays at `min_lr`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Decay {
    /// No fall.
    #[default]
    None,
    /// A linear fall.
    Linear {
        /// The step at which the fall ends, counted from 0.
        until: u64,
        /// The learning rate at its end.
        min_lr: f32,
    },
    /// Half a period of a cosine.
    Cosine {
        /// The step at which the fall ends, counted from 0.
        until: u64,
        /// The learning rate at its end.
        min_lr: f32,
    },
    /// No fall up to step `from`, then a linear one (warm-up, stable, decay: Hu et al. 2024). A run
    /// that is stopped before its fall can be given more steps, as if it had had them from the
    /// beginning.
    StableLinear {
        /// The step at which the fall begins; the end of the warm-up if that is later.
        from: u64,
        /// The step at which the fall ends, counted from 0.
        until: u64,
        /// The learning rate at its end.
        min_lr: f32,
    },
    /// Like `StableLinear`, but the fall is 1 - sqrt(x), which is fast at first (Hägele et al.
    /// 2024).
    StableSqrt {
        /// The step at which the fall begins; the end of the warm-up if that is later.
        from: u64,
        /// The step at which the fall ends, counted from 0.
        until: u64,
        /// The learning rate at its end.
        min_lr: f32,
    },
}

impl Decay {
    /// The steps of the fall, and the learning rate at its end. None if there is no fall.
    fn fall(self) -> Option<(Option<u64>, u64, f32)> {
        match self {
            Decay::None => None,
            Decay::Linear { until, min_lr } | Decay::Cosine { until, min_lr } => {
                Some((None, until, min_lr))
            }
            Decay::StableLinear { from, until, min_lr }
            | Decay::StableSqrt { from, until, min_lr } => Some((Some(from), until, min_lr)),
        }
    }
}

impl Schedule {
    /// The schedule of nanoGPT: a warm-up, then a cosine that reaches `min_lr` at the end of the
    /// run.
    pub fn cosine(warmup: u64, steps: u64, min_lr: f32) -> Schedule {
        Schedule { warmup, decay: Decay::Cosine { until: steps, min_lr } }
    }

    /// The learning rate of step `step`, counted from 0, with the peak `lr`.
    pub fn rate(&self, lr: f32, step: u64) -> f32 {
        if step < self.warmup {
            return lr * (step + 1) as f32 / self.warmup.saturating_add(1) as f32;
        }
        let Some((from, until, min_lr)) = self.decay.fall() else { return lr };
        let from = from.unwrap_or(0).max(self.warmup);
        if step > until || until <= self.warmup {
            return min_lr;
        }
        // If `from` is not before `until`, the rate stays until then and drops to the lowest at once.
        if step < from.min(until) {
            return lr;
        }
        let done = match from < until {
            true => (step - from) as f64 / (until - from) as f64,
            false => 1.0,
        };
        let left = match self.decay {
            Decay::Cosine { .. } => 0.5 * (1.0 + (std::f64::consts::PI * done).cos()),
            Decay::StableSqrt { .. } => 1.0 - done.sqrt(),
            _ => 1.0 - done,
        };
        (f64::from(min_lr) + left * f64::from(lr - min_lr)) as f32
    }
}

/// The settings of a run, except its data. An [`AdamW`] converts to settings with the defaults for
/// the rest. Fields may be added: build it by struct update.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainerSettings {
    /// The optimizer.
    pub optimizer: AdamW,
    /// The learning rate over the run.
    pub schedule: Schedule,
    /// Sequences of one pass. A larger [`Batch`](super::Batch) is split and its gradients are
    /// accumulated. The value determines the memory of a pass. It affects the result only by
    /// rounding and, if there is dropout, by the masks, which are drawn for each pass.
    pub batch: u32,
    /// Tokens of the longest sequence; the model's context by default.
    pub tokens: Option<u32>,
    /// The precision of matrix products.
    pub precision: Precision,
    /// The activations that the backward pass recomputes to save memory.
    #[serde(with = "RecomputeDef")]
    pub recompute: Recompute,
    /// Probability of dropping an activation, at least 0 and below 1; the spec's by default. More
    /// than 0 is an error if the spec has no dropout.
    pub dropout: Option<f32>,
    /// Seed of the dropout masks.
    pub seed: u64,
    /// What the model learns. [`Trainer::evaluate`](super::Trainer::evaluate) measures it, and a
    /// run resumes with the same objective only. [`RandomWindows::masked`] makes batches for
    /// masked tokens.
    ///
    /// [`RandomWindows::masked`]: super::RandomWindows::masked
    #[serde(default, skip_serializing_if = "Objective::is_next_token")]
    pub objective: Objective,
    /// The decay of an exponential moving average of the parameters, at least 0 and below 1; by
    /// default there is none. [`Trainer::with_average`](super::Trainer::with_average) uses it. It
    /// takes as much main memory as the parameters, and a GPU's parameters are read after each
    /// step. In step n the decay is at most (1 + n) / (10 + n).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ema: Option<f32>,
}

/// Serde's definition of [`Recompute`], which `gpt-plan` does not serialize.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Recompute")]
enum RecomputeDef {
    Nothing,
    Block,
}

impl Default for TrainerSettings {
    fn default() -> Self {
        TrainerSettings {
            optimizer: AdamW::default(),
            schedule: Schedule::default(),
            batch: 8,
            tokens: None,
            precision: Precision::F32,
            recompute: Recompute::Nothing,
            dropout: None,
            seed: 0,
            objective: Objective::NextToken,
            ema: None,
        }
    }
}

impl From<AdamW> for TrainerSettings {
    fn from(optimizer: AdamW) -> Self {
        TrainerSettings { optimizer, ..TrainerSettings::default() }
    }
}

impl TrainerSettings {
    /// The shape of the largest pass of a model of `context` positions.
    pub fn shape(&self, context: u32) -> TrainShape {
        TrainShape {
            batch: self.batch,
            tokens: self.tokens.unwrap_or(context),
            recompute: self.recompute,
        }
    }

    /// Checks that every number is in range and fits a model of `spec`.
    pub(super) fn check(&self, spec: &Spec) -> Result<(), Error> {
        let context = spec.context;
        let AdamW { lr, beta1, beta2, eps, weight_decay, clip } = self.optimizer;
        let min_lr = self.schedule.decay.fall().map_or(0.0, |(_, _, min_lr)| min_lr);
        let positive = |x: f32| x > 0.0 && x.is_finite();
        let ratio = |x: f32| (0.0..1.0).contains(&x);
        let wrong = [
            ("learning rate", lr, positive(lr), "more than 0"),
            (
                "lowest learning rate",
                min_lr,
                (0.0..=lr).contains(&min_lr),
                "between 0 and the learning rate",
            ),
            ("beta1", beta1, ratio(beta1), "at least 0 and below 1"),
            ("beta2", beta2, ratio(beta2), "at least 0 and below 1"),
            ("eps", eps, positive(eps), "more than 0"),
            (
                "weight decay",
                weight_decay,
                weight_decay >= 0.0 && weight_decay.is_finite(),
                "0 or more",
            ),
            ("clipping norm", clip.unwrap_or(1.0), clip.is_none_or(positive), "more than 0"),
            (
                "dropout",
                self.dropout.unwrap_or(0.0),
                self.dropout.is_none_or(ratio),
                "at least 0 and below 1",
            ),
            (
                "decay of the average",
                self.ema.unwrap_or(0.0),
                self.ema.is_none_or(ratio),
                "at least 0 and below 1",
            ),
        ];
        if let Some((what, value, _, range)) = wrong.into_iter().find(|(_, _, right, _)| !right) {
            return Err(Error::Input(format!("the {what} is {value}; it has to be {range}")));
        }
        if self.dropout.is_some_and(|dropout| dropout > 0.0) && spec.dropout == 0.0 {
            return Err(Error::Input(
                "the model has no dropout, so its training pass has none either; give its spec a `dropout`"
                    .to_owned(),
            ));
        }
        let tokens = self.tokens.unwrap_or(context);
        if self.batch == 0 || tokens == 0 || tokens > context {
            return Err(Error::Input(format!(
                "batches of {} of {} were requested; a batch has at least 1 sequence, of 1 to {context} tokens",
                counted(self.batch as usize, "sequence"),
                counted(tokens as usize, "token")
            )));
        }
        self.objective.check(spec)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cosine_is_that_of_nanogpt() {
        let schedule = Schedule::cosine(100, 2000, 1e-4);
        // get_lr(it) of nanoGPT's train.py.
        for (step, rate) in [
            (0, 9.900990099009902e-6),
            (99, 9.900990099009901e-4),
            (100, 1e-3),
            (1050, 5.5e-4),
            (1999, 1.0000061515e-4),
            (2000, 1e-4),
            (5000, 1e-4),
        ] {
            let found = f64::from(schedule.rate(1e-3, step));
            assert!((found / rate - 1.0).abs() < 1e-5, "{step}: {found} for {rate}");
        }
    }

    #[test]
    fn a_line_and_no_decay() {
        let line = Schedule { warmup: 0, decay: Decay::Linear { until: 10, min_lr: 0.0 } };
        assert_eq!(line.rate(2.0, 0), 2.0);
        assert_eq!(line.rate(2.0, 5), 1.0);
        assert_eq!(line.rate(2.0, 11), 0.0);
        assert_eq!(Schedule::default().rate(2.0, 1_000_000), 2.0);
        let short = Schedule::cosine(10, 5, 0.1);
        assert_eq!(short.rate(1.0, 10), 0.1);
    }

    #[test]
    fn a_stable_rate_falls_at_the_end() {
        let (from, until, min_lr) = (80, 100, 0.2);
        let sqrt = Decay::StableSqrt { from, until, min_lr };
        let linear = Decay::StableLinear { from, until, min_lr };
        let rate = |decay, step| Schedule { warmup: 10, decay }.rate(1.0, step);
        for decay in [sqrt, linear] {
            // The warm-up and the stable steps, up to the first step of the fall.
            for (step, expected) in [(0, 1.0 / 11.0), (9, 10.0 / 11.0), (10, 1.0), (80, 1.0)] {
                assert!((rate(decay, step) - expected).abs() < 1e-6, "{decay:?} {step}");
            }
            assert!(rate(decay, 81) < 1.0 && rate(decay, 99) > 0.2);
            assert_eq!((rate(decay, 100), rate(decay, u64::MAX)), (0.2, 0.2));
        }
        // A quarter of the fall: 1 - sqrt(1/4) is a half, 1 - 1/4 is three quarters.
        assert!((rate(sqrt, 85) - (0.2 + 0.8 * 0.5)).abs() < 1e-6);
        assert!((rate(linear, 85) - (0.2 + 0.8 * 0.75)).abs() < 1e-6);
        // A fall that would begin in the warm-up begins after it, as the plain line does.
        let early = Decay::StableLinear { from: 3, until, min_lr };
        let line = Decay::Linear { until, min_lr };
        for step in [0, 3, 10, 11, 50, 99, 100, 101] {
            assert_eq!(rate(early, step), rate(line, step), "{step}");
        }
        // No step is left for a fall.
        let never = Decay::StableSqrt { from: until, until, min_lr };
        assert_eq!((rate(never, 99), rate(never, 100)), (1.0, 0.2));
        let after = Decay::StableSqrt { from: u64::MAX, until, min_lr };
        assert_eq!((rate(after, 99), rate(after, 100)), (1.0, 0.2));
        let short = Decay::StableSqrt { from: 2, until: 5, min_lr };
        assert_eq!((rate(short, 9), rate(short, 10)), (10.0 / 11.0, 0.2));
    }

    #[test]
    fn invalid_settings_are_rejected() {
        let with = |change: fn(&mut TrainerSettings)| {
            let mut settings = TrainerSettings::default();
            change(&mut settings);
            let spec =
                Spec { context: 64, dropout: 0.0, ..crate::weights::testing::gpt2().spec.clone() };
            settings.check(&spec).err().map(|e| e.to_string())
        };
        assert_eq!(with(|_| ()), None);
        assert_eq!(with(|s| s.dropout = Some(0.0)), None);
        for (message, part) in [
            (with(|s| s.optimizer.lr = f32::NAN), "learning rate is NaN"),
            (with(|s| s.optimizer.beta2 = 1.0), "beta2 is 1"),
            (with(|s| s.optimizer.clip = Some(0.0)), "clipping norm is 0"),
            (with(|s| s.dropout = Some(1.0)), "dropout is 1"),
            (with(|s| s.ema = Some(1.0)), "decay of the average is 1"),
            (with(|s| s.ema = Some(f32::NAN)), "decay of the average is NaN"),
            (with(|s| s.dropout = Some(0.1)), "the model has no dropout"),
            (with(|s| s.schedule = Schedule::cosine(0, 1, 1.0)), "lowest learning rate"),
            (
                with(|s| {
                    s.schedule.decay = Decay::StableLinear { from: 0, until: 1, min_lr: f32::NAN };
                }),
                "lowest learning rate is NaN",
            ),
            (with(|s| s.tokens = Some(65)), "1 to 64 tokens"),
            (with(|s| s.batch = 0), "0 sequences"),
        ] {
            let message = message.unwrap();
            assert!(message.contains(part), "{part} is not in: {message}");
        }
    }

    #[test]
    fn settings_come_back_from_json() {
        let settings = TrainerSettings {
            schedule: Schedule::cosine(3, 7, 1e-5),
            recompute: Recompute::Block,
            dropout: Some(0.2),
            seed: u64::MAX,
            ema: Some(0.99),
            ..TrainerSettings::from(AdamW { lr: 6e-4, ..AdamW::default() })
        };
        let text = serde_json::to_string(&settings).unwrap();
        assert_eq!(serde_json::from_str::<TrainerSettings>(&text).unwrap(), settings);
        let decay = Decay::StableSqrt { from: 5, until: 7, min_lr: 1e-5 };
        let settings = TrainerSettings { schedule: Schedule { warmup: 3, decay }, ..settings };
        let text = serde_json::to_string(&settings).unwrap();
        assert_eq!(serde_json::from_str::<TrainerSettings>(&text).unwrap(), settings);
    }
}
