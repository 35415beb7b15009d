//! Blocks of 32 nibbles that are indices into a table of 16 integers, times a scale: IQ4_NL and
//! MXFP4. The integers fit in a byte, so a block has the values of a block of Q8_0, if f16 can
//! represent its scale.

use half::f16;

use super::{FileType, half};

/// ggml's `kvalues_iq4nl`.
const NONLINEAR: [i8; 16] =
    [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/// Twice the values of a 4-bit float with two bits of exponent (E2M1 of OCP's microscaling
/// formats).
const E2M1: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

/// The scale and the integers of a block.
fn block(kind: FileType, block: &[u8]) -> (f32, [i8; 32]) {
    let (scale, nibbles, codebook) = match kind {
        FileType::Mxfp4 => {
            // An exponent of base 2 with bias 127; one less, because the integers are doubled.
            (2f64.powi(i32::from(block[0]) - 128) as f32, &block[1..], &E2M1)
        }
        _ => (half(block, 0), &block[2..], &NONLINEAR),
    };
    let integer = |i: usize| codebook[usize::from(nibbles[i % 16] >> (i / 16 * 4) & 15)];
    (scale, std::array::from_fn(integer))
}

/// Decodes a block.
pub fn decode(kind: FileType, bytes: &[u8], out: &mut [f32]) {
    let (scale, integers) = block(kind, bytes);
    for (x, integer) in out.iter_mut().zip(integers) {
        *x = scale * f32::from(integer);
    }
}

/// Appends a block of Q8_0 with the same values. None if f16 cannot represent its scale.
pub fn convert(kind: FileType, bytes: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let (mut scale, integers) = block(kind, bytes);
    if integers == [0; 32] {
        scale = 0.0;
    }
    let stored = f16::from_f32(scale);
    if stored.to_f32() != scale {
        return None;
    }
    out.extend(stored.to_le_bytes());
    out.extend(integers.map(i8::cast_unsigned));
    Some(())
}
