//! Rotary embedding: its settings by layer, and the tables of angles that follow from them.

use serde::Serialize;

use crate::{Pattern, Positions, Spec, common_period};

/// Rotary embedding. Pair `i` of a head rotates by `pos * frequency(i)`.
#[derive(Clone, Debug, Serialize, PartialEq)]
pub struct Rope {
    /// The base of the angles of each layer, such as 10,000. A layer without a base rotates
    /// nothing.
    pub theta: Pattern<Option<f64>>,
    /// The number of elements of a head that rotate; they are its first ones. The frequency of pair
    /// `i` is `theta^(-2i / dims)` before scaling.
    pub dims: u32,
    /// The elements of a head that form a pair in safetensors files. In memory, pair `i` is
    /// `(2i, 2i + 1)`; rows of matrices are reordered when they are loaded and saved.
    pub pairs: RotaryPairs,
    /// The change of the frequencies of each layer, for contexts longer than in pretraining.
    pub scaling: Pattern<RopeScaling>,
}

/// The elements of a head that rotate together.
#[derive(Clone, Copy, Debug, Default, Serialize, PartialEq, Eq)]
pub enum RotaryPairs {
    /// `(i, i + dims / 2)`: GPT-NeoX, Llama and most others.
    #[default]
    Halves,
    /// `(2i, 2i + 1)`: the paper, GPT-J, Cohere.
    Interleaved,
}

/// A change of rotary frequencies.
#[derive(Clone, Copy, Debug, Default, Serialize, PartialEq)]
pub enum RopeScaling {
    /// No change.
    #[default]
    None,
    /// All frequencies divided by a factor (Chen et al. 2023, position interpolation).
    Linear {
        /// The divisor.
        factor: f64,
    },
    /// Llama 3's: frequencies with wavelengths above `original_context / low_freq_factor` are
    /// divided by `factor`, those with wavelengths below `original_context / high_freq_factor` are
    /// unchanged, and those between are interpolated.
    Llama3 {
        /// The divisor of low frequencies.
        factor: f64,
        /// Rotations of the longest interpolated wavelength within `original_context`.
        low_freq_factor: f64,
        /// Rotations of the shortest interpolated wavelength within `original_context`.
        high_freq_factor: f64,
        /// The context of pretraining, in tokens.
        original_context: u32,
    },
    /// YaRN (Peng et al. 2023): interpolates between divided and unchanged frequencies by the
    /// number of rotations within `original_context`, and multiplies queries and keys by
    /// `attention_factor`.
    Yarn {
        /// The divisor of low frequencies.
        factor: f64,
        /// The context of pretraining, in tokens.
        original_context: u32,
        /// Pairs with more rotations than this are unchanged.
        beta_fast: f64,
        /// The frequencies of pairs with fewer rotations than this are divided.
        beta_slow: f64,
        /// The multiplier of rotated queries and keys; `None` is `0.1 ln(factor) + 1`.
        attention_factor: Option<f64>,
        /// Whether the bounds of the pairs that are interpolated are rounded to whole pairs.
        truncate: bool,
    },
}

impl Rope {
    /// Pairs `(i, i + dims / 2)` of the first `dims` elements of a head, unscaled.
    pub fn new(theta: Pattern<Option<f64>>, dims: u32) -> Rope {
        Rope { theta, dims, pairs: RotaryPairs::Halves, scaling: Pattern::all(RopeScaling::None) }
    }

    /// The base and the scaling of `layer`, if it rotates.
    pub fn of(&self, layer: u32) -> Option<(f64, RopeScaling)> {
        Some((self.theta.of(layer)?, self.scaling.of(layer)))
    }

    /// The number of layers after which the bases and scalings repeat.
    pub fn period(&self) -> u32 {
        common_period(self.theta.period(), self.scaling.period())
    }
}

impl Spec {
    /// Whether queries and keys are rotated.
    pub const fn rotary(&self) -> bool {
        matches!(self.positions, Positions::Rope(_))
    }

    /// The rotary embedding, if there is one.
    pub const fn rope(&self) -> Option<&Rope> {
        match &self.positions {
            Positions::Rope(rope) => Some(rope),
            _ => None,
        }
    }

    /// The different tables of rotary angles. A table has a base and a scaling.
    pub fn rotary_tables(&self) -> Vec<(f64, RopeScaling)> {
        let mut tables = Vec::new();
        for layer in 0..self.rope().map_or(0, Rope::period).min(self.layers) {
            if let Some(table) = self.rope().and_then(|rope| rope.of(layer))
                && !tables.contains(&table)
            {
                tables.push(table);
            }
        }
        tables
    }

    /// The table of rotary angles of `layer`, an index into
    /// [`rotary_tables`](Self::rotary_tables).
    pub fn rotary_table(&self, layer: u32) -> Option<u16> {
        let own = self.rope()?.of(layer)?;
        let table = self.rotary_tables().iter().position(|table| *table == own)?;
        Some(table as u16)
    }
}
