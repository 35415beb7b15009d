//! Storage formats of a matrix. Each is a row of one table.
//!
//! A row of a matrix is stored in blocks that never cross into the next row. A format that is not
//! quantised has blocks of one number. A quantised block has an f16 scale, an f16 minimum if the
//! format has one, and integers, its quants.
//!
//! GGUF's k-quants have blocks of 256. A sub-block of 32 has its own *fine* scales and minima:
//! integers of up to 8 bits, each multiplied by an f16 of the block. In a format with two fine
//! scales, each half of a sub-block has one.
//!
//! The host stores a block as GGUF does. Engines store it in another order, without loss: the f16
//! values, then the quants of all sub-blocks, then a byte for each fine scale and minimum. The f16
//! that multiplies fine minima changes its sign. The layouts on the GPU
//! ([`MatrixLayout`](crate::MatrixLayout)) and in the panels of the CPU are derived from that
//! order.
//!
//! The code that encodes and decodes a block is in `gpt-runtime`, `weights/format` (on the host),
//! in `gpt-simd`, `quants` (in panels), and in `shaders`, `matmul/weights/NAME.wgsl`.

use serde::Serialize;

/// Columns of a sub-block: a whole quantised block, or a part of one that has its own scales.
pub const SUB_BLOCK: usize = 32;

/// A row of the table.
struct Row {
    name: &'static str,
    /// Elements and bytes of a block on the host.
    block: [usize; 2],
    /// Bits of an element, without its scales.
    bits: usize,
    scales: usize,
    fine: [usize; 2],
}

/// Declares the formats: the name, the elements and bytes of a block on the host, the bits of an
/// element, the number of f16 values of a block, and the numbers of fine scales and fine minima of
/// a sub-block.
macro_rules! formats {
    ($($(#[$doc:meta])* $format:ident: $name:literal, $block:expr, $bits:literal, $scales:literal, $fine:expr;)+) => {
        /// The storage format of a matrix in memory, and in a file that needs no conversion.
        #[derive(Clone, Copy, Debug, Serialize, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Format {
            $($(#[$doc])* $format,)+
        }

        impl Format {
            /// All formats, in the order of
            /// [`KernelChoice::ByFormat`](crate::KernelChoice::ByFormat).
            pub const ALL: [Format; Format::ROWS.len()] = [$(Format::$format),+];

            const ROWS: [Row; [$($name),+].len()] =
                [$(Row { name: $name, block: $block, bits: $bits, scales: $scales, fine: $fine }),+];
        }
    };
}

formats! {
    /// IEEE single precision.
    F32: "f32", [1, 4], 32, 0, [0, 0];
    /// IEEE half precision.
    F16: "f16", [1, 2], 16, 0, [0, 0];
    /// The upper half of an f32.
    Bf16: "bf16", [1, 2], 16, 0, [0, 0];
    /// Blocks of 32 along a row: an f16 scale `d` and 32 signed bytes, `w = d q` (GGUF's Q8_0).
    Q8: "q8", [32, 34], 8, 1, [0, 0];
    /// Blocks of 256 along a row: an f16 `d`, a signed byte `s` for each 16 columns and quants of 6
    /// bits, `w = d s (q - 32)` (GGUF's Q6_K).
    Q6K: "q6_k", [256, 210], 6, 1, [2, 0];
    /// Blocks of 32 along a row: f16 `d` and `m`, 32 fifth bits and 32 nibbles, `w = d q + m`
    /// (GGUF's Q5_1; Q5_0 is the case `m = -16 d`).
    Q5: "q5", [32, 24], 5, 2, [0, 0];
    /// Blocks of 256 along a row: f16 `d` and `e`, 6-bit `s` and `m` for each 32 columns, and
    /// quants of 5 bits, `w = d s q - e m` (GGUF's Q5_K).
    Q5K: "q5_k", [256, 176], 5, 2, [1, 1];
    /// Blocks of 32 along a row: f16 `d` and `m`, and 32 nibbles, `w = d q + m` (GGUF's Q4_1; Q4_0
    /// is the case `m = -8 d`).
    Q4: "q4", [32, 20], 4, 2, [0, 0];
    /// Blocks of 256 along a row: f16 `d` and `e`, 6-bit `s` and `m` for each 32 columns, and
    /// nibbles, `w = d s q - e m` (GGUF's Q4_K).
    Q4K: "q4_k", [256, 144], 4, 2, [1, 1];
}

impl Format {
    #[inline]
    const fn row(self) -> &'static Row {
        &Format::ROWS[self as usize]
    }

    /// The name used on the command line, and in the names of kernels and of WGSL files.
    #[inline]
    pub const fn name(self) -> &'static str {
        self.row().name
    }

    /// Elements of a block; a row is padded to whole blocks.
    #[inline]
    pub const fn block(self) -> usize {
        self.row().block[0]
    }

    /// Bytes of one block on the host.
    #[inline]
    pub const fn block_bytes(self) -> usize {
        self.row().block[1]
    }

    /// The number of f16 values of a block: 0, 1 (a scale), or 2 (a scale and a minimum).
    #[inline]
    pub const fn scales(self) -> usize {
        self.row().scales
    }

    /// Whether elements are integers that share a scale.
    #[inline]
    pub const fn is_quantised(self) -> bool {
        self.scales() > 0
    }

    /// Bytes of a row of `columns` elements on the host.
    #[inline]
    pub const fn row_bytes(self, columns: usize) -> usize {
        columns.div_ceil(self.block()) * self.block_bytes()
    }

    /// The numbers of fine scales and fine minima of a sub-block, which are integers of up to 8
    /// bits. Formats with blocks of 32 have none.
    #[inline]
    pub const fn fine(self) -> [usize; 2] {
        self.row().fine
    }

    /// Whether this is one of GGUF's k-quants, whose scales are quantised too.
    #[inline]
    pub const fn is_k_quant(self) -> bool {
        self.row().fine[0] > 0
    }

    /// Sub-blocks of a quantised block.
    #[inline]
    pub const fn sub_blocks(self) -> usize {
        self.block() / SUB_BLOCK
    }

    /// Bytes of the quants of a sub-block of a quantised format.
    #[inline]
    pub const fn quant_bytes(self) -> usize {
        self.row().bits * SUB_BLOCK / 8
    }

    /// Bytes of a block as engines store it: its f16 values, and for each sub-block its quants and
    /// a byte for each fine scale and minimum.
    #[inline]
    pub const fn packed_bytes(self) -> usize {
        if !self.is_quantised() {
            return self.block_bytes();
        }
        let [scales, minima] = self.fine();
        2 * self.scales() + self.sub_blocks() * (self.quant_bytes() + scales + minima)
    }

    /// Words of 32 bits of a quantised block on the GPU: its quants, its fine scales and minima,
    /// and one word for its f16 values.
    #[inline]
    pub const fn block_words(self) -> usize {
        (self.packed_bytes() - 2 * self.scales()) / 4 + 1
    }

    /// The quantised format with the fewest bytes, among those with blocks of 32, which pad rows
    /// the least.
    pub fn smallest() -> Format {
        let bytes = |format: &Format| format.row_bytes(1 << 20);
        let any_width = Format::ALL.into_iter().filter(|format| format.block() <= SUB_BLOCK);
        any_width.min_by_key(bytes).unwrap_or(Format::F32)
    }
}
