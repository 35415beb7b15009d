//! Matrices for inference, packed in their storage format.
//!
//! A panel has this layout. `depth` is the number of columns, and G the number of columns that one
//! instruction multiplies and adds ([`Kernels::group`]).
//! - f32, f16, bf16: `[depth / G][32][G]`. G is 1, or 2 for bf16 if the instruction set multiplies
//!   pairs of bf16.
//! - Quantised formats: a block for every 32 or 256 columns. It begins with the f16 scales of the
//!   32 outputs, and 32 f16 minima if the format has them. Then each sub-block of 32 columns has
//!   32 bytes for each fine scale and fine minimum of an output, and `[bytes / G][32][G]` bytes of
//!   quants. The order of the quants and the number added to them depend on the instruction set
//!   ([`Kernels::arrange`], [`Kernels::shift`]).
//!
//! A matrix may have panels in several quantised formats: a file may store the parts of a fused
//! matrix in different formats.

use std::ops::Range;

use gpt_plan::Format;

use super::{Lookup, Order, PanelLayout, PanelSlice, Panels, element, part_of};
use crate::Error;
use crate::cpu::device::CpuDevice;
use crate::cpu::memory::{Arena, Region};
use crate::cpu::pool::Disjoint;
use crate::weights::HostTensor;
use crate::weights::format::{decode, k, packed_block};
use gpt_simd::{BLOCK, Kernels, PANEL, Rounding};

/// A packed matrix.
pub struct Packed {
    pub layout: PanelLayout,
    kernels: &'static Kernels,
    /// In the order of their panels. This list is searched for each panel; the searches of all
    /// products of a token take a microsecond together.
    segments: Vec<Segment>,
    data: Region,
}

/// Panels in one format.
struct Segment {
    format: Format,
    panels: Range<usize>,
    panel_bytes: usize,
    /// Offset of the first panel in the data, in bytes.
    start: usize,
}

impl Packed {
    /// Packs `tensor` on all threads, into memory of `arena`.
    ///
    /// # Errors
    /// Fails if the system has too little memory.
    pub fn new(
        device: &CpuDevice,
        arena: &Arena,
        tensor: &HostTensor<'_>,
        order: Order,
    ) -> Result<Packed, Error> {
        Packed::of_parts(device, arena, std::slice::from_ref(tensor), order)
    }

    /// Like [`new`](Self::new), for a matrix whose rows are in several parts. Either there is only
    /// one part, or all formats are quantised ([`can_join`](Self::can_join)).
    ///
    /// # Errors
    /// See [`new`](Self::new).
    pub fn of_parts(
        device: &CpuDevice,
        arena: &Arena,
        parts: &[HostTensor<'_>],
        order: Order,
    ) -> Result<Packed, Error> {
        assert!(Packed::can_join(parts, order), "parts of whole panels");
        let kernels = device.kernels;
        let rows = parts.iter().map(|part| part.rows).sum();
        let layout = PanelLayout { rows, columns: parts[0].columns, order };
        let (mut segments, mut start, mut panels) = (Vec::new(), 0, 0);
        for part in parts {
            let own = PanelLayout { rows: part.rows, ..layout };
            let panel_bytes = panel_bytes(part.format, layout.columns, kernels.group(part.format));
            let range = panels..panels + own.panels();
            segments.push(Segment { format: part.format, panels: range, panel_bytes, start });
            start += own.panels() * panel_bytes;
            panels += own.panels();
        }
        let data = arena.region(start, |data| {
            let shared = Disjoint::new(data);
            device.pool.run(panels, &|panel, _| {
                let of = segment(&segments, panel);
                let (part, segment) = (&parts[of], &segments[of]);
                let own = PanelLayout { rows: part.rows, ..layout };
                let index = panel - segment.panels.start;
                let at = segment.start + index * segment.panel_bytes;
                // SAFETY: each task writes only the panel `panel`.
                let out = unsafe { shared.part(at, segment.panel_bytes) };
                let row_bytes = part.format.row_bytes(layout.columns);
                for (lane, row) in own.rows_of(index) {
                    let row = &part.data[row * row_bytes..][..row_bytes];
                    scatter(kernels, part.format, lane, row, out);
                }
            });
        })?;
        Ok(Packed { layout, kernels, segments, data })
    }

    /// Whether parts of a matrix can be packed as one: inputs must be rounded in the same way for
    /// all parts, and only the last part may end within a panel.
    pub fn can_join(parts: &[HostTensor<'_>], order: Order) -> bool {
        let Some((last, before)) = parts.split_last() else {
            return false;
        };
        let joins = |part: &HostTensor<'_>| {
            part.format.is_quantised()
                && last.format.is_quantised()
                && part.columns == last.columns
                && part.rows.is_multiple_of(PANEL)
        };
        before.is_empty() || (order == Order::Straight && before.iter().all(joins))
    }

    /// The format of the first rows.
    pub fn format(&self) -> Format {
        self.segments[0].format
    }

    fn segment(&self, panel: usize) -> &Segment {
        &self.segments[segment(&self.segments, panel)]
    }

    /// The format and the bytes of panel `index`.
    pub fn panel(&self, index: usize) -> (Format, &[u8]) {
        let segment = self.segment(index);
        let at = segment.start + (index - segment.panels.start) * segment.panel_bytes;
        (segment.format, &self.data[at..][..segment.panel_bytes])
    }

    /// The format and the bytes of the columns `from..to` of a panel. `from` and `to` are multiples
    /// of a block, except at the end of the matrix.
    fn columns(&self, panel: usize, from: usize, to: usize) -> (Format, &[u8]) {
        let (format, panel) = self.panel(panel);
        let group = self.kernels.group(format);
        let bytes = |columns| panel_bytes(format, columns, group);
        (format, &panel[bytes(from)..bytes(to)])
    }
}

/// The index of the segment that has a panel.
fn segment(segments: &[Segment], panel: usize) -> usize {
    let before = segments.iter().take_while(|segment| segment.panels.end <= panel);
    before.count()
}

impl Lookup for Packed {
    fn row(&self, row: usize, out: &mut [f32]) {
        let layout = &self.layout;
        assert!(
            layout.order == Order::Straight && row < layout.rows && out.len() == layout.columns
        );
        let ((format, panel), lane) = (self.panel(row / PANEL), row % PANEL);
        let mut stored = [0; k::MOST_BYTES];
        for (block, out) in out.chunks_mut(format.block().max(BLOCK)).enumerate() {
            if !format.is_quantised() {
                let stored = &mut stored[..format.row_bytes(out.len())];
                gather_numbers(self.kernels, format, lane, panel, block, stored);
                decode(format, stored, out);
                continue;
            }
            let stored = &mut stored[..format.packed_bytes()];
            gather(self.kernels, format, lane, panel, block, stored);
            match format.is_k_quant() {
                true => k::decode(format, stored, out),
                false => decode(format, stored, out),
            }
        }
    }
}

impl Panels for Packed {
    fn count(&self) -> usize {
        self.layout.panels()
    }

