// A matrix is read one word at a time.

alias Element = u32;
// The type of a matrix in a texture, and of a texel that is read.
alias Texels = texture_storage_2d<r32uint, read>;
alias Texel = vec4<u32>;

fn from_texel(texel: Texel) -> Element {
    return texel.x;
}
