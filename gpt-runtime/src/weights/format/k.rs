//! The blocks of GGUF's k-quants: 256 values in sub-blocks of 32, whose scales and minima are
//! themselves quantised.
//!
//! A file spreads the bits of a sub-block over the block. [`pack`] gathers them in the order in
//! which engines store a block: its f16 values, the quants of each sub-block as in a block of
//! [`Q4`] or [`Q5`], and a byte for each fine scale and minimum ([`Format::packed_bytes`]). The
//! sign of `e`, the f16 that multiplies the minima, changes, so that `w = d s q + e m`. [`unpack`]
//! is the inverse. No bit is lost. Layouts of files follow ggml's `ggml-common.h`.
//!
//! [`Q4`]: Format::Q4
//! [`Q5`]: Format::Q5

use gpt_plan::{Format, SUB_BLOCK};
use half::f16;

/// The most bytes of a block as engines store it.
pub const MOST_BYTES: usize = 256;

/// Sub-blocks of a block.
const SUB_BLOCKS: usize = 8;

/// The parts of a packed block.
struct Parts<'a> {
    /// The f16 values.
    opening: &'a [u8],
    /// The quants of all sub-blocks.
    quants: &'a [u8],
    /// The fine scales of all sub-blocks, then their fine minima.
    fine: &'a [u8],
}

impl Parts<'_> {
    fn of(format: Format, packed: &[u8]) -> Parts<'_> {
        let (opening, rest) = packed.split_at(2 * format.scales());
        let (quants, fine) = rest.split_at(SUB_BLOCKS * format.quant_bytes());
        Parts { opening, quants, fine }
    }

    /// The f16 value with index `i`.
    fn half(&self, i: usize) -> f32 {
        f16::from_le_bytes([self.opening[2 * i], self.opening[2 * i + 1]]).to_f32()
    }

    /// The quant of a column of sub-block `sub`, which has `high` bits above its nibble.
    fn quant(&self, sub: usize, column: usize, high: usize) -> u8 {
        let quants = &self.quants[sub * (16 + 4 * high)..][..16 + 4 * high];
        let low = quants[4 * high + column % 16] >> (column / 16 * 4) & 15;
        if high == 0 {
            return low;
        }
        let share = 8 / high;
        let top = quants[column / share] >> (column % share * high) & ((1 << high) - 1);
        low | top << 4
    }
}

/// Bits of a quant above its nibble.
fn high_bits(format: Format) -> usize {
    (format.quant_bytes() - SUB_BLOCK / 2) / 4
}

/// Writes a block of a k-quant `format` in the order of engines.
pub fn pack(format: Format, block: &[u8], packed: &mut [u8]) {
    let (opening, rest) = packed.split_at_mut(2 * format.scales());
    let (quants, fine) = rest.split_at_mut(SUB_BLOCKS * format.quant_bytes());
    let sub_blocks = quants.chunks_exact_mut(format.quant_bytes());
    if format == Format::Q6K {
        let (low, high, scales) = (&block[..128], &block[128..192], &block[192..208]);
        for (sub, out) in sub_blocks.enumerate() {
            let (half, quarter) = (sub / 4, sub % 4);
            let low = &low[half * 64 + quarter % 2 * 32..][..32];
            pack_nibbles(low, quarter / 2 * 4, &mut out[8..]);
            let high = &high[half * 32..][..32];
            for (four, out) in high.as_chunks::<4>().0.iter().zip(out) {
                let bits = four.map(|byte| byte >> (2 * quarter) & 3);
                *out = bits[0] | bits[1] << 2 | bits[2] << 4 | bits[3] << 6;
            }
        }
        fine.copy_from_slice(scales);
        opening.copy_from_slice(&block[208..]);
        return;
    }
    let (fifth, low) = block[16..].split_at(block.len() - 16 - 128);
    for (sub, out) in sub_blocks.enumerate() {
        let (high, nibbles) = out.split_at_mut(fifth.len() / 8);
        pack_nibbles(&low[sub / 2 * 32..][..32], sub % 2 * 4, nibbles);
        for (eight, out) in fifth.as_chunks::<8>().0.iter().zip(high) {
            *out = (0..8).fold(0, |bits, i| bits | (eight[i] >> sub & 1) << i);
        }
    }
    for (sub, out) in fine.as_chunks_mut::<2>().0.iter_mut().enumerate() {
        *out = scale_and_minimum(&block[4..16], sub);
    }
    opening.copy_from_slice(&block[..4]);
    opening[3] ^= 0x80;
}

