// A matrix is read two words at a time.

alias Element = vec2<u32>;
// The type of a matrix in a texture, and of a texel that is read.
alias Texels = texture_storage_2d<rg32uint, read>;
alias Texel = vec4<u32>;

fn from_texel(texel: Texel) -> Element {
    return texel.xy;
}
