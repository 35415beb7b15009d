//! Measuring how far an engine is from the oracle.

use gpt_runtime::__private::engine::Trace;

use crate::oracle::{Forward, Matrix};

/// Normalised mean square error: the sum of squared differences over the sum of squares. Anything that is not finite in `found` makes it
/// infinite.
pub fn nmse(found: &[f32], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len(), "as many values as expected");
    let mut error = 0.0;
    let mut norm = 0.0;
    for (&found, &expected) in found.iter().zip(expected) {
        error += (f64::from(found) - expected).powi(2);
        norm += expected.powi(2);
    }
    if !error.is_finite() {
        return f64::INFINITY;
    }
    // An expected value of zero leaves nothing to normalise by.
    if error == 0.0 {
        0.0
    } else {
        error / norm.max(f64::MIN_POSITIVE)
    }
}

/// As [`nmse`], where lively weights make values of about one: a step whose few values happen to cancel is measured against a tenth of that,
/// since its rounding errors are those of what cancelled.
fn trace_error(found: &[f32], expected: &[f64]) -> f64 {
    let mean = expected.iter().map(|x| x * x).sum::<f64>() / expected.len() as f64;
    nmse(found, expected) * (mean / mean.max(0.01))
}

/// Every step of an engine's pass against the oracle's; panics with the first that is further away than `bound`.
#[track_caller]
pub fn check_trace(what: &str, found: &[Trace], expected: &Forward, bound: f64) {
    check_trace_from(what, found, expected, 0, bound);
}

/// As [`check_trace`], where the engine ran only the tokens from `first` on.
#[track_caller]
pub fn check_trace_from(what: &str, found: &[Trace], expected: &Forward, first: usize, bound: f64) {
    let names = |t: &[(&'static str, u32)]| format!("{t:?}");
    let ours: Vec<_> = found.iter().map(|t| (t.step, t.layer)).collect();
    let theirs: Vec<_> = expected.trace.iter().map(|t| (t.step, t.layer)).collect();
    assert_eq!(names(&ours), names(&theirs), "{what}: the steps");
    for (found, expected) in found.iter().zip(&expected.trace) {
        let expected_rows = tail(&expected.values, first);
        let error = trace_error(&found.values, expected_rows);
        assert!(
            error <= bound,
            "{what}: step {} of layer {} has an NMSE of {error:e}, more than {bound:e}",
            found.step,
            found.layer
        );
    }
}

/// The rows from `first` on.
pub fn tail(matrix: &Matrix, first: usize) -> &[f64] {
    &matrix.values[first * matrix.columns..]
}