/// Writes the 32 nibbles `bytes >> shift`: low ones are the first half of a sub-block.
fn pack_nibbles(bytes: &[u8], shift: usize, out: &mut [u8]) {
    let (first, second) = bytes.split_at(SUB_BLOCK / 2);
    for ((a, b), out) in first.iter().zip(second).zip(out) {
        *out = (a >> shift & 15) | (b >> shift & 15) << 4;
    }
}

/// The 6-bit scale and minimum of sub-block `j` of a Q4_K or Q5_K.
fn scale_and_minimum(packed: &[u8], j: usize) -> [u8; 2] {
    if j < 4 {
        return [packed[j] & 63, packed[j + 4] & 63];
    }
    [(packed[j + 4] & 15) | (packed[j - 4] >> 6) << 4, (packed[j + 4] >> 4) | (packed[j] >> 6) << 4]
}

/// Writes a packed block as files store it: the inverse of [`pack`].
pub fn unpack(format: Format, packed: &[u8], block: &mut [u8]) {
    let parts = Parts::of(format, packed);
    let high = high_bits(format);
    block.fill(0);
    if format == Format::Q6K {
        let (low, rest) = block.split_at_mut(128);
        let (top, rest) = rest.split_at_mut(64);
        for column in 0..256 {
            let quant = parts.quant(column / 32, column % 32, high);
            let (half, quarter, l) = (column / 128, column % 128 / 32, column % 32);
            low[half * 64 + quarter % 2 * 32 + l] |= (quant & 15) << (quarter / 2 * 4);
            top[half * 32 + l] |= (quant >> 4) << (2 * quarter);
        }
        let (scales, opening) = rest.split_at_mut(16);
        scales.copy_from_slice(parts.fine);
        opening.copy_from_slice(parts.opening);
        return;
    }
    let (opening, quants) = block.split_at_mut(16);
    let (fifth, low) = quants.split_at_mut(quants.len() - 128);
    for column in 0..256 {
        let (sub, l) = (column / 32, column % 32);
        let quant = parts.quant(sub, l, high);
        low[sub / 2 * 32 + l] |= (quant & 15) << (sub % 2 * 4);
        if let Some(byte) = fifth.get_mut(l) {
            *byte |= (quant >> 4) << sub;
        }
    }
    opening[..4].copy_from_slice(parts.opening);
    opening[3] ^= 0x80;
    let fine = parts.fine.as_chunks::<2>().0;
    for j in 0..4 {
        let ([s, m], [later_s, later_m]) = (fine[j], fine[j + 4]);
        opening[4 + j] = s | (later_s >> 4) << 6;
        opening[8 + j] = m | (later_m >> 4) << 6;
        opening[12 + j] = (later_s & 15) | later_m << 4;
    }
}

/// Reads a packed block; `out` may be shorter than a block.
pub fn decode(format: Format, packed: &[u8], out: &mut [f32]) {
    let parts = Parts::of(format, packed);
    let (high, d) = (high_bits(format), parts.half(0));
    for (sub, out) in out.chunks_mut(SUB_BLOCK).enumerate() {
        let fine = &parts.fine[2 * sub..][..2];
        for (column, x) in out.iter_mut().enumerate() {
            let quant = parts.quant(sub, column, high);
            *x = if format == Format::Q6K {
                d * f32::from(fine[column / 16] as i8) * f32::from(quant as i8 - 32)
            } else {
                d * f32::from(fine[0]) * f32::from(quant) + parts.half(1) * f32::from(fine[1])
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_bit_is_lost() {
        for format in [Format::Q4K, Format::Q5K, Format::Q6K] {
            assert!(format.packed_bytes() <= MOST_BYTES);
            for seed in 1..50u32 {
                let byte = |i: u32| ((i + seed).wrapping_mul(0x9E37_79B1) >> 24) as u8;
                let block: Vec<u8> = (0..format.block_bytes() as u32).map(byte).collect();
                let mut packed = vec![0xAA; format.packed_bytes()];
                pack(format, &block, &mut packed);
                let mut again = vec![0x55; block.len()];
                unpack(format, &packed, &mut again);
                assert_eq!(block, again, "{format:?}");
            }
        }
    }
}
