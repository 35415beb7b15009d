//! What becomes of a tile's rows: 32 outputs of a panel, or as many as the last one has.
//!
//! Nearly all panels are whole, and then the length is looked at once: moves and additions are a few instructions, not a call or a loop.

use super::simd::PANEL;

/// A bias for the outputs of a panel, zeros where there is none.
pub fn bias_of(bias: Option<&[f32]>, first: usize, len: usize) -> [f32; PANEL] {
    let mut padded = [0.0; PANEL];
    if let Some(bias) = bias {
        padded[..len].copy_from_slice(&bias[first..][..len]);
    }
    padded
}

/// `to = from`, as many as there is room for.
#[inline(always)]
pub fn put(to: &mut [f32], from: &[f32]) {
    map(to, from, |_, x| x);
}

/// `to += what`, likewise.
#[inline(always)]
pub fn add(to: &mut [f32], what: &[f32]) {
    map(to, what, |to, x| to + x);
}

/// `to *= what`, likewise.
#[inline(always)]
pub fn multiply(to: &mut [f32], what: &[f32]) {
    map(to, what, |to, x| to * x);
}

/// `to = from * by`, likewise.
#[inline(always)]
pub fn put_product(to: &mut [f32], from: &[f32], by: &[f32]) {
    if let (Ok(to), Some(from), Some(by)) = (
        <&mut [f32; PANEL]>::try_from(&mut *to),
        from.first_chunk::<PANEL>(),
        by.first_chunk::<PANEL>(),
    ) {
        *to = std::array::from_fn(|i| from[i] * by[i]);
    } else {
        for ((to, from), by) in to.iter_mut().zip(from).zip(by) {
            *to = from * by;
        }
    }
}

#[inline(always)]
fn map(to: &mut [f32], from: &[f32], f: impl Fn(f32, f32) -> f32) {
    if let (Ok(to), Some(from)) = (
        <&mut [f32; PANEL]>::try_from(&mut *to),
        from.first_chunk::<PANEL>(),
    ) {
        *to = std::array::from_fn(|i| f(to[i], from[i]));
    } else {
        for (to, from) in to.iter_mut().zip(from) {
            *to = f(*to, *from);
        }
    }
}
