//! Decodes the k-quants: super-blocks of 256 values in sub-blocks of 16 or 32, whose scales and
//! minima are themselves quantised.

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

/// The 6-bit scale and minimum of sub-block `j` of a Q4_K or Q5_K.
fn scale_and_minimum(packed: &[u8], j: usize) -> (f32, f32) {
    let (scale, minimum) = if j < 4 {
        (packed[j] & 63, packed[j + 4] & 63)
    } else {
        (
            (packed[j + 4] & 15) | (packed[j - 4] >> 6) << 4,
            (packed[j + 4] >> 4) | (packed[j] >> 6) << 4,
        )
    };
    (f32::from(scale), f32::from(minimum))
}

/// Q4_K, `x = d s q - dmin m`: sub-blocks of 32, two of which share the nibbles of 32 bytes.
pub fn q4(block: &[u8], out: &mut [f32]) {
    nibbles(block, &block[16..], None, out);
}

/// Q5_K: [`q4`] with the fifth bit of each quant in a mask.
pub fn q5(block: &[u8], out: &mut [f32]) {
    nibbles(block, &block[48..], Some(&block[16..48]), out);
}

fn nibbles(block: &[u8], quants: &[u8], fifth: Option<&[u8]>, out: &mut [f32]) {
    let (d, dmin, packed) = (half(block, 0), half(block, 2), &block[4..16]);
    for (j, out) in out.chunks_exact_mut(32).enumerate() {
        let (scale, minimum) = scale_and_minimum(packed, j);
        for (l, x) in out.iter_mut().enumerate() {
            let low = (quants[j / 2 * 32 + l] >> (j % 2 * 4)) & 15;
            let high = fifth.map_or(0, |mask| (mask[l] >> j & 1) << 4);
            *x = d * scale * f32::from(low | high) - dmin * minimum;
        }
    }
}

/// Q6_K, `x = d s (q - 32)`: 4 low bits, 2 high bits, a signed scale for each 16 values.
pub fn q6(block: &[u8], out: &mut [f32]) {
    let (low, high, scales) = (&block[..128], &block[128..192], &block[192..208]);
    let d = half(block, 208);
    for (i, x) in out.iter_mut().enumerate() {
        let (part, quarter, l) = (i / 128, i % 128 / 32, i % 32);
        let nibble = (low[part * 64 + quarter % 2 * 32 + l] >> (quarter / 2 * 4)) & 15;
        let top = (high[part * 32 + l] >> (quarter * 2)) & 3;
        let scale = f32::from(scales[i / 16] as i8);
        *x = d * scale * f32::from((nibble | top << 4) as i8 - 32);
    }
}
