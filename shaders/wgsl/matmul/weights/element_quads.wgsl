// A matrix is read four f32s at a time.

alias Element = vec4<f32>;
// The type of a matrix in a texture, and of a texel that is read.
alias Texels = texture_storage_2d<rgba32float, read>;
alias Texel = vec4<f32>;

fn from_texel(texel: Texel) -> Element {
    return texel;
}
