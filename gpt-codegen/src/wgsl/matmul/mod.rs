//! Matrix products: the projections of inference on packed weights (`projection`), and the products
//! of training on row-major weights, forward and backward (`gemm`).

mod gemm;
mod projection;
mod weights;

use gpt_plan::Spec;
use gpt_shaders::files;

use super::header::{Files, Header};

pub use projection::projection;
pub use weights::weights;

/// Adds the rotation of queries and keys by the angles of table `rotary`. The buffer of angles has,
/// for each position, the angles of all tables.
pub fn rope(spec: &Spec, rotary: Option<u16>, header: &mut Header, files: &mut Files) {
    let Some(table) = rotary else {
        files.push(files::ROPE_NONE);
        return;
    };
    let pairs = spec.head_dim / 2;
    let tables = spec.rotary_tables().len() as u32;
    header.size("ANGLES_STRIDE", tables * pairs, "angles of a position");
    let doc = "offset of the table among the angles of a position";
    header.size("ANGLES_OFFSET", u32::from(table) * pairs, doc);
    files.push(files::ROPE_PAIRS);
}
