//! Measures the error of an engine against the oracle.

use gpt_runtime::__private::engine::Trace;

use crate::oracle::{Forward, Matrix};

/// Normalised mean square error: the sum of squared differences over the sum of squares. Infinite
/// if `found` has a value that is not finite.
pub fn nmse(found: &[f32], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len(), "numbers of values");
    let mut error = 0.0;
    let mut norm = 0.0;
    for (&found, &expected) in found.iter().zip(expected) {
        error += (f64::from(found) - expected).powi(2);
        norm += expected.powi(2);
    }
    if !error.is_finite() {
        return f64::INFINITY;
    }
    // If all expected values are zero, so is their norm.
    if error == 0.0 { 0.0 } else { error / norm.max(f64::MIN_POSITIVE) }
}

/// [`nmse`] with a lower bound for the norm. Weights of unit gain make values of about one; if a
/// step's few values cancel, its rounding errors are as large as the summands', so the root mean
/// square counts as at least a tenth.
fn trace_error(found: &[f32], expected: &[f64]) -> f64 {
    let mean = expected.iter().map(|x| x * x).sum::<f64>() / expected.len() as f64;
    nmse(found, expected) * (mean / mean.max(0.01))
}

/// Compares all steps of an engine's pass with the oracle's. Panics with the first error above
/// `bound`.
#[track_caller]
pub fn check_trace(what: &str, found: &[Trace], expected: &Forward, bound: f64) {
    check_trace_from(what, found, expected, 0, bound);
}

/// Like [`check_trace`], for an engine that ran only the tokens from `first` on.
#[track_caller]
pub fn check_trace_from(what: &str, found: &[Trace], expected: &Forward, first: usize, bound: f64) {
    let names = |t: &[(&'static str, u32)]| format!("{t:?}");
    let ours: Vec<_> = found.iter().map(|t| (plain(t.step), t.layer)).collect();
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

/// A step's name without the number of its kind of layer: `attention` for `attention_2`.
fn plain(step: &'static str) -> &'static str {
    match step.rsplit_once('_') {
        Some((name, number)) if number.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => step,
    }
}

/// The rows from `first` on.
pub fn tail(matrix: &Matrix, first: usize) -> &[f64] {
    &matrix.values[first * matrix.columns..]
}
