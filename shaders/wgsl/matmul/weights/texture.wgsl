// A matrix in a storage texture, which is read without a level of detail. Elements are in the order
// of a buffer, row of texels after row of texels. Some adapters read textures faster than buffers:
// lavapipe reads buffer elements one invocation after another, but eight texels at once.

// The width that every adapter supports.
const TEXTURE_WIDTH: u32 = 8192u;

@group(1) @binding(1) var weight_texture: Texels;

// Element `at` of panel `panel`.
fn weight_element(panel: u32, at: u32) -> Element {
    let i = panel * PANEL_LENGTH + at;
    return from_texel(textureLoad(weight_texture, vec2<u32>(i % TEXTURE_WIDTH, i / TEXTURE_WIDTH)));
}
