//! How a kernel reads a packed matrix.

use gpt_plan::{Format, MatrixLayout};
use gpt_shaders::{files, variants, weights_file};

use crate::wgsl::header::{Files, Header};

/// Adds the files and sizes of a matrix in `format`.
pub fn weights(format: Format, layout: &MatrixLayout, header: &mut Header, files: &mut Files) {
    files.push(match layout.element_bytes {
        16 => files::MATMUL_WEIGHTS_ELEMENT_QUADS,
        8 => files::MATMUL_WEIGHTS_ELEMENT_PAIRS,
        _ => files::MATMUL_WEIGHTS_ELEMENT_WORDS,
    });
    header.format_size("PANEL_LENGTH", layout.panel_length, "elements of a panel");
    let doc = "quads of columns of a block";
    header.format_size("BLOCK_QUADS", layout.block_quads, doc);
    if layout.parts > 1 {
        let doc = "panels of every part but the last";
        header.format_size("PART_PANELS", layout.part_panels, doc);
    }
    files.extend(variants::buffers(layout.parts as usize));
    if !format.is_quantised() {
        files.push(files::MATMUL_WEIGHTS_UNQUANTIZED);
    }
    files.push(weights_file(format));
}
