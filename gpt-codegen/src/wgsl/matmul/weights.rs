//! How a kernel reads a packed matrix.

use gpt_plan::{Format, MatrixLayout};
use gpt_shaders::{files, variants};

use crate::wgsl::header::{Header, Parts};

/// Adds the files and sizes of a matrix in `format`.
pub fn weights(format: Format, layout: &MatrixLayout, header: &mut Header, parts: &mut Parts) {
    let pairs = files::MATMUL_WEIGHTS_ELEMENT_PAIRS;
    let words = files::MATMUL_WEIGHTS_ELEMENT_WORDS;
    let (element, weight) = match format {
        Format::F32 => (
            files::MATMUL_WEIGHTS_ELEMENT_QUADS,
            files::MATMUL_WEIGHTS_F32,
        ),
        Format::F16 => (pairs, files::MATMUL_WEIGHTS_F16),
        Format::Bf16 => (pairs, files::MATMUL_WEIGHTS_BF16),
        Format::Q8 => (words, files::MATMUL_WEIGHTS_Q8),
        Format::Q4 => (words, files::MATMUL_WEIGHTS_Q4),
    };
    parts.push(element);
    header.size("PANEL_LENGTH", layout.panel_length, "elements of a panel");
    let doc = "quads of columns of a block";
    header.size("BLOCK_QUADS", layout.block_quads, doc);
    if layout.parts > 1 {
        let doc = "panels of every part but the last";
        header.size("PART_PANELS", layout.part_panels, doc);
    }
    parts.push(variants::BUFFERS[layout.parts as usize - 1]);
    if format.block() == 1 {
        parts.push(files::MATMUL_WEIGHTS_UNQUANTIZED);
    }
    parts.push(weight);
}
