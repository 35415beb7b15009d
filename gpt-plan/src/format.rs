//! Storage formats of a matrix. Each is a row of one table.
//!
//! A row of a matrix is stored in blocks that never cross into the next row. A format that is not
//! quantised has blocks of one number. A quantised block has an f16 scale, then an f16 minimum if
//! the format has one, then its quants. The layouts on the GPU and in the panels of the CPU are
//! derived from this one: [`MatrixLayout`](crate::MatrixLayout) stores the quants of a block in
//! words and its scales in the word after them.
//!
//! The code that encodes and decodes a block is in `gpt-runtime`, `weights/format` (on the host),
//! in `gpt-simd`, `quants` (in panels), and in `shaders`, `matmul/weights/NAME.wgsl`.

use serde::Serialize;

/// A row of the table.
struct Row {
    name: &'static str,
    /// Elements and bytes of a block.
    block: [usize; 2],
    scales: usize,
}

/// Declares the formats: the name, the elements and bytes of a block, and the number of f16 that
/// open it.
macro_rules! formats {
    ($($(#[$doc:meta])* $format:ident: $name:literal, $block:expr, $scales:literal;)+) => {
        /// The storage format of a matrix in memory, and in a file that needs no conversion.
        #[derive(Clone, Copy, Debug, Serialize, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Format {
            $($(#[$doc])* $format,)+
        }

        impl Format {
            /// All formats, in the order of [`KernelChoice::ByFormat`](crate::KernelChoice::ByFormat).
            pub const ALL: [Format; Format::ROWS.len()] = [$(Format::$format),+];

            const ROWS: [Row; [$($name),+].len()] =
                [$(Row { name: $name, block: $block, scales: $scales }),+];
        }
    };
}

formats! {
    /// IEEE single precision.
    F32: "f32", [1, 4], 0;
    /// IEEE half precision.
    F16: "f16", [1, 2], 0;
    /// The upper half of an f32.
    Bf16: "bf16", [1, 2], 0;
    /// Blocks of 32 along a row: an f16 scale `d` and 32 signed bytes, `w = d q` (GGUF's Q8_0).
    Q8: "q8", [32, 34], 1;
    /// Blocks of 32 along a row: f16 `d` and `m`, 32 fifth bits and 32 nibbles, `w = d q + m` (GGUF's
    /// Q5_1; Q5_0 is the case `m = -16 d`).
    Q5: "q5", [32, 24], 2;
    /// Blocks of 32 along a row: f16 `d` and `m`, and 32 nibbles, `w = d q + m` (GGUF's Q4_1; Q4_0
    /// is the case `m = -8 d`).
    Q4: "q4", [32, 20], 2;
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

    /// The number of f16 that open a block: 0, 1 (a scale), or 2 (a scale and a minimum).
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

    /// Words of 32 bits of a quantised block on the GPU: its quants, and one word of scales.
    #[inline]
    pub const fn block_words(self) -> usize {
        (self.block_bytes() - 2 * self.scales()) / 4 + 1
    }

    /// The quantised format with the fewest bytes.
    pub fn smallest() -> Format {
        let bytes = |format: &Format| format.row_bytes(1 << 20);
        Format::ALL.into_iter().min_by_key(bytes).unwrap_or(Format::F32)
    }
}
