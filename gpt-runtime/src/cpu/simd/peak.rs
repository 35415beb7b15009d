//! Loops that only read memory or only do arithmetic, for the roofline.

use std::hint::black_box;

use super::int_dot::IntDot;
use super::vector::{Pairs, Vector};
use super::{AHEAD, prefetch_later};

/// Registers of sums: more than the latency of a multiply-add times the number of units.
pub const SUMS: usize = 12;

/// The sum of a row, at the speed of memory.
///
/// # Safety
/// As [`Vector`].
#[inline(always)]
pub unsafe fn read<V: Vector>(row: &[f32]) -> f32 {
    // SAFETY: vectors lie within `row`.
    unsafe {
        let step = 8 * V::LANES;
        let mut sums = [V::splat(0.0); 8];
        for i in (0..row.len() / step * step).step_by(step) {
            let at = row.as_ptr().add(i);
            prefetch_later(at.cast::<u8>().wrapping_add(AHEAD), step * size_of::<f32>());
            for (j, sum) in sums.iter_mut().enumerate() {
                *sum = sum.add(V::load(at.add(j * V::LANES)));
            }
        }
        let mut total = sums[0];
        for sum in &sums[1..] {
            total = total.add(*sum);
        }
        total.sum()
    }
}

/// `iterations` multiplications and additions in each lane of [`SUMS`] registers.
///
/// # Safety
/// As [`Vector`].
#[inline(always)]
pub unsafe fn calculate<V: Vector>(iterations: usize) -> f32 {
    // SAFETY: passed on.
    unsafe {
        // Opaque numbers, different in each register, so that the compiler cannot fold the loop.
        let (factor, addend) = (V::splat(black_box(0.999)), V::splat(black_box(0.001)));
        let mut sums = [V::splat(0.0); SUMS];
        for (i, sum) in sums.iter_mut().enumerate() {
            *sum = V::splat(black_box(i as f32));
        }
        for _ in 0..iterations {
            for sum in &mut sums {
                *sum = sum.mul_add(factor, addend);
            }
        }
        let mut total = sums[0];
        for sum in &sums[1..] {
            total = total.add(*sum);
        }
        total.sum()
    }
}

/// As [`calculate`] with products of pairs of bf16, two of them in each lane.
///
/// # Safety
/// As [`Vector`].
#[inline(always)]
pub unsafe fn calculate_pairs<V: Pairs>(iterations: usize) -> f32 {
    // SAFETY: passed on.
    unsafe {
        let (weights, inputs) = (V::splat(black_box(0.999)), V::splat(black_box(0.001)));
        let mut sums = [V::splat(0.0); SUMS];
        for (i, sum) in sums.iter_mut().enumerate() {
            *sum = V::splat(black_box(i as f32));
        }
        for _ in 0..iterations {
            for sum in &mut sums {
                *sum = V::add_pairs(*sum, weights, inputs);
            }
        }
        let mut total = sums[0];
        for sum in &sums[1..] {
            total = total.add(*sum);
        }
        total.sum()
    }
}

/// As [`calculate`] with products of integers, [`IntDot::GROUP`] of them in each lane.
///
/// # Safety
/// As [`Vector`].
#[inline(always)]
pub unsafe fn calculate_dots<D: IntDot>(iterations: usize) -> f32 {
    // SAFETY: the numbers are as many as a group has at most.
    unsafe {
        let numbers = black_box([1u8; 64]);
        let (weights, inputs) = (D::load(numbers.as_ptr()), D::splat(numbers.as_ptr().cast()));
        let mut sums = [D::start(0); SUMS];
        for (i, sum) in sums.iter_mut().enumerate() {
            *sum = D::start(black_box(i as i32));
        }
        for _ in 0..iterations {
            for sum in &mut sums {
                *sum = D::add_products(*sum, weights, inputs);
            }
        }
        let mut total = D::floats(sums[0]);
        for sum in &sums[1..] {
            total = total.add(D::floats(*sum));
        }
        total.sum()
    }
}
