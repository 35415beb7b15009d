//! Loss scaling, which keeps small gradients from underflowing in f16 (Micikevicius et al. 2018).
//!
//! The smallest positive f16 is 6e-8, and many elements of a gradient are smaller. The gradient of
//! the loss is multiplied by a scale before the backward pass, and the optimizer divides by it. The
//! scale adapts as in PyTorch's `GradScaler`: when a gradient overflows, the step is skipped and
//! the scale halves; after many good steps in a row it doubles. It is a power of two, so scaling
//! does not round.

use serde::{Deserialize, Serialize};

/// The scale of a run and its history; part of a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LossScale {
    value: f32,
    /// Good steps in a row since it changed.
    good: u32,
    /// Steps that were skipped.
    skipped: u64,
}

/// Good steps in a row after which the scale is doubled.
const GROWS_AFTER: u32 = 2000;

/// The smallest scale. A gradient that overflows at this scale has another cause.
const LEAST: f32 = 1.0;

impl Default for LossScale {
    fn default() -> Self {
        LossScale { value: 65_536.0, good: 0, skipped: 0 }
    }
}

impl LossScale {
    /// The factor of gradients.
    pub fn value(&self) -> f32 {
        self.value
    }

    /// Steps that were skipped so far.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Whether the scale is finite and at least the smallest scale; otherwise its checkpoint is
    /// damaged.
    pub fn is_valid(&self) -> bool {
        self.value.is_finite() && self.value >= LEAST
    }

    /// Records a good step.
    pub fn record_good_step(&mut self) {
        self.good = self.good.saturating_add(1);
        if self.good >= GROWS_AFTER {
            self.good = 0;
            let doubled = 2.0 * self.value;
            if doubled.is_finite() {
                self.value = doubled;
            }
        }
    }

    /// Records a gradient that is not finite: halves the scale. Returns false and changes nothing
    /// if the scale cannot be halved.
    pub fn skip(&mut self) -> bool {
        let halved = 0.5 * self.value;
        if halved < LEAST {
            return false;
        }
        self.value = halved;
        self.good = 0;
        self.skipped = self.skipped.saturating_add(1);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_halved_at_once_and_doubled_after_many_good_steps() {
        let mut scale = LossScale::default();
        for _ in 0..1999 {
            scale.record_good_step();
        }
        assert_eq!(scale.value(), 65_536.0);
        assert!(scale.skip());
        assert_eq!((scale.value(), scale.skipped()), (32_768.0, 1));
        for _ in 0..2000 {
            assert_eq!(scale.value(), 32_768.0);
            scale.record_good_step();
        }
        assert_eq!(scale.value(), 65_536.0);
    }

    #[test]
    fn it_stays_between_one_and_what_an_f32_holds() {
        let mut scale = LossScale::default();
        let halved = std::iter::from_fn(|| scale.skip().then_some(()));
        assert_eq!(halved.count(), 16);
        assert_eq!(scale.value(), 1.0);
        let mut scale = LossScale { value: 2f32.powi(127), good: 1999, skipped: 0 };
        scale.record_good_step();
        assert!(scale.is_valid() && scale.value() == 2f32.powi(127));
    }
}
