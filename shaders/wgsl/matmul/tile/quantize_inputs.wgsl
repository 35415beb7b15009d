// Quantises inputs for products with weights that are bytes: to signed bytes, four to a word, in
// blocks of 32 with a scale each, rounded as in llama.cpp. `dot4I8Packed` multiplies four pairs of
// bytes and adds the products, in one instruction where the hardware has it. Integer sums are
// exact.

// The factor that scales magnitudes up to `greatest` to bytes; zero for a block of zeros.
fn quantize_factor(greatest: f32) -> f32 {
    return select(0.0, 127.0 / greatest, greatest > 1e-30);
}

// Four values as a word of bytes; `by` is the factor of their block.
fn pack_bytes(values: vec4<f32>, by: f32) -> u32 {
    return pack4xI8(vec4<i32>(round(values * by)));
}

// The sum of a word's bytes.
fn byte_sum(word: u32) -> i32 {
    return dot4I8Packed(word, 0x01010101u);
}
