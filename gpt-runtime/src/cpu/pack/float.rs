//! Weights for training: f32 panels in a flat buffer, rounded to bf16 slice by slice for products
//! in bf16.

use super::{Lookup, Order, PanelLayout, PanelSlice, Panels, panel_element, part_of};
use gpt_simd::{Bf16Pair, Kernels, PANEL, Rounding, Strided, prefetch_all};

/// A matrix in f32 panels; its rows are the outputs.
#[derive(Clone, Copy)]
pub struct FloatPanels<'a> {
    pub layout: PanelLayout,
    /// Whether products round both operands to bf16.
    pub rounds: bool,
    /// `[panels][columns][32]`.
    pub values: &'a [f32],
}

impl FloatPanels<'_> {
    /// The slice `from..to` of the depth of a panel.
    fn depth_slice(&self, panel: usize, from: usize, to: usize) -> &[f32] {
        let start = (panel * self.layout.columns + from) * PANEL;
        &self.values[start..][..(to - from) * PANEL]
    }
}

impl Lookup for FloatPanels<'_> {
    fn row(&self, row: usize, out: &mut [f32]) {
        let start = panel_element(row, 0, self.layout.columns);
        for (x, value) in out.iter_mut().zip(self.values[start..].iter().step_by(PANEL)) {
            *x = *value;
        }
    }
}

impl Panels for FloatPanels<'_> {
    fn count(&self) -> usize {
        self.layout.panels()
    }

    fn depth(&self) -> usize {
        self.layout.columns
    }

    fn rounding(&self, _: &Kernels) -> Rounding {
        match self.rounds {
            true => Rounding::Bf16,
            false => Rounding::None,
        }
    }

    fn slice<'a>(
        &'a self,
        kernels: &Kernels,
        panel: usize,
        from: usize,
        to: usize,
        scratch: &'a mut [f32],
    ) -> PanelSlice<'a> {
        let stored = self.depth_slice(panel, from, to);
        if !self.rounds {
            return PanelSlice::Plain(stored);
        }
        if kernels.has_pairs() {
            let pairs: &mut [Bf16Pair] = bytemuck::cast_slice_mut(scratch);
            let slice = Strided { data: stored, stride: PANEL };
            kernels.pair_rows(slice, [to - from, PANEL], pairs);
            return PanelSlice::Pairs(pairs);
        }
        let scratch = &mut scratch[..stored.len()];
        scratch.copy_from_slice(stored);
        kernels.round(scratch);
        PanelSlice::Plain(scratch)
    }

    fn stored(&self, panel: usize, from: usize, to: usize, part: [usize; 2]) -> &[u8] {
        part_of(bytemuck::cast_slice(self.depth_slice(panel, from, to)), part)
    }
}

/// The transpose of a matrix: the matrix's columns are the outputs, so a GEMM of output gradients
/// computes input gradients. For a gated matrix, the inputs are in the order of its panels.
pub struct Transposed<'a>(pub FloatPanels<'a>);

impl Panels for Transposed<'_> {
    fn count(&self) -> usize {
        self.0.layout.columns.div_ceil(PANEL)
    }

    fn depth(&self) -> usize {
        match self.0.layout.order {
            Order::Straight => self.0.layout.rows,
            Order::Gated => self.0.layout.panels() * PANEL,
        }
    }

    fn rounding(&self, kernels: &Kernels) -> Rounding {
        self.0.rounding(kernels)
    }

    fn slice<'a>(
        &'a self,
        kernels: &Kernels,
        panel: usize,
        from: usize,
        to: usize,
        scratch: &'a mut [f32],
    ) -> PanelSlice<'a> {
        let count = PANEL.min(self.0.layout.columns - panel * PANEL);
        let blocks = from / PANEL..to.div_ceil(PANEL);
        // Two successive blocks are a whole panel of the matrix apart, which defeats hardware
        // prefetchers.
        let prefetch = |block: usize| {
            if block < blocks.end {
                prefetch_all(self.block(panel, block));
            }
        };
        prefetch(blocks.start);
        if self.0.rounds && kernels.has_pairs() {
            // The numbers of a pair are neighbours. Pairing them first halves the data to
            // transpose.
            const PAIRS: usize = PANEL / 2;
            let mut flat = [0.0; PANEL * PAIRS];
            let outputs = scratch.chunks_exact_mut(PAIRS * PANEL);
            for (block, out) in blocks.clone().zip(outputs) {
                prefetch(block + 1);
                let stored = Strided { data: self.block(panel, block), stride: count * PANEL };
                let pairs = &mut bytemuck::cast_slice_mut(&mut flat)[..count * PAIRS];
                kernels.pair_columns(stored, [1, count * PANEL], pairs);
                kernels.transpose(&flat, PAIRS, [count, PAIRS], out, PANEL);
            }
            return PanelSlice::Pairs(bytemuck::cast_slice(scratch));
        }
        let outputs = scratch.chunks_exact_mut(PANEL * PANEL);
        for (block, out) in blocks.clone().zip(outputs) {
            prefetch(block + 1);
            let stored = self.block(panel, block);
            kernels.transpose(stored, PANEL, [count, PANEL], out, PANEL);
        }
        if self.0.rounds {
            kernels.round(scratch);
        }
        PanelSlice::Plain(scratch)
    }

    /// The block at the part's relative position in the slice. The conversion of a slice prefetches
    /// its other blocks.
    fn stored(&self, panel: usize, from: usize, to: usize, [i, n]: [usize; 2]) -> &[u8] {
        let (first, last) = (from / PANEL, to.div_ceil(PANEL));
        bytemuck::cast_slice(self.block(panel, first + (last - first) * i / n))
    }
}

impl Transposed<'_> {
    /// The 32 by 32 elements whose transpose is block `block` (32 indices of depth) of a panel.
    fn block(&self, panel: usize, block: usize) -> &[f32] {
        let columns = self.0.layout.columns;
        let count = PANEL.min(columns - panel * PANEL);
        let start = (block * columns + panel * PANEL) * PANEL;
        &self.0.values[start..][..count * PANEL]
    }
}
