//! Decodes the element types of safetensors and the block types of GGUF.
//!
//! Some types have the bytes of a canonical [`Format`]. Others convert to one without loss: Q4_0
//! and Q5_0 to Q4_1 and Q5_1, Q3_K to Q6_K, IQ4_NL and MXFP4 to Q8_0. Q2_K is decoded and held in
//! f16. Layouts follow ggml's `ggml-common.h`; tests compare each type with values of the reference
//! implementation.

mod codebook;
mod k;
#[cfg(test)]
mod tests;

use gpt_plan::Format;
use half::f16;

use super::format;

/// A row of the table.
struct Row {
    name: &'static str,
    gguf: u32,
    block: (usize, usize),
    format: Format,
}

/// Declares the types: the name and number in GGUF, the elements and bytes of a block, and the
/// canonical format.
macro_rules! file_types {
    ($($kind:ident: $name:literal, $gguf:literal, $block:expr, $format:ident;)+) => {
        /// An element or block type of a file.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum FileType {
            $($kind,)+
        }

        impl FileType {
            /// All types.
            const ALL: &'static [FileType] = &[$(FileType::$kind),+];

            const ROWS: &'static [Row] = &[
                $(Row { name: $name, gguf: $gguf, block: $block, format: Format::$format }),+
            ];
        }
    };
}

file_types! {
    F32: "F32", 0, (1, 4), F32;
    F16: "F16", 1, (1, 2), F16;
    Bf16: "BF16", 30, (1, 2), Bf16;
    Q8_0: "Q8_0", 8, (32, 34), Q8;
    Q4_0: "Q4_0", 2, (32, 18), Q4;
    Q4_1: "Q4_1", 3, (32, 20), Q4;
    Q5_0: "Q5_0", 6, (32, 22), Q5;
    Q5_1: "Q5_1", 7, (32, 24), Q5;
    Q2K: "Q2_K", 10, (256, 84), F16;
    Q3K: "Q3_K", 11, (256, 110), Q6K;
    Q4K: "Q4_K", 12, (256, 144), Q4K;
    Q5K: "Q5_K", 13, (256, 176), Q5K;
    Q6K: "Q6_K", 14, (256, 210), Q6K;
    Iq4Nl: "IQ4_NL", 20, (32, 18), Q8;
    Mxfp4: "MXFP4", 39, (32, 17), Q8;
}

impl FileType {
    const fn row(self) -> &'static Row {
        &FileType::ROWS[self as usize]
    }

    /// The name as GGUF spells it.
    pub const fn name(self) -> &'static str {
        self.row().name
    }

    /// The number of the type in GGUF.
    pub const fn gguf(self) -> u32 {
        self.row().gguf
    }

    /// Elements and bytes of a block.
    pub const fn block(self) -> (usize, usize) {
        self.row().block
    }

    /// The canonical format: a lossless one if there is one, otherwise (Q2_K) f16, which is more
    /// precise than bf16, because its significand has 11 bits.
    pub const fn format(self) -> Format {
        self.row().format
    }

    /// The type with GGUF's number `id`, if it is supported.
    pub fn from_gguf(id: u32) -> Option<FileType> {
        FileType::ALL.iter().copied().find(|kind| kind.gguf() == id)
    }

    /// The names of all types, for messages.
    pub fn names() -> String {
        let names: Vec<&str> = FileType::ALL.iter().map(|kind| kind.name()).collect();
        names.join(", ")
    }

    /// The type whose rows have the bytes of `format`.
    pub fn of(format: Format) -> FileType {
        let is = |kind: &FileType| kind.is_native() && kind.format() == format;
        let found = FileType::ALL.iter().copied().find(is);
        found.unwrap_or_else(|| panic!("GGUF has no type for {format:?}"))
    }

    /// Bytes of a row. None if `columns` is not a multiple of the block.
    pub fn row_bytes(self, columns: u64) -> Option<u64> {
        let (elements, bytes) = self.block();
        columns
            .is_multiple_of(elements as u64)
            .then(|| (columns / elements as u64).checked_mul(bytes as u64))?
    }

    /// Whether rows have the same bytes as in [`format`](Self::format).
    pub fn is_native(self) -> bool {
        let format = self.format();
        self.block() == (format.block(), format.block_bytes())
    }

    /// Whether [`convert`](Self::convert) supports the type.
    pub fn is_lossless(self) -> bool {
        self.is_native() || !matches!(self, FileType::Q2K)
    }

    /// Appends `bytes` in [`format`](Self::format) without loss. Bytes of a native type are copied;
    /// blocks of Q4_0 and Q5_0 get the minimum that equals their offset. None if a minimum or a
    /// scale exceeds the range of f16, or if the type has no lossless format.
    pub fn convert(self, bytes: &[u8], out: &mut Vec<u8>) -> Option<()> {
        if self.is_native() {
            out.extend_from_slice(bytes);
            return Some(());
        }
        let size = self.block().1;
        let mut blocks = bytes.chunks_exact(size);
        match self {
            FileType::Q4_0 => add_minima(bytes, size, 8.0, out),
            FileType::Q5_0 => add_minima(bytes, size, 16.0, out),
            FileType::Q3K => {
                blocks.for_each(|block| k::q3_as_q6(block, out));
                Some(())
            }
            FileType::Iq4Nl | FileType::Mxfp4 => {
                blocks.try_for_each(|block| codebook::convert(self, block, out))
            }
            _ => None,
        }
    }

    /// Decodes `bytes`, one or more rows, into `row`.
    pub fn decode(self, bytes: &[u8], row: &mut [f32]) {
        let (elements, size) = self.block();
        let blocks = || bytes.chunks_exact(size);
        match self {
            _ if self.is_native() => format::decode(self.format(), bytes, row),
            _ => {
                for (block, out) in blocks().zip(row.chunks_exact_mut(elements)) {
                    match self {
                        FileType::Q2K => k::q2(block, out),
                        FileType::Q3K => k::q3(block, out),
                        FileType::Iq4Nl | FileType::Mxfp4 => codebook::decode(self, block, out),
                        _ => self.decode_small(block, out),
                    }
                }
            }
        }
    }

    /// Decodes a block of Q4_0 or Q5_0: a scale, the fifth bits (Q5_0), and nibbles.
    fn decode_small(self, block: &[u8], out: &mut [f32]) {
        let d = half(block, 0);
        let (fifth, quants, zero) = match self {
            FileType::Q4_0 => (0, &block[2..], 8),
            _ => (u32::from_le_bytes([block[2], block[3], block[4], block[5]]), &block[6..], 16),
        };
        for (j, x) in out.iter_mut().enumerate() {
            let low = i32::from((quants[j % 16] >> (4 * (j / 16))) & 15);
            let quant = (low | ((fifth >> j & 1) << 4) as i32) - zero;
            *x = d * quant as f32;
        }
    }
}

/// Appends blocks of `size` bytes with a minimum after their scale: `d (q - offset) = d q + m` with
/// `m = -offset d`, exact because `offset` is a power of two. None if `m` exceeds the range of f16.
fn add_minima(blocks: &[u8], size: usize, offset: f32, out: &mut Vec<u8>) -> Option<()> {
    for block in blocks.chunks_exact(size) {
        let d = f16::from_le_bytes([block[0], block[1]]);
        let m = f16::from_f32(-offset * d.to_f32());
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
