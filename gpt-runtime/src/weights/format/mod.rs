//! Encodes and decodes rows of f32 in the canonical [`Format`]s.
//!
//! All functions work on one row: blocks run along a row and never cross into the next. A canonical
//! row that does not fill its last block is padded with zeros ([`Format::row_bytes`]); GGUF does
//! not allow such rows.
//!
//! Engines store the blocks of some formats in another order ([`packed_block`]).

pub mod k;
mod k_search;

use gpt_plan::Format;
use half::{bf16, f16};

/// Elements of a block of Q8, Q4 or Q5.
const BLOCK: usize = 32;

/// Appends one row in `format` to `out`: `format.row_bytes(row.len())` bytes.
///
/// Quantisation follows GGUF's reference. In Q8, the scale is the largest magnitude over 127. In Q4
/// and Q5, the quants span the range from the minimum to the maximum. Quants are computed with the
/// scale *as stored* (f16), so its rounding error does not add to theirs. The scales of k-quants
/// are searched.
pub fn encode(format: Format, row: &[f32], out: &mut Vec<u8>) {
    out.reserve(format.row_bytes(row.len()));
    match format {
        Format::F32 => out.extend(row.iter().flat_map(|x| x.to_le_bytes())),
        Format::F16 => out.extend(row.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes())),
        Format::Bf16 => out.extend(row.iter().flat_map(|&x| bf16::from_f32(x).to_le_bytes())),
        Format::Q8 => blocks(row, |block| encode_q8(block, out)),
        Format::Q4 => blocks(row, |block| encode_q4(block, out)),
        Format::Q5 => blocks(row, |block| encode_q5(block, out)),
        Format::Q4K | Format::Q5K | Format::Q6K => {
            blocks(row, |block| k_search::encode(format, block, out));
        }
    }
}

/// Reads one row of `format`, `format.row_bytes(row.len())` bytes, into `row`; padding is dropped.
///
/// # Panics
/// Panics if `bytes` is shorter than the row.
pub fn decode(format: Format, bytes: &[u8], row: &mut [f32]) {
    let bytes = &bytes[..format.row_bytes(row.len())];
    match format {
        Format::F32 => {
            for (x, b) in row.iter_mut().zip(bytes.as_chunks::<4>().0) {
                *x = f32::from_le_bytes(*b);
            }
        }
        Format::F16 => {
            for (x, b) in row.iter_mut().zip(bytes.as_chunks::<2>().0) {
                *x = f16::from_le_bytes(*b).to_f32();
            }
        }
        Format::Bf16 => {
            for (x, b) in row.iter_mut().zip(bytes.as_chunks::<2>().0) {
                *x = bf16::from_le_bytes(*b).to_f32();
            }
        }
        Format::Q8 => {
            for (xs, b) in row.chunks_mut(BLOCK).zip(bytes.as_chunks::<34>().0) {
                let d = scale(b, 0);
                for (x, &q) in xs.iter_mut().zip(&b[2..]) {
                    *x = d * f32::from(q as i8);
                }
            }
        }
        Format::Q4 => {
            for (xs, b) in row.chunks_mut(BLOCK).zip(bytes.as_chunks::<20>().0) {
                let (d, m) = (scale(b, 0), scale(b, 2));
                let quants = &b[4..];
                for (j, x) in xs.iter_mut().enumerate() {
                    let q = (quants[j % 16] >> (4 * (j / 16))) & 15;
                    *x = d * f32::from(q) + m;
                }
            }
        }
        Format::Q5 => {
            for (xs, b) in row.chunks_mut(BLOCK).zip(bytes.as_chunks::<24>().0) {
                let (d, m) = (scale(b, 0), scale(b, 2));
                let (fifth, quants) = (&b[4..8], &b[8..]);
                for (j, x) in xs.iter_mut().enumerate() {
                    let low = (quants[j % 16] >> (4 * (j / 16))) & 15;
                    let high = (fifth[j / 8] >> (j % 8)) & 1;
                    *x = d * f32::from(low | high << 4) + m;
                }
            }
        }
        Format::Q4K | Format::Q5K | Format::Q6K => {
            let blocks = bytes.chunks_exact(format.block_bytes());
            for (xs, block) in row.chunks_mut(format.block()).zip(blocks) {
                k::decode(format, packed_block(format, block, &mut [0; k::MOST_BYTES]), xs);
            }
        }
    }
}

