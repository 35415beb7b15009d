//! Packs a matrix in the order that shaders read: panels of eight rows, interleaved element by
//! element ([`MatrixLayout`]).
//!
//! A panel is written sequentially from eight rows that are read together, in elements whose size
//! is a compile-time constant.

use std::ops::Range;

use gpt_plan::{Format, MatrixLayout, PANEL, STRIP};
use half::f16;

use crate::threads;
use crate::weights::HostTensor;
use crate::weights::format::{k, packed_block};

/// The most bytes that one thread packs before another thread is used.
const SHARE: usize = 512 << 10;

/// Rows of a panel.
const LANES: usize = PANEL as usize;

/// Packs one matrix after another into the same memory: fresh memory for each large matrix would
/// cost more than packing it.
pub struct Packer {
    threads: usize,
    packed: Vec<u8>,
}

impl Packer {
    pub fn new() -> Packer {
        Packer {
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            packed: Vec::new(),
        }
    }

    /// Packs `panels` of `tensor`. In a gated MLP (`halves` is 2), strips of gate and up alternate.
    pub fn pack(
        &mut self,
        tensor: &HostTensor<'_>,
        layout: &MatrixLayout,
        halves: u32,
        panels: Range<u32>,
    ) -> &mut Vec<u8> {
        let bytes = layout.panel_bytes() as usize;
        let total = panels.len() * bytes;
        // Old content is overwritten: panels have no gaps.
        self.packed.resize(total, 0);
        let threads = self.threads.min(total.div_ceil(SHARE)).max(1);
        let share = panels.len().div_ceil(threads).max(1);
        let missing = vec![0; tensor.format.row_bytes(tensor.columns)];
        let fill = |first: u32, out: &mut [u8]| {
            for (panel, out) in (first..).zip(out.chunks_mut(bytes)) {
                fill(tensor, &rows(tensor, halves, panel, &missing), out);
            }
        };
        let mut shares = self.packed.chunks_mut(share * bytes);
        let own = shares.next();
        std::thread::scope(|scope| {
            for (i, out) in (1..).zip(shares) {
                threads::spawn(scope, move || fill(panels.start + (i * share) as u32, out));
            }
            if let Some(own) = own {
                fill(panels.start, own);
            }
        });
        &mut self.packed
    }
}

/// The rows of a panel; `missing` stands for rows beyond the matrix.
fn rows<'a>(
    tensor: &'a HostTensor<'_>,
    halves: u32,
    panel: u32,
    missing: &'a [u8],
) -> [&'a [u8]; LANES] {
    let height = tensor.rows / halves as usize;
    let strip = panel * PANEL / STRIP;
    let half = (strip % halves) as usize;
    let first = (strip / halves * STRIP + panel * PANEL % STRIP) as usize;
    std::array::from_fn(|lane| match first + lane < height {
        true => &tensor.data[(half * height + first + lane) * missing.len()..][..missing.len()],
        false => missing,
    })
}

/// Fills `out` with the panel of `rows`.
fn fill(tensor: &HostTensor<'_>, rows: &[&[u8]; LANES], out: &mut [u8]) {
    let format = tensor.format;
    match (format.scales(), format.block_bytes()) {
        (0, 4) => interleave::<16>(rows, out),
        (0, _) => interleave::<8>(rows, out),
        _ => interleave_blocks(rows, format, out),
    }
}

/// Interleaves rows by elements of `SIZE` bytes. The last element may be incomplete and is padded
/// with zeros.
fn interleave<const SIZE: usize>(rows: &[&[u8]; LANES], out: &mut [u8]) {
    for (at, out) in out.chunks_exact_mut(SIZE * LANES).enumerate() {
        for (row, out) in rows.iter().zip(out.as_chunks_mut::<SIZE>().0) {
            let rest = &row[at * SIZE..];
            match rest.first_chunk() {
                Some(element) => *out = *element,
                None => {
                    let (there, beyond) = out.split_at_mut(rest.len());
                    there.copy_from_slice(rest);
                    beyond.fill(0);
                }
            }
        }
    }
}

