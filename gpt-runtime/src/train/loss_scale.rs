//! Loss scaling: what keeps small gradients alive in f16 (Micikevicius et al. 2018).
//!
//! Below 6e-8 an f16 has nothing, and much of a gradient is smaller. So the gradient of the loss is multiplied by a scale before it goes back through the
//! model, and the optimizer divides by it. As in PyTorch's `GradScaler` the scale is found on the way: one that is too large for an f16 makes the
//! gradient infinite, the step is skipped and the scale halved; after many good steps in a row it is doubled. It is a power of two, so that scaling
//! rounds nothing.

use serde::{Deserialize, Serialize};

/// The scale of a run, and how it got there: part of a checkpoint.
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

/// A gradient that is infinite without a scale is not the scale's fault.
const LEAST: f32 = 1.0;

impl Default for LossScale {
    fn default() -> Self {
        LossScale {
            value: 65_536.0,
            good: 0,
            skipped: 0,
        }
    }
}

impl LossScale {
    /// What gradients are multiplied with.
    pub fn value(&self) -> f32 {
        self.value
    }

    /// Steps that were skipped so far.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Whether it is one that a run can have come to.
    pub fn is_valid(&self) -> bool {
        self.value.is_finite() && self.value >= LEAST
    }

    /// A step was made.
    pub fn made(&mut self) {
        self.good += 1;
        if self.good >= GROWS_AFTER {
            self.good = 0;
            let doubled = 2.0 * self.value;
            if doubled.is_finite() {
                self.value = doubled;
            }
        }
    }

    /// The gradient is not finite. Halves the scale, so that the step can be skipped; says no, and changes nothing, where it is as low as it
    /// goes.
    pub fn skip(&mut self) -> bool {
        let halved = 0.5 * self.value;
        if halved < LEAST {
            return false;
        }
        self.value = halved;
        self.good = 0;
        self.skipped += 1;
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
            scale.made();
        }
        assert_eq!(scale.value(), 65_536.0);
        assert!(scale.skip());
        assert_eq!((scale.value(), scale.skipped()), (32_768.0, 1));
        for _ in 0..2000 {
            assert_eq!(scale.value(), 32_768.0);
            scale.made();
        }
        assert_eq!(scale.value(), 65_536.0);
    }

    #[test]
    fn it_stays_between_one_and_what_an_f32_holds() {
        let mut scale = LossScale::default();
        let halved = std::iter::from_fn(|| scale.skip().then_some(()));
        assert_eq!(halved.count(), 16);
        assert_eq!(scale.value(), 1.0);
        let mut scale = LossScale {
            value: 2f32.powi(127),
            good: 1999,
            skipped: 0,
        };
        scale.made();
        assert!(scale.is_valid() && scale.value() == 2f32.powi(127));
    }
}