/// A quantised block in the order of engines ([`Format::packed_bytes`]). A block of a k-quant is
/// reordered in `memory`; the others are returned as they are.
pub fn packed_block<'a>(
    format: Format,
    block: &'a [u8],
    memory: &'a mut [u8; k::MOST_BYTES],
) -> &'a [u8] {
    if !format.is_k_quant() {
        return block;
    }
    let packed = &mut memory[..format.packed_bytes()];
    k::pack(format, block, packed);
    packed
}

/// The scale or minimum at byte `at`, an f16.
fn scale(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

/// Calls `each` with the blocks of a row, the last one padded with zeros.
fn blocks<const N: usize>(row: &[f32], mut each: impl FnMut(&[f32; N])) {
    for chunk in row.chunks(N) {
        let mut block = [0.0; N];
        block[..chunk.len()].copy_from_slice(chunk);
        each(&block);
    }
}

/// Rounds a scale to f16, clamped to the finite range, and returns it with its value as f32.
fn stored(x: f32) -> (f16, f32) {
    let x = f16::from_f32(x.clamp(f16::MIN.to_f32(), f16::MAX.to_f32()));
    (x, x.to_f32())
}

fn reciprocal(d: f32) -> f32 {
    if d == 0.0 { 0.0 } else { 1.0 / d }
}

fn encode_q8(block: &[f32; BLOCK], out: &mut Vec<u8>) {
    let amax = block.iter().fold(0.0f32, |m, x| m.max(x.abs()));
    let (d16, d) = stored(amax / 127.0);
    let inverse = reciprocal(d);
    out.extend(d16.to_le_bytes());
    out.extend(
        block.iter().map(|x| (x * inverse).round_ties_even().clamp(-127.0, 127.0) as i8 as u8),
    );
}

fn encode_q4(block: &[f32; BLOCK], out: &mut Vec<u8>) {
    let quants = encode_affine(block, 15.0, out);
    out.extend(nibbles(&quants));
}

fn encode_q5(block: &[f32; BLOCK], out: &mut Vec<u8>) {
    let quants = encode_affine(block, 31.0, out);
    let fifth = |byte: usize| (0..8).fold(0, |bits, j| bits | (quants[8 * byte + j] >> 4) << j);
    out.extend((0..4).map(fifth));
    out.extend(nibbles(&quants));
}

/// The low four bits of quants. Low nibbles are the first half of a block, high nibbles the second.
fn nibbles(quants: &[u8; BLOCK]) -> impl Iterator<Item = u8> {
    let (low, high) = quants.split_at(BLOCK / 2);
    low.iter().zip(high).map(|(l, h)| (l & 15) | h << 4)
}

/// Quantises a block to `0..=largest`. Appends its scale and its minimum, and returns the quants.
fn encode_affine(block: &[f32; BLOCK], largest: f32, out: &mut Vec<u8>) -> [u8; BLOCK] {
    let min = block.iter().copied().fold(f32::INFINITY, f32::min);
    let max = block.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let (d16, d) = stored((max - min) / largest);
    let (m16, m) = stored(min);
    let inverse = reciprocal(d);
    let quant = |x: f32| ((x - m) * inverse).round_ties_even().clamp(0.0, largest) as u8;
    out.extend(d16.to_le_bytes());
    out.extend(m16.to_le_bytes());
    block.map(quant)
}

#[cfg(test)]
mod tests;
