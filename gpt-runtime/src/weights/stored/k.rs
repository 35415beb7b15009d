//! Decodes the k-quants that have no format of their own: blocks of 256 values in sub-blocks of 16,
//! whose scales and minima are themselves quantised.

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
    let (mask, quants, packed) = (&block[..32], &block[32..96], &block[96..108]);
    let d = half(block, 108);
    for (i, x) in out.iter_mut().enumerate() {
        let s = i / 16;
        let low = (packed[s % 8] >> (s / 8 * 4)) & 15;
        let high = (packed[8 + s % 4] >> (s / 4 * 2)) & 3;
        let scale = f32::from((low | high << 4) as i8 - 32);
        let quant = ((quants[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2)) & 3) as i8;
        let missing = if mask[i % 32] >> (i / 32) & 1 == 0 { 4 } else { 0 };
        *x = d * scale * f32::from(quant - missing);
    }
}
