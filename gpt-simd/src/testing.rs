//! Helpers of the tests of this crate and of packed matrices.

use crate::{Isa, Kernels};

/// Runs the test with each set in turn and names the set of a failure.
pub fn each(check: impl Fn(&Kernels)) {
    for isa in Isa::available() {
        check(isa.kernels().expect("an available set has kernels"));
    }
}

/// `n` numbers in -1 to 1.
pub fn noise(n: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..n).map(|_| next()).collect()
}

/// Fails unless `found` is `expected`, within 3e-7 of `scale`.
#[track_caller]
pub fn close(found: f32, expected: f64, scale: f64) {
    assert!(
        (f64::from(found) - expected).abs() <= 3e-7 * scale,
        "{found} is not {expected} (scale {scale})"
    );
}
