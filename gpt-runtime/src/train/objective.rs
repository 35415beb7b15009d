//! What a model learns to predict: the next token, or tokens that are hidden in a text.
//!
//! BERT's masked objective (Devlin et al. 2019) hides some tokens of a window, and the loss counts
//! at these positions only. It needs a model that reads a text in both directions. Which tokens of
//! a window are hidden is a pure function of a seed and of the window's number, so a run needs no
//! state for it. `batch` applies a [`Masking`] to sequences, `data` numbers the windows.

use std::fmt;

use gpt_plan::Spec;
use serde::{Deserialize, Serialize};

use super::Batch;
use crate::Error;
use crate::engine::IGNORED;
use crate::weights::mix;

/// What a model learns to predict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Objective {
    /// The token after each token; for causal models.
    #[default]
    NextToken,
    /// Tokens that are hidden in a text; for bidirectional models.
    Masked(Masking),
}

/// BERT's rule for hiding tokens. Of the tokens of a window, 15 % are targets, rounded, and at
/// least one. The model reads the mask token in place of 80 % of them, a random token in place of
/// 10 %, and 10 % as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Masking {
    /// The mask token.
    pub token: u32,
    /// Random tokens are below this, and are not the mask token.
    pub vocab: u32,
    /// Seed of the choice.
    pub seed: u64,
}

/// Percent of the tokens of a window that are targets.
const TARGETS: u64 = 15;

/// A number below 10 is drawn for each target. Below this, the model reads the mask token.
const MASKED: u64 = 8;
/// From [`MASKED`] up to this, exclusive, the model reads a random token; otherwise the token.
const REPLACED: u64 = 9;

/// Separates the numbers that are drawn here from those that other code draws with the same seed.
const TRAINING: u64 = 0x6d61_736b_6564_0001;
const VALIDATION: u64 = 0x6d61_736b_6564_0002;

impl Objective {
    /// Whether it is the default.
    pub(super) fn is_next_token(&self) -> bool {
        *self == Objective::NextToken
    }

    /// Prepares windows for a validation; `first` is the number of the first one. If the objective
    /// hides tokens, the hidden ones depend only on the seed and the windows' numbers, so losses at
    /// different steps can be compared.
    pub fn validation(&self, windows: Batch, first: u64) -> Batch {
        match self {
            Objective::NextToken => windows,
            Objective::Masked(masking) => {
                let seed = mix(masking.seed ^ VALIDATION);
                windows.masked(&Masking { seed, ..*masking }, first)
            }
        }
    }

    /// Checks that a model of `spec` can learn it.
    pub(super) fn check(&self, spec: &Spec) -> Result<(), Error> {
        let Objective::Masked(Masking { token, vocab, .. }) = *self else { return Ok(()) };
        if spec.is_causal() {
            return Err(Error::Input(
                "the model is causal, so it cannot use the text after a masked token; give its spec `mask: Bidirectional`, or train it on next tokens"
                    .to_owned(),
            ));
        }
        if token >= spec.vocab || vocab > spec.vocab || vocab < 2 {
            return Err(Error::Input(format!(
                "the mask token is {token}, and random tokens are below {vocab}; the model's vocabulary has {} tokens",
                spec.vocab
            )));
        }
        Ok(())
    }
}

impl fmt::Display for Objective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Objective::NextToken => f.write_str("next tokens"),
            Objective::Masked(masking) => write!(
                f,
                "masked tokens (mask token {} of {}, seed {})",
                masking.token, masking.vocab, masking.seed
            ),
        }
    }
}

