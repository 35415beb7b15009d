//! Loops that only read memory or only do arithmetic, for the roofline.

use std::hint::black_box;

use super::int_dot::IntDot;
use super::prefetch_next_page;
use super::vector::{Pairs, Vector};

/// The number of registers of sums: more than the latency of a multiply-add times the number of
/// units.
pub const SUMS: usize = 12;

/// Runs `$step` on each of [`SUMS`] registers `$iterations` times and returns the sum of all lanes.
/// Initial values are opaque and different, so that the compiler cannot fold the loop.
macro_rules! chains {
    ($iterations:ident, |$i:ident| $start:expr, |$sum:ident| $step:expr) => {
        chains!($iterations, |$i| $start, |$sum| $step, |sum| sum)
    };
    ($iterations:ident, |$i:ident| $start:expr, |$sum:ident| $step:expr, |$last:ident| $floats:expr) => {{
        let mut sums = {
            let $i = 0;
            [$start; SUMS]
        };
        for ($i, sum) in sums.iter_mut().enumerate() {
            let $i = black_box($i);
            *sum = $start;
        }
        for _ in 0..$iterations {
            for $sum in &mut sums {
                *$sum = $step;
            }
        }
        let $last = sums[0];
        let mut totals = [$floats; SUMS];
        for (total, $last) in totals.iter_mut().zip(sums) {
            *total = $floats;
        }
        total(&totals)
    }};
}

/// The sum of all lanes of `sums`.
#[inline(always)]
unsafe fn total<V: Vector>(sums: &[V]) -> f32 {
    // SAFETY: the caller's contract is the same.
    unsafe {
        let mut total = sums[0];
        for sum in &sums[1..] {
            total = total.add(*sum);
        }
        total.sum()
    }
}

/// Sums the elements of a row up to its last multiple of eight registers, at the speed of memory.
///
/// # Safety
/// See [`Vector`].
#[inline(always)]
pub unsafe fn read<V: Vector>(row: &[f32]) -> f32 {
    // SAFETY: vectors lie within `row`.
    unsafe {
        let step = 8 * V::LANES;
        let mut sums = [V::splat(0.0); 8];
        for i in (0..row.len() / step * step).step_by(step) {
            let at = row.as_ptr().add(i);
            prefetch_next_page(at.cast(), step * size_of::<f32>());
            for (j, sum) in sums.iter_mut().enumerate() {
                *sum = sum.add(V::load(at.add(j * V::LANES)));
            }
        }
        total(&sums)
    }
}

/// Runs `iterations` multiplications and additions in each lane of [`SUMS`] registers.
///
/// # Safety
/// See [`Vector`].
#[inline(always)]
pub unsafe fn calculate<V: Vector>(iterations: usize) -> f32 {
    // SAFETY: the caller's contract is the same.
    unsafe {
        let (factor, addend) = (V::splat(black_box(0.999)), V::splat(black_box(0.001)));
        chains!(iterations, |i| V::splat(i as f32), |sum| sum.mul_add(factor, addend))
    }
}

/// Like [`calculate`] with products of pairs of bf16, two of them in each lane.
///
/// # Safety
/// See [`Vector`].
#[inline(always)]
pub unsafe fn calculate_pairs<V: Pairs>(iterations: usize) -> f32 {
    // SAFETY: the caller's contract is the same.
    unsafe {
        let (weights, inputs) = (V::splat(black_box(0.999)), V::splat(black_box(0.001)));
        chains!(iterations, |i| V::splat(i as f32), |sum| V::add_pairs(*sum, weights, inputs))
    }
}

/// Like [`calculate`] with products of integers, [`IntDot::GROUP`] of them in each lane.
///
/// # Safety
/// See [`Vector`].
#[inline(always)]
pub unsafe fn calculate_dots<D: IntDot>(iterations: usize) -> f32 {
    // SAFETY: no register of a group has more than 64 bytes.
    unsafe {
        let numbers = black_box([1u8; 64]);
        let (weights, inputs) = (D::load(numbers.as_ptr()), D::splat(numbers.as_ptr().cast()));
        chains!(
            iterations,
            |i| D::start(i as i32),
            |sum| D::add_products(*sum, weights, inputs),
            |sums| D::floats(sums)
        )
    }
}
