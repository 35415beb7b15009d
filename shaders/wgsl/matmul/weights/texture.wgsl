// A matrix in a texture, however large: its elements lie in the order of a buffer's, and a row of texels follows another. It is a storage texture, as those are read
// without a level of detail. Some adapters read textures faster than buffers: lavapipe reads an element of a buffer for one invocation after another, and eight texels at once.

// As wide as every adapter's may be.
const TEXTURE_WIDTH: u32 = 8192u;

@group(1) @binding(1) var weight_texture: Texels;

// Element `at` of panel `panel`.
fn weight_element(panel: u32, at: u32) -> Element {
    let i = panel * PANEL_LENGTH + at;
    return from_texel(textureLoad(weight_texture, vec2<u32>(i % TEXTURE_WIDTH, i / TEXTURE_WIDTH)));
}
