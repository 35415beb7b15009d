// The elements of `roofline/read` in a texture.

// Texels of a row.
const TEXTURE_WIDTH: u32 = 8192u;

@group(0) @binding(0) var x: texture_storage_2d<rgba32float, read>;

fn element(at: u32) -> vec4<f32> {
    return textureLoad(x, vec2<u32>(at % TEXTURE_WIDTH, at / TEXTURE_WIDTH));
}