    fn depth(&self) -> usize {
        self.layout.columns
    }

    fn rounding(&self, kernels: &Kernels) -> Rounding {
        kernels.isa.rounding(self.format())
    }

    fn slice<'a>(
        &'a self,
        kernels: &Kernels,
        panel: usize,
        from: usize,
        to: usize,
        scratch: &'a mut [f32],
    ) -> PanelSlice<'a> {
        let (format, stored) = self.columns(panel, from, to);
        match (format, self.rounding(kernels)) {
            (Format::F32, _) => PanelSlice::Plain(bytemuck::cast_slice(stored)),
            (_, Rounding::Bf16) => PanelSlice::Pairs(bytemuck::cast_slice(stored)),
            (_, Rounding::None) => {
                kernels.unpack(format, to - from, stored, scratch);
                PanelSlice::Plain(scratch)
            }
            (format, Rounding::Integer8 | Rounding::Integer16) => {
                let scratch = bytemuck::cast_slice_mut(scratch);
                let blocks = (to - from).div_ceil(BLOCK);
                let wide = kernels.widen(format, blocks, stored, scratch);
                PanelSlice::Integers(format, stored, wide)
            }
        }
    }

    fn stored(&self, panel: usize, from: usize, to: usize, part: [usize; 2]) -> &[u8] {
        part_of(self.columns(panel, from, to).1, part)
    }
}

fn panel_bytes(format: Format, columns: usize, group: usize) -> usize {
    let blocks = columns.next_multiple_of(group).div_ceil(format.block());
    blocks * format.packed_bytes() * PANEL
}

/// Copies one row in the host's layout to lane `lane` of a panel.
fn scatter(kernels: &Kernels, format: Format, lane: usize, row: &[u8], panel: &mut [u8]) {
    let (group, bytes) = (kernels.group(format), format.block_bytes());
    if !format.is_quantised() {
        for (k, value) in row.chunks_exact(bytes).enumerate() {
            panel[element(k, lane, group) * bytes..][..bytes].copy_from_slice(value);
        }
        return;
    }
    let shift = kernels.shift(format);
    let mut memory = [0; k::MOST_BYTES];
    let mut arranged = [0; BLOCK];
    let arranged = &mut arranged[..format.quant_bytes()];
    let out = panel.chunks_exact_mut(format.packed_bytes() * PANEL);
    for (block, out) in row.chunks_exact(bytes).zip(out) {
        let parts = BlockParts::of(format, packed_block(format, block, &mut memory));
        for (s, scale) in parts.opening.chunks_exact(2).enumerate() {
            out[2 * (s * PANEL + lane)..][..2].copy_from_slice(scale);
        }
        for (sub, quants) in parts.quants.chunks_exact(arranged.len()).enumerate() {
            let (fine, fine_at, quants_at) = parts.sub_block(format, sub);
            for (i, byte) in fine.iter().enumerate() {
                out[fine_at + i * PANEL + lane] = *byte;
            }
            arranged.copy_from_slice(quants);
            kernels.arrange(format, arranged);
            for (j, byte) in arranged.iter().enumerate() {
                out[quants_at + element(j, lane, group)] = byte.wrapping_add(shift);
            }
        }
    }
}