impl Masking {
    /// Hides tokens of `window`, and appends a target for each of its tokens: the token itself if
    /// it is to be predicted, otherwise [`IGNORED`].
    pub(super) fn hide(&self, window: &mut [u32], number: u64, targets: &mut Vec<u32>) {
        let key = mix(mix(self.seed ^ TRAINING) ^ number);
        let mut drawn = 0;
        // A number below `count`.
        let mut below = |count: u64| {
            drawn += 1;
            ((u128::from(mix(key.wrapping_add(drawn))) * u128::from(count)) >> 64) as u64
        };
        let len = window.len() as u64;
        let mut wanted = ((len * TARGETS + 50) / 100).max(1);
        for (left, token) in (1..=len).rev().zip(window) {
            // Of `left` tokens, `wanted` are still to be chosen (Knuth, algorithm 3.4.2 S).
            if below(left) >= wanted {
                targets.push(IGNORED);
                continue;
            }
            wanted -= 1;
            targets.push(*token);
            *token = match below(10) {
                0..MASKED => self.token,
                MASKED..REPLACED => {
                    let others = self.vocab - u32::from(self.token < self.vocab);
                    let other = below(others.into()) as u32;
                    other + u32::from(other >= self.token)
                }
                _ => *token,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MASKING: Masking = Masking { token: 7, vocab: 12, seed: 3 };

    /// The inputs and targets of a window of `len` tokens 5.
    fn hidden(masking: &Masking, len: usize, number: u64) -> (Vec<u32>, Vec<u32>) {
        let (mut window, mut targets) = (vec![5; len], Vec::new());
        masking.hide(&mut window, number, &mut targets);
        (window, targets)
    }

    #[test]
    fn a_window_has_fifteen_percent_targets_and_at_least_one() {
        for (len, count) in [(1, 1), (3, 1), (9, 1), (10, 2), (20, 3), (64, 10), (1000, 150)] {
            for number in 0..20 {
                let (inputs, targets) = hidden(&MASKING, len, number);
                let counted = targets.iter().filter(|t| **t != IGNORED).count();
                assert_eq!((targets.len(), counted), (len, count), "{len}");
                for (input, target) in inputs.iter().zip(&targets) {
                    assert!(*target == 5 || *target == IGNORED && *input == 5);
                }
            }
        }
    }

    /// Of 100,000 targets, the share of each kind is within five standard deviations of its
    /// probability, every position is chosen equally often, and so is every random token.
    #[test]
    fn shares_are_those_of_the_paper() {
        const WINDOWS: u64 = 20_000;
        let (mut tokens, mut positions) = ([0_u32; 12], [0_u32; 33]);
        for number in 0..WINDOWS {
            let (inputs, targets) = hidden(&MASKING, 33, number);
            for (position, target) in targets.iter().enumerate() {
                if *target != IGNORED {
                    tokens[inputs[position] as usize] += 1;
                    positions[position] += 1;
                }
            }
        }
        let check = |found: u32, of: f64, probability: f64| {
            let deviation = (of * probability * (1.0 - probability)).sqrt();
            let error = f64::from(found) - of * probability;
            assert!(error.abs() < 5.0 * deviation, "{found} of {of} for {probability}");
        };
        let all = 5.0 * WINDOWS as f64;
        for (token, &found) in tokens.iter().enumerate() {
            // A random token may be the token itself.
            let probability = match token {
                7 => 0.8,
                5 => 0.1 + 0.1 / 11.0,
                _ => 0.1 / 11.0,
            };
            check(found, all, probability);
        }
        for found in positions {
            check(found, WINDOWS as f64, 5.0 / 33.0);
        }
        assert!(hidden(&MASKING, 64, 1) == hidden(&MASKING, 64, 1));
        assert!(hidden(&MASKING, 64, 1) != hidden(&MASKING, 64, 2));
        assert!(hidden(&MASKING, 64, 1) != hidden(&Masking { seed: 4, ..MASKING }, 64, 1));
    }

    #[test]
    fn a_mask_token_beyond_the_random_ones_is_never_drawn_as_one() {
        let masking = Masking { token: 12, ..MASKING };
        let mut seen = [false; 13];
        for number in 0..500 {
            hidden(&masking, 33, number).0.iter().for_each(|token| seen[*token as usize] = true);
        }
        assert_eq!(seen, [true; 13]);
    }

    #[test]
    fn models_that_cannot_learn_it_are_refused() {
        use crate::weights::testing;
        let causal = testing::gpt2_spec();
        let mask = gpt_plan::Pattern::all(gpt_plan::Mask::Bidirectional);
        let both = Spec { mask, vocab: 12, ..causal.clone() };
        let check = |masking, spec: &Spec| {
            Objective::Masked(masking).check(spec).err().map(|error| error.to_string())
        };
        assert_eq!(check(MASKING, &both), None);
        assert!(Objective::NextToken.check(&causal).is_ok());
        for (masking, spec, part) in [
            (MASKING, &causal, "the model is causal"),
            (Masking { token: 12, ..MASKING }, &both, "the mask token is 12"),
            (Masking { vocab: 13, ..MASKING }, &both, "below 13"),
            (Masking { vocab: 1, ..MASKING }, &both, "below 1"),
        ] {
            let message = check(masking, spec).unwrap();
            assert!(message.contains(part), "{part} is not in: {message}");
        }
    }
}