/// Interleaves rows by words: the quants of each block and its fine scales and minima, then a word
/// for its f16 values. Two of them fill a word; a single one is widened to f32.
fn interleave_blocks(rows: &[&[u8]; LANES], format: Format, out: &mut [u8]) {
    let (bytes, words) = (format.block_bytes(), format.block_words());
    let mut memory = [0; k::MOST_BYTES];
    for (at, out) in out.chunks_exact_mut(4 * words * LANES).enumerate() {
        let (quants, last) = out.as_chunks_mut::<4>().0.split_at_mut((words - 1) * LANES);
        for (lane, row) in rows.iter().enumerate() {
            let block = packed_block(format, &row[at * bytes..][..bytes], &mut memory);
            let (opening, block) = block.split_at(2 * format.scales());
            for (word, out) in block.as_chunks().0.iter().zip(quants.chunks_exact_mut(LANES)) {
                out[lane] = *word;
            }
            last[lane] = match opening {
                [a, b] => f16::from_le_bytes([*a, *b]).to_f32().to_le_bytes(),
                [a, b, c, d] => [*a, *b, *c, *d],
                _ => unreachable!("a block begins with one or two f16"),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Eight rows are interleaved element by element, whatever the memory held before.
    #[test]
    fn an_element_is_where_a_shader_reads_it() {
        let mut packer = Packer::new();
        for format in Format::ALL {
            // Bytes of an element, and elements of a block.
            let (size, elements) = match format.is_quantised() {
                true => (4, format.block_words()),
                false => (4 * format.block_bytes(), 1),
            };
            // The third is large enough for several threads in most formats.
            for (rows, columns, halves) in [(3, 32, 1), (42, 288, 2), (10_000, 64, 1)] {
                // In formats without blocks, the last element of a row is incomplete.
                let columns = columns + if elements == 1 { 6 } else { 0 };
                let row_bytes = format.row_bytes(columns);
                let data: Vec<u8> = (0..rows * row_bytes).map(|i| (i % 251) as u8).collect();
                let tensor = HostTensor { format, rows, columns, data: data.as_slice().into() };
                let missing = vec![0; row_bytes];
                let height = rows / halves;
                let padded = height.next_multiple_of(STRIP as usize) * halves;
                let layout = MatrixLayout::new(format, padded as u64, columns as u64).unwrap();
                let length = layout.panel_length as usize / LANES;
                packer.packed.fill(0xAA);
                let packed = packer.pack(&tensor, &layout, halves as u32, 0..layout.panels);
                for (i, found) in packed.chunks(size).enumerate() {
                    let (panel, element, lane) =
                        (i / LANES / length, i / LANES % length, i % LANES);
                    let (strip, half) = (panel / 4 / halves, panel / 4 % halves);
                    let row = strip * STRIP as usize + panel % 4 * LANES + lane;
                    let mut expected = vec![0; size];
                    let row = match row < height {
                        true => &data[(half * height + row) * row_bytes..][..row_bytes],
                        false => &missing[..],
                    };
                    if format.is_quantised() {
                        let block = &row[element / elements * format.block_bytes()..];
                        let mut memory = [0; k::MOST_BYTES];
                        let block = &block[..format.block_bytes()];
                        let block = packed_block(format, block, &mut memory);
                        let (at, opening) = (element % elements, 2 * format.scales());
                        if at < elements - 1 {
                            expected.copy_from_slice(&block[opening + 4 * at..][..4]);
                        } else if opening == 4 {
                            expected.copy_from_slice(&block[..4]);
                        } else {
                            let scale = f16::from_le_bytes([block[0], block[1]]).to_f32();
                            expected = scale.to_le_bytes().to_vec();
                        }
                    } else {
                        let end = (element * size + size).min(row_bytes);
                        let piece = &row[element * size..end];
                        expected[..piece.len()].copy_from_slice(piece);
                    }
                    assert_eq!(found, expected, "{format:?} {rows}x{columns}, element {i}");
                }
            }
        }
    }
}
