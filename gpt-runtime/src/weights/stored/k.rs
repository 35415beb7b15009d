//! Decodes the k-quants that have no `Format`: blocks of 256 values in sub-blocks of 16, whose
//! scales and minima are themselves quantised.

use super::half;

/// Q2_K, `x = d s q - dmin m`: 2-bit quants; `s` and `m` are the nibbles of one byte for each 16
/// values.
pub fn q2(block: &[u8], out: &mut [f32]) {
    let (scales, quants) = (&block[..16], &block[16..80]);
    let (d, dmin) = (half(block, 80), half(block, 82));
    for (i, x) in out.iter_mut().enumerate() {
        let scale = scales[i / 16];
        let quant = (quants[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2)) & 3;
        *x = d * f32::from(scale & 15) * f32::from(quant) - dmin * f32::from(scale >> 4);
    }
}

/// Q3_K, `x = d (s - 32) q`: 2 low bits, minus 4 where the mask of high bits is 0; sixteen 6-bit
/// scales in twelve bytes.
pub fn q3(block: &[u8], out: &mut [f32]) {
    let d = half(block, 108);
    for (i, x) in out.iter_mut().enumerate() {
        *x = d * f32::from(q3_scale(block, i / 16)) * f32::from(q3_quant(block, i));
    }
}

/// The scale of 16 values of a Q3_K.
fn q3_scale(block: &[u8], s: usize) -> i8 {
    let packed = &block[96..108];
    let low = (packed[s % 8] >> (s / 8 * 4)) & 15;
    let high = (packed[8 + s % 4] >> (s / 4 * 2)) & 3;
    (low | high << 4) as i8 - 32
}

/// The quant of value `i` of a Q3_K, from -4 to 3.
fn q3_quant(block: &[u8], i: usize) -> i8 {
    let (mask, quants) = (&block[..32], &block[32..96]);
    let low = ((quants[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2)) & 3) as i8;
    low - if mask[i % 32] >> (i / 32) & 1 == 0 { 4 } else { 0 }
}

/// Appends a block of Q6_K with the values of a Q3_K: signed bytes hold its scales, and six bits
/// its quants.
pub fn q3_as_q6(block: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + 210, 0);
    let (low, rest) = out[start..].split_at_mut(128);
    let (high, rest) = rest.split_at_mut(64);
    for i in 0..256 {
        let quant = (q3_quant(block, i) + 32) as u8;
        let (part, quarter, l) = (i / 128, i % 128 / 32, i % 32);
        low[part * 64 + quarter % 2 * 32 + l] |= (quant & 15) << (quarter / 2 * 4);
        high[part * 32 + l] |= (quant >> 4) << (quarter * 2);
    }
    for (s, scale) in rest[..16].iter_mut().enumerate() {
        *scale = q3_scale(block, s).cast_unsigned();
    }
    rest[16..].copy_from_slice(&block[108..]);
}
