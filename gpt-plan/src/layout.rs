//! The layout of a packed matrix on the GPU, shared by the compiler, which writes the sizes into
//! shaders, and the engine, which packs matrices.
//!
//! Rows are stored in panels of [`PANEL`]. For each group of columns a panel holds an element of
//! each of its rows, side by side, so that neighbouring invocations read neighbouring elements. The
//! format defines an element: four f32, four f16 in two words, or a word of a quantised block. Such
//! a block has its quants, then its fine scales, then its f16 values. Rows and columns are padded
//! with zeros. A matrix larger than [`MAX_BINDING`] has several parts, each a whole number of
//! strips.

use crate::{Epilogue, Format, MAX_BINDING, Op, SUB_BLOCK};

/// Rows of a panel: enough for a whole cache line, few enough that an adapter which runs eight
/// invocations at a time (lavapipe) reads a panel from beginning to end.
pub const PANEL: u32 = 8;

/// Rows of a strip, which neighbouring invocations compute together. Matrices are padded to whole
/// strips, and the strips of a gated MLP's two halves alternate.
pub const STRIP: u32 = 32;

/// The most rows that a matrix may have: a strip for each of 65,535 workgroups, WebGPU's default
/// limit along an axis.
pub const MAX_ROWS: u32 = 65_535 * STRIP;

/// Width of a matrix in a texture, and its largest height: WebGPU's default limit.
pub const TEXTURE_WIDTH: u32 = 8_192;

/// The layout of one matrix in one format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MatrixLayout {
    /// Panels, including those that pad the last strip.
    pub panels: u32,
    /// Elements of a panel.
    pub panel_length: u32,
    /// Bytes of an element, a `vec4<f32>`, `vec2<u32>` or `u32`.
    pub element_bytes: u32,
    /// Quads of columns that a shader reads together: a sub-block of a quantised format, otherwise
    /// 8, 4, 2 or 1, the greatest that divides the quads of a row. Shaders call them a block.
    pub block_quads: u32,
    /// Blocks of a row.
    pub blocks: u32,
    /// Bindings that the matrix takes.
    pub parts: u32,
    /// Panels of every part but the last.
    pub part_panels: u32,
}

impl MatrixLayout {
    /// The layout of `rows x columns` in `format`; `None` if a strip is larger than a binding, or
    /// if a size overflows.
    pub fn new(format: Format, rows: u64, columns: u64) -> Option<MatrixLayout> {
        // Elements of a row.
        let (blocks, block_quads, length, element_bytes) = if format.is_quantised() {
            let whole = columns.div_ceil(format.block() as u64);
            let length = whole.checked_mul(format.block_words() as u64)?;
            (columns.div_ceil(SUB_BLOCK as u64), SUB_BLOCK as u64 / 4, length, 4)
        } else {
            let quads = columns.div_ceil(4);
            let block = [8, 4, 2, 1].into_iter().find(|n| quads.is_multiple_of(*n))?;
            (quads / block, block, quads, 4 * format.block_bytes() as u64)
        };
        let panel_length = length.checked_mul(u64::from(PANEL))?;
        let panel_bytes = panel_length.checked_mul(element_bytes)?;
        let panels = rows.next_multiple_of(u64::from(STRIP)) / u64::from(PANEL);
        // A strip is in one part.
        let most = MAX_BINDING / panel_bytes.max(1) / 4 * 4;
        if most == 0 {
            return None;
        }
        Some(MatrixLayout {
            panels: u32::try_from(panels).ok()?,
            panel_length: u32::try_from(panel_length).ok()?,
            element_bytes: element_bytes as u32,
            block_quads: block_quads as u32,
            blocks: blocks as u32,
            parts: u32::try_from(panels.div_ceil(most)).ok()?,
            part_panels: most.min(panels) as u32,
        })
    }

    /// Bytes of a panel.
    pub const fn panel_bytes(&self) -> u64 {
        self.panel_length as u64 * self.element_bytes as u64
    }

    /// Height of the matrix as a texture, one element per texel; `None` if it exceeds the limit.
    pub fn texture_rows(&self) -> Option<u32> {
        let elements = u64::from(self.panels) * u64::from(self.panel_length);
        let rows = elements.div_ceil(u64::from(TEXTURE_WIDTH));
        u32::try_from(rows).ok().filter(|rows| *rows <= TEXTURE_WIDTH)
    }

    /// The panels of part `part`.
    pub fn panels_of(&self, part: u32) -> std::ops::Range<u32> {
        let start = part * self.part_panels;
        start..(start + self.part_panels).min(self.panels)
    }
}

/// The most parts that a step's matrix may have. With the step's inputs and outputs they fill the
/// eight storage bindings that every adapter has. A step that adds to the residual stream has one
/// more input. The step that fills the cache has two more outputs and reads the rotary angles. So
/// their matrices have fewer parts.
pub const MAX_PARTS: u32 = 5;
/// [`MAX_PARTS`] of a projection into the residual stream.
pub const MAX_PARTS_RESIDUAL: u32 = 4;
/// [`MAX_PARTS`] of the projection to queries, keys and values.
pub const MAX_PARTS_QKV: u32 = 2;

impl Op {
    /// The most parts that the matrix of an inference step may have.
    pub const fn max_parts(&self) -> u32 {
        match self {
            Op::Project(projection) => match projection.epilogue {
                Epilogue::Heads { .. } => MAX_PARTS_QKV,
                Epilogue::Residual { .. } => MAX_PARTS_RESIDUAL,
                Epilogue::Store { .. } | Epilogue::Activation { .. } => MAX_PARTS,
            },
            // Token types take a binding.
            Op::Embed { types: Some(_), .. } => MAX_PARTS - 1,
            Op::Embed { types: None, .. } => MAX_PARTS,
            _ => 0,
        }
    }
}
