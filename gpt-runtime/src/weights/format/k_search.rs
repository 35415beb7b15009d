//! Chooses the scales, minima and quants of a k-quant: the encoder of [`k`](super::k).
//!
//! A scale that maps the largest value of a sub-block to the largest quant is rarely the best one.
//! For some scales near it the values are rounded to quants, and the line through them is fitted by
//! least squares (for fixed quants, the best scale and minimum solve a linear system). The line
//! with the smallest error wins. Larger values count more: a weight of `|x|` plus the root mean
//! square of the sub-block, or `x^2`, stands in for the activations that a file's author would
//! measure. llama.cpp searches likewise.

use gpt_plan::{Format, SUB_BLOCK};

use super::{k, reciprocal, stored};

/// Values of a block.
pub const BLOCK: usize = 256;

/// Values beyond this are clamped; it exceeds what any format can store, and sums of fourth powers
/// stay finite.
const LARGEST: f32 = 1e9;

/// Appends a block in `format` as files store it.
pub fn encode(format: Format, block: &[f32; BLOCK], out: &mut Vec<u8>) {
    let values = block.map(|x| if x.is_nan() { 0.0 } else { x.clamp(-LARGEST, LARGEST) });
    let mut packed = [0; k::MOST_BYTES];
    let packed = &mut packed[..format.packed_bytes()];
    match format {
        Format::Q6K => signed(&values, packed),
        _ => affine(format, &values, packed),
    }
    let start = out.len();
    out.resize(start + format.block_bytes(), 0);
    k::unpack(format, packed, &mut out[start..]);
}

/// Writes the quant of `column`, whose sub-block is `quants`, with `high` bits above its nibble.
fn write_quant(quants: &mut [u8], column: usize, high: usize, quant: u8) {
    quants[4 * high + column % 16] |= (quant & 15) << (column / 16 * 4);
    if let Some(share) = 8usize.checked_div(high) {
        quants[column / share] |= (quant >> 4) << (column % share * high);
    }
}

/// Writes a packed block of Q4_K or Q5_K.
fn affine(format: Format, values: &[f32; BLOCK], packed: &mut [u8]) {
    let high = (format.quant_bytes() - 16) / 4;
    let largest = f32::from((16u8 << high) - 1);
    let (sub_blocks, _) = values.as_chunks::<SUB_BLOCK>();
    let mut lines = [Line::default(); BLOCK / SUB_BLOCK];
    for (line, x) in lines.iter_mut().zip(sub_blocks) {
        *line = Line::best(x, largest);
    }
    let most = |of: fn(&Line) -> f32| lines.iter().map(of).fold(0.0, f32::max);
    let (d16, d) = stored(most(|line| line.scale) / 63.0);
    let (e16, e) = stored(most(|line| line.minimum) / 63.0);
    packed[..2].copy_from_slice(&d16.to_le_bytes());
    packed[2..4].copy_from_slice(&(-e16).to_le_bytes());
    let (quants, fine) = packed[4..].split_at_mut(values.len() / SUB_BLOCK * format.quant_bytes());
    let quants = quants.chunks_exact_mut(format.quant_bytes());
    let fine = fine.as_chunks_mut::<2>().0;
    let six_bits = |x: f32| x.round_ties_even().clamp(0.0, 63.0);
    for (((x, line), quants), fine) in sub_blocks.iter().zip(&lines).zip(quants).zip(fine) {
        let scale = six_bits(line.scale * reciprocal(d));
        let minimum = six_bits(line.minimum * reciprocal(e));
        *fine = [scale as u8, minimum as u8];
        let (scale, minimum) = (d * scale, e * minimum);
        for (column, x) in x.iter().enumerate() {
            let quant = ((x + minimum) * reciprocal(scale)).round_ties_even();
            write_quant(quants, column, high, quant.clamp(0.0, largest) as u8);
        }
    }
}

/// `x ≈ scale q - minimum`, where neither is negative.
#[derive(Clone, Copy, Default)]
struct Line {
    scale: f32,
    minimum: f32,
}

impl Line {
    /// The best line found for quants of `0..=largest`.
    fn best(x: &[f32; SUB_BLOCK], largest: f32) -> Line {
        let min = x.iter().copied().fold(0.0, f32::min);
        let max = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        if max <= min {
            return Line { scale: 0.0, minimum: -min };
        }
        let rms = (x.iter().map(|x| x * x).sum::<f32>() / SUB_BLOCK as f32).sqrt();
        let weights = x.map(|x| rms + x.abs());
        let plain = Line { scale: (max - min) / largest, minimum: -min };
        let (mut best, mut least) = (plain, plain.error(x, &weights, largest));
        for step in -10..=10 {
            let scale = (max - min) / (largest + 0.1 * step as f32);
            let quants = x.map(|x| ((x - min) / scale).round_ties_even().clamp(0.0, largest));
            let Some(line) = Line::fit(x, &weights, &quants) else {
                continue;
            };
            let error = line.error(x, &weights, largest);
            if error < least {
                (best, least) = (line, error);
            }
        }
        best
    }

