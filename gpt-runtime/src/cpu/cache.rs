//! The keys and values of one layer, laid out as the products of attention read them.
//!
//! To a query, keys are a matrix with an output for each position: so they are kept in panels, like weights, 32 positions
//! side by side for each element of the head. Values are the other way round: a row for each position, padded to 32.

use super::simd::PANEL;

/// Keys and values of `kv_heads` heads for a number of positions.
pub struct Cache {
    pub kv_heads: usize,
    pub head_dim: usize,
    /// `head_dim` rounded up to whole panels.
    pub padded: usize,
    /// Panels of 32 positions.
    panels: usize,
    /// `[kv_heads][panels][head_dim][32 positions]`.
    pub keys: Vec<f32>,
    /// `[kv_heads][positions][padded]`.
    pub values: Vec<f32>,
}

impl Cache {
    pub fn new(kv_heads: usize, head_dim: usize, capacity: usize) -> Cache {
        let panels = capacity.div_ceil(PANEL);
        let padded = head_dim.next_multiple_of(PANEL);
        Cache {
            kv_heads,
            head_dim,
            padded,
            panels,
            keys: vec![0.0; kv_heads * panels * head_dim * PANEL],
            values: vec![0.0; kv_heads * panels * PANEL * padded],
        }
    }

    /// Where element `d` of the key at `position` is.
    pub fn key_at(&self, head: usize, position: usize, d: usize) -> usize {
        ((head * self.panels + position / PANEL) * self.head_dim + d) * PANEL + position % PANEL
    }

    /// Where the value at `position` begins.
    pub fn value_at(&self, head: usize, position: usize) -> usize {
        (head * self.panels * PANEL + position) * self.padded
    }

    /// The panel that holds keys from `position` (a multiple of 32) on.
    pub fn key_panel(&self, head: usize, position: usize) -> &[f32] {
        &self.keys[self.key_at(head, position, 0)..][..self.head_dim * PANEL]
    }

    /// The values of a head from `position` on.
    pub fn values_from(&self, head: usize, position: usize) -> &[f32] {
        &self.values[self.value_at(head, position)..]
    }
}
