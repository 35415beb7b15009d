//! Weights in several formats, as in a file with one of llama.cpp's mixtures: formats differ within
//! a layer, and within the matrix of queries, keys and values.

use std::borrow::Cow;

use gpt_plan::{Format, Plan, TensorId, TensorKind};
use gpt_runtime::Error;
use gpt_runtime::weights::{HostTensor, Weights};

use crate::oracle::dequantise;
use crate::unit_gain::UnitGain;

/// Weights whose matrices alternate between two formats, and so do the sources of a fused matrix.
pub struct Mixed {
    plan: &'static Plan,
    formats: [Format; 2],
    weights: [UnitGain; 2],
}

impl Mixed {
    pub fn new(plan: &'static Plan, seed: u64, formats: [Format; 2]) -> Mixed {
        let weights = formats.map(|format| UnitGain::new(plan, seed, format));
        Mixed { plan, formats, weights }
    }

    fn is_fused(&self, id: TensorId) -> bool {
        let tensor = self.plan.tensor(id);
        // Halves of a gated MLP have one format in all files.
        tensor.kind == TensorKind::Matrix && tensor.sources.len() == 3
    }

    /// Which of the formats a matrix has.
    fn choice(id: TensorId, layer: u32) -> usize {
        (usize::from(id.0) + layer as usize) % 2
    }
}

impl Weights for Mixed {
    fn tensor(&self, id: TensorId, layer: u32) -> Result<HostTensor<'_>, Error> {
        if !self.is_fused(id) {
            return self.weights[Mixed::choice(id, layer)].tensor(id, layer);
        }
        let (mut data, mut rows) = (Vec::new(), 0);
        let parts = self.parts(id, layer)?;
        for part in &parts {
            data.extend(dequantise(part).values.iter().flat_map(|x| (*x as f32).to_le_bytes()));
            rows += part.rows;
        }
        Ok(HostTensor {
            format: Format::F32,
            rows,
            columns: parts[0].columns,
            data: Cow::Owned(data),
        })
    }

    fn parts(&self, id: TensorId, layer: u32) -> Result<Vec<HostTensor<'_>>, Error> {
        let formats = self.part_formats(id, layer);
        if formats.is_empty() {
            return Ok(vec![self.tensor(id, layer)?]);
        }
        let (mut first, mut parts) = (0, Vec::new());
        for (i, (format, rows)) in formats.into_iter().enumerate() {
            let whole = self.weights[i % 2].tensor(id, layer)?;
            let row_bytes = format.row_bytes(whole.columns);
            let data = whole.data[first * row_bytes..][..rows * row_bytes].to_vec();
            parts.push(HostTensor { format, rows, columns: whole.columns, data: data.into() });
            first += rows;
        }
        Ok(parts)
    }

    fn part_formats(&self, id: TensorId, _layer: u32) -> Vec<(Format, usize)> {
        if !self.is_fused(id) {
            return Vec::new();
        }
        let sources = self.plan.tensor(id).sources.iter().enumerate();
        sources.map(|(i, source)| (self.formats[i % 2], source.rows as usize)).collect()
    }

    fn format(&self, id: TensorId, layer: u32) -> Format {
        match self.is_fused(id) {
            true => Format::F32,
            false => self.weights[Mixed::choice(id, layer)].format(id, layer),
        }
    }
}