    /// The line through `quants` and `x` with the least weighted sum of squared errors.
    fn fit(
        x: &[f32; SUB_BLOCK],
        weights: &[f32; SUB_BLOCK],
        quants: &[f32; SUB_BLOCK],
    ) -> Option<Line> {
        let (mut w, mut wq, mut wqq, mut wx, mut wxq) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for ((x, weight), q) in x.iter().zip(weights).zip(quants) {
            w += weight;
            wq += weight * q;
            wqq += weight * q * q;
            wx += weight * x;
            wxq += weight * x * q;
        }
        let determinant = w * wqq - wq * wq;
        if determinant <= 0.0 {
            return None;
        }
        let scale = (w * wxq - wx * wq) / determinant;
        let minimum = (wq * wxq - wqq * wx) / determinant;
        // A minimum above zero cannot be stored.
        let (scale, minimum) = if minimum < 0.0 { (wxq / wqq, 0.0) } else { (scale, minimum) };
        (scale > 0.0).then_some(Line { scale, minimum })
    }

    /// The weighted sum of squared errors after rounding to the nearest quants.
    fn error(&self, x: &[f32; SUB_BLOCK], weights: &[f32; SUB_BLOCK], largest: f32) -> f32 {
        let Line { scale, minimum } = *self;
        let inverse = 1.0 / scale;
        let errors = x.iter().zip(weights).map(|(x, weight)| {
            let quant = ((x + minimum) * inverse).round_ties_even().clamp(0.0, largest);
            weight * (scale * quant - minimum - x).powi(2)
        });
        errors.sum()
    }
}

/// Values that share a scale in a [`Format::Q6K`].
const SIXTEEN: usize = 16;

/// Writes a packed block of Q6_K.
fn signed(values: &[f32; BLOCK], packed: &mut [u8]) {
    let (parts, _) = values.as_chunks::<SIXTEEN>();
    let mut scales = [0.0; BLOCK / SIXTEEN];
    for (scale, x) in scales.iter_mut().zip(parts) {
        *scale = best_scale(x);
    }
    let most = scales.iter().fold(0.0f32, |most, x| if x.abs() > most.abs() { *x } else { most });
    let (d16, d) = stored(most / -128.0);
    packed[..2].copy_from_slice(&d16.to_le_bytes());
    let (quants, fine) = packed[2..].split_at_mut(BLOCK / SUB_BLOCK * Format::Q6K.quant_bytes());
    for (i, ((x, scale), fine)) in parts.iter().zip(scales).zip(fine).enumerate() {
        let rounded = (scale * reciprocal(d)).round_ties_even().clamp(-128.0, 127.0);
        *fine = rounded as i8 as u8;
        let inverse = reciprocal(d * rounded);
        let quants = &mut quants[i / 2 * Format::Q6K.quant_bytes()..][..Format::Q6K.quant_bytes()];
        for (column, x) in (i % 2 * SIXTEEN..).zip(x) {
            write_quant(quants, column, 2, (quant6(x * inverse) + 32.0) as u8);
        }
    }
}

/// The nearest quant of six bits.
fn quant6(x: f32) -> f32 {
    x.round_ties_even().clamp(-32.0, 31.0)
}

/// The scale `s` with the least error of `x ≈ s q`.
fn best_scale(x: &[f32; SIXTEEN]) -> f32 {
    let most = x.iter().fold(0.0f32, |most, x| if x.abs() > most.abs() { *x } else { most });
    let (mut best, mut least) = (0.0, f32::INFINITY);
    if most.abs() < f32::MIN_POSITIVE {
        return best;
    }
    // The value of the greatest magnitude becomes -32, or a number near it.
    for step in -9..=9 {
        let inverse = (-32.0 - 0.1 * step as f32) / most;
        let (mut xq, mut qq) = (0.0, 0.0);
        for x in x {
            let (q, weight) = (quant6(x * inverse), x * x);
            xq += weight * x * q;
            qq += weight * q * q;
        }
        if qq <= 0.0 {
            continue;
        }
        let scale = xq / qq;
        let error = |x: &f32| x * x * (x - scale * quant6(x / scale)).powi(2);
        let error = x.iter().map(error).sum::<f32>();
        if error < least {
            (best, least) = (scale, error);
        }
    }
    best
}