/// A packed block of one output.
struct BlockParts<'a> {
    /// The f16 scale, and the f16 minimum if the format has one.
    opening: &'a [u8],
    quants: &'a [u8],
    /// The fine scales and minima of the sub-blocks.
    fine: &'a [u8],
}

impl<'a> BlockParts<'a> {
    fn of(format: Format, block: &'a [u8]) -> BlockParts<'a> {
        let (opening, rest) = block.split_at(2 * format.scales());
        let (quants, fine) = rest.split_at(format.sub_blocks() * format.quant_bytes());
        BlockParts { opening, quants, fine }
    }

    /// The fine bytes of sub-block `sub`, and the offsets of all outputs' fine bytes and quants in
    /// the block of a panel.
    fn sub_block(&self, format: Format, sub: usize) -> (&'a [u8], usize, usize) {
        let fine = self.fine.len() / format.sub_blocks();
        let fine_at = (self.opening.len() + sub * (fine + format.quant_bytes())) * PANEL;
        (&self.fine[sub * fine..][..fine], fine_at, fine_at + fine * PANEL)
    }
}

/// Copies the numbers in lane `lane` of a panel, from column `32 * block` on, to `row`.
fn gather_numbers(
    kernels: &Kernels,
    format: Format,
    lane: usize,
    panel: &[u8],
    block: usize,
    row: &mut [u8],
) {
    let (group, bytes) = (kernels.group(format), format.block_bytes());
    for (k, value) in (block * BLOCK..).zip(row.chunks_exact_mut(bytes)) {
        value.copy_from_slice(&panel[element(k, lane, group) * bytes..][..bytes]);
    }
}

/// The inverse of [`scatter`] for one block, in the packed order.
fn gather(
    kernels: &Kernels,
    format: Format,
    lane: usize,
    panel: &[u8],
    block: usize,
    out: &mut [u8],
) {
    let (group, shift) = (kernels.group(format), kernels.shift(format));
    let bytes = format.packed_bytes() * PANEL;
    let panel = &panel[block * bytes..][..bytes];
    let (opening, rest) = out.split_at_mut(2 * format.scales());
    for (s, scale) in opening.chunks_exact_mut(2).enumerate() {
        scale.copy_from_slice(&panel[2 * (s * PANEL + lane)..][..2]);
    }
    let (quants, fine) = rest.split_at_mut(format.sub_blocks() * format.quant_bytes());
    let each = fine.len() / format.sub_blocks();
    let mut at = opening.len() * PANEL;
    for (sub, quants) in quants.chunks_exact_mut(format.quant_bytes()).enumerate() {
        for (i, byte) in fine[sub * each..][..each].iter_mut().enumerate() {
            *byte = panel[at + i * PANEL + lane];
        }
        at += each * PANEL;
        for (j, byte) in quants.iter_mut().enumerate() {
            *byte = panel[at + element(j, lane, group)].wrapping_sub(shift);
        }
        kernels.restore(format, quants);
        at += format.quant_bytes() * PANEL;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::format::encode;
    use gpt_simd::Isa;

    #[test]
    fn a_packed_row_is_the_row() {
        for isa in Isa::available() {
            check(&CpuDevice::with_isa(isa, Some(2)).unwrap());
        }
    }

    fn check(device: &CpuDevice) {
        for format in Format::ALL {
            for (rows, columns) in [(1, 1), (33, 31), (64, 64), (70, 100), (35, 300)] {
                let mut data = Vec::new();
                for r in 0..rows {
                    let row: Vec<f32> = (0..columns).map(|c| ((r * 7 + c) as f32).sin()).collect();
                    encode(format, &row, &mut data);
                }
                let tensor = HostTensor { format, rows, columns, data: data.into() };
                let arena = Arena::default();
                let packed = Packed::new(device, &arena, &tensor, Order::Straight).unwrap();
                let bytes = format.row_bytes(columns);
                let (mut expected, mut found) = (vec![0.0; columns], vec![f32::NAN; columns]);
                for r in 0..rows {
                    decode(format, &tensor.data[r * bytes..][..bytes], &mut expected);
                    packed.row(r, &mut found);
                    assert_eq!(found, expected, "{format:?} row {r} of {rows}x{columns}");
                }
            }
        }
    }
}
