// A matrix is read a word at a time.

alias Element = u32;
// A matrix in a texture, and what is read of it.
alias Texels = texture_storage_2d<r32uint, read>;
alias Texel = vec4<u32>;

fn from_texel(texel: Texel) -> Element {
    return texel.x;
}
