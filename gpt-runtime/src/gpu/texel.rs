//! Formats of the textures that hold matrices.

use wgpu::{TextureFormat, TextureUsages};

/// Usage of a matrix as a texture.
pub const USAGE: TextureUsages = TextureUsages::STORAGE_BINDING.union(TextureUsages::COPY_DST);

/// The texture formats that the elements of weight formats use.
pub const FORMATS: [TextureFormat; 3] =
    [TextureFormat::Rgba32Float, TextureFormat::Rg32Uint, TextureFormat::R32Uint];

/// The format of elements of `element_bytes` bytes.
pub fn format(element_bytes: u32) -> TextureFormat {
    let [quads, pairs, words] = FORMATS;
    match element_bytes {
        16 => quads,
        8 => pairs,
        _ => words,
    }
}
