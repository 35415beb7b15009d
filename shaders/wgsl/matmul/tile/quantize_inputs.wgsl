// Inputs as signed bytes, four to a word, in blocks of 32 with a unit of their own, as llama.cpp rounds them; for products with weights that are bytes already.
// `dot4I8Packed` multiplies four of them and adds up, in one instruction where the hardware has it. Sums are whole numbers, and exact.

// What numbers of at most `greatest` are multiplied by to be bytes; nothing is left of a block of zeros, whatever it is.
fn quantize_factor(greatest: f32) -> f32 {
    return select(0.0, 127.0 / greatest, greatest > 1e-30);
}

fn pack_bytes(values: vec4<f32>, by: f32) -> u32 {
    return pack4xI8(vec4<i32>(round(values * by)));
}

// The sum of a word's bytes.
fn byte_sum(word: u32) -> i32 {
    return dot4I8Packed(word, 0x01010101u);
}
