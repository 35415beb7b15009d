//! Decodes the element types of safetensors and the block types of GGUF.
//!
//! Five of them are byte for byte the canonical [`Format`]s, and Q4_0 converts to Q4_1 without
//! loss. The rest are only read. Layouts follow ggml's `ggml-common.h`; tests compare each type
//! with values of the reference implementation.

mod k;
#[cfg(test)]
mod tests;

use gpt_plan::Format;
use half::f16;

use super::format;

/// An element or block type of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileType {
    F32,
    F16,
    Bf16,
    Q8_0,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q2K,
    Q3K,
    Q4K,
    Q5K,
    Q6K,
}

impl FileType {
    /// The type with GGUF's number `id`, if it is supported.
    pub fn from_gguf(id: u32) -> Option<FileType> {
        Some(match id {
            0 => FileType::F32,
            1 => FileType::F16,
            2 => FileType::Q4_0,
            3 => FileType::Q4_1,
            6 => FileType::Q5_0,
            7 => FileType::Q5_1,
            8 => FileType::Q8_0,
            10 => FileType::Q2K,
            11 => FileType::Q3K,
            12 => FileType::Q4K,
            13 => FileType::Q5K,
            14 => FileType::Q6K,
            30 => FileType::Bf16,
            _ => return None,
        })
    }

    /// The name as GGUF spells it.
    pub const fn name(self) -> &'static str {
        match self {
            FileType::F32 => "F32",
            FileType::F16 => "F16",
            FileType::Bf16 => "BF16",
            FileType::Q8_0 => "Q8_0",
            FileType::Q4_0 => "Q4_0",
            FileType::Q4_1 => "Q4_1",
            FileType::Q5_0 => "Q5_0",
            FileType::Q5_1 => "Q5_1",
            FileType::Q2K => "Q2_K",
            FileType::Q3K => "Q3_K",
            FileType::Q4K => "Q4_K",
            FileType::Q5K => "Q5_K",
            FileType::Q6K => "Q6_K",
        }
    }

    /// Elements and bytes of a block.
    pub const fn block(self) -> (usize, usize) {
        match self {
            FileType::F32 => (1, 4),
            FileType::F16 | FileType::Bf16 => (1, 2),
            FileType::Q8_0 => (32, 34),
            FileType::Q4_0 => (32, 18),
            FileType::Q4_1 => (32, 20),
            FileType::Q5_0 => (32, 22),
            FileType::Q5_1 => (32, 24),
            FileType::Q2K => (256, 84),
            FileType::Q3K => (256, 110),
            FileType::Q4K => (256, 144),
            FileType::Q5K => (256, 176),
            FileType::Q6K => (256, 210),
        }
    }

    /// Bytes of a row. None if a row of `columns` elements is not whole blocks.
    pub fn row_bytes(self, columns: u64) -> Option<u64> {
        let (elements, bytes) = self.block();
        columns
            .is_multiple_of(elements as u64)
            .then(|| (columns / elements as u64).checked_mul(bytes as u64))?
    }

    /// The canonical format: lossless where there is one, f16 for the rest. Their values are scales
    /// times quants of up to six bits, which f16's 11 bits represent better than bf16's.
    pub const fn format(self) -> Format {
        match self {
            FileType::F32 => Format::F32,
            FileType::Bf16 => Format::Bf16,
            FileType::Q8_0 => Format::Q8,
            FileType::Q4_0 | FileType::Q4_1 => Format::Q4,
            _ => Format::F16,
        }
    }

    /// Whether rows have the same bytes as in [`format`](Self::format).
    pub const fn is_native(self) -> bool {
        matches!(
            self,
            FileType::F32 | FileType::F16 | FileType::Bf16 | FileType::Q8_0 | FileType::Q4_1
        )
    }

    /// Decodes `bytes`, a row or several, into `row`.
    pub fn decode(self, bytes: &[u8], row: &mut [f32]) {
        let (elements, size) = self.block();
        let blocks = || bytes.chunks_exact(size);
        match self {
            FileType::F32 => format::decode(Format::F32, bytes, row),
            FileType::F16 => format::decode(Format::F16, bytes, row),
            FileType::Bf16 => format::decode(Format::Bf16, bytes, row),
            FileType::Q8_0 => format::decode(Format::Q8, bytes, row),
            FileType::Q4_1 => format::decode(Format::Q4, bytes, row),
            FileType::Q4_0 | FileType::Q5_0 | FileType::Q5_1 => {
                for (block, out) in blocks().zip(row.chunks_exact_mut(elements)) {
                    self.decode_small(block, out);
                }
            }
            _ => {
                for (block, out) in blocks().zip(row.chunks_exact_mut(elements)) {
                    match self {
                        FileType::Q2K => k::q2(block, out),
                        FileType::Q3K => k::q3(block, out),
                        FileType::Q4K => k::q4(block, out),
                        FileType::Q5K => k::q5(block, out),
                        _ => k::q6(block, out),
                    }
                }
            }
        }
    }

    /// Decodes blocks of 32: a scale, an optional minimum, an optional mask of fifth bits, nibbles.
    fn decode_small(self, block: &[u8], out: &mut [f32]) {
        let d = half(block, 0);
        let (m, at) = if self == FileType::Q5_1 {
            (half(block, 2), 4)
        } else {
            (0.0, 2)
        };
        let (fifth, at) = match self {
            FileType::Q4_0 => (0, at),
            _ => (
                u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]]),
                at + 4,
            ),
        };
        let zero = match self {
            FileType::Q4_0 => 8,
            FileType::Q5_0 => 16,
            _ => 0,
        };
        for (j, x) in out.iter_mut().enumerate() {
            let low = i32::from((block[at + j % 16] >> (4 * (j / 16))) & 15);
            let quant = (low | ((fifth >> j & 1) << 4) as i32) - zero;
            *x = d * quant as f32 + m;
        }
    }
}

/// Appends Q4_0 blocks as Q4_1: `d (q - 8) = d q + m` with `m = -8 d`, exact because eight is a
/// power of two. None if `m` exceeds the range of f16.
pub fn q4_0_to_q4_1(blocks: &[u8], out: &mut Vec<u8>) -> Option<()> {
    for block in blocks.chunks_exact(18) {
        let d = f16::from_le_bytes([block[0], block[1]]);
        let m = f16::from_f32(-8.0 * d.to_f32());
        if !m.is_finite() {
            return None;
        }
        out.extend(d.to_le_bytes());
        out.extend(m.to_le_bytes());
        out.extend(&block[2..]);
    }
    Some(())
}

fn half(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}
