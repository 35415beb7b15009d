//! Decodes stored bytes to f64, which represents the values of all formats exactly.

use gpt_plan::Format;
use gpt_runtime::weights::HostTensor;
use half::{bf16, f16};

use super::Matrix;

/// The values of a stored tensor, without the padding of rows.
pub fn dequantise(tensor: &HostTensor<'_>) -> Matrix {
    let row_bytes = tensor.format.row_bytes(tensor.columns);
    assert_eq!(tensor.data.len(), tensor.rows * row_bytes, "bytes of a stored tensor");
    let rows = tensor.data.chunks_exact(row_bytes).map(|row| {
        let blocks = row.chunks_exact(tensor.format.block_bytes());
        let mut values: Vec<f64> = blocks.flat_map(|b| block(tensor.format, b)).collect();
        values.truncate(tensor.columns);
        values
    });
    Matrix::from_rows(tensor.columns, rows)
}

/// The values of one block: a single number, or 32 or 256 numbers that share scales.
fn block(format: Format, bytes: &[u8]) -> Vec<f64> {
    let half = |at: usize| f16::from_le_bytes([bytes[at], bytes[at + 1]]).to_f64();
    match format {
        Format::F32 => {
            let bytes = bytes.try_into().expect("an f32 has four bytes");
            vec![f64::from(f32::from_le_bytes(bytes))]
        }
        Format::F16 => vec![half(0)],
        Format::Bf16 => vec![bf16::from_le_bytes([bytes[0], bytes[1]]).to_f64()],
        Format::Q8 => {
            let scale = half(0);
            let quants = bytes[2..].iter();
            quants.map(|&q| scale * f64::from(q.cast_signed())).collect()
        }
        Format::Q4 => {
            let (scale, minimum) = (half(0), half(2));
            // The low nibbles are the first sixteen elements, the high ones the rest.
            let quants = bytes[4..].iter();
            let low = quants.clone().map(|byte| byte & 15);
            let high = quants.map(|byte| byte >> 4);
            low.chain(high).map(|q| scale * f64::from(q) + minimum).collect()
        }
        Format::Q5 => {
            let (scale, minimum) = (half(0), half(2));
            let fifth = u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
            let quant = |column: usize| {
                let nibble = bytes[8 + column % 16] >> (column / 16 * 4) & 15;
                u32::from(nibble) + 16 * (fifth >> column & 1)
            };
            (0..32).map(|column| scale * f64::from(quant(column)) + minimum).collect()
        }
        Format::Q4K | Format::Q5K => {
            let (scale, minimum) = (half(0), half(2));
            // The k-th of 16 six-bit integers: eight scales, then eight minima.
            let six_bits = |k: usize| {
                let (j, is_minimum) = (k % 8, k / 8);
                let byte = bytes[4 + 4 * is_minimum + j % 4];
                if j < 4 {
                    return f64::from(byte & 0x3f);
                }
                f64::from(byte >> 6 << 4 | bytes[12 + j % 4] >> (4 * is_minimum) & 0xf)
            };
            let nibbles = &bytes[bytes.len() - 128..];
            let quant = |i: usize| {
                let nibble = nibbles[i / 64 * 32 + i % 32] >> (i / 32 % 2 * 4) & 0xf;
                let fifth = match format {
                    Format::Q5K => bytes[16 + i % 32] >> (i / 32) & 1,
                    _ => 0,
                };
                f64::from(nibble + 16 * fifth)
            };
            let value =
                |i: usize| scale * six_bits(i / 32) * quant(i) - minimum * six_bits(8 + i / 32);
            (0..256).map(value).collect()
        }
        Format::Q6K => {
            let scale = half(208);
            let value = |i: usize| {
                let (half, quarter, column) = (i / 128, i / 32 % 4, i % 32);
                let low = bytes[64 * half + 32 * (quarter & 1) + column] >> (4 * (quarter / 2));
                let high = bytes[128 + 32 * half + column] >> (2 * quarter);
                let quant = f64::from(16 * (high & 3) + (low & 15)) - 32.0;
                scale * f64::from(bytes[192 + i / 16].cast_signed()) * quant
            };
            (0..256).map(value).collect()
        }
    }
}
