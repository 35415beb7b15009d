//! Matrix products: the projections of inference on packed weights (`projection`), and the products
//! of training on row-major weights, forward and backward (`gemm`).

mod gemm;
mod projection;
mod weights;

use gpt_shaders::files;

pub use projection::projection;
pub use weights::weights;

/// The file of rotary embeddings.
pub fn rope(rotary: bool) -> &'static str {
    if rotary {
        files::ROPE_PAIRS
    } else {
        files::ROPE_NONE
    }
}
