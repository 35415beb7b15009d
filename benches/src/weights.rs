//! Cheap weights for benchmarks: meaningless numbers of a plausible magnitude, in all formats.

use std::borrow::Cow;

use gpt_runtime::__private::plan::{Format, Plan, TensorId, TensorKind};
use gpt_runtime::Error;
use gpt_runtime::weights::{HostTensor, Weights};

/// A word that decodes to small normal numbers as an f32, as two f16 or bf16, as quants, and as a
/// scale with a minimum.
pub fn plain(i: u32) -> u32 {
    let hash = i.wrapping_mul(0x9e37_79b9).rotate_left(13);
    0x3c00_3c00 | hash & 0x83ff_83ff
}

/// The weights of a model, with matrices in one format.
pub struct Filled {
    plan: &'static Plan,
    format: Format,
}

impl Filled {
    pub fn new(plan: &'static Plan, format: Format) -> Filled {
        Filled { plan, format }
    }
}

impl Weights for Filled {
    fn tensor(&self, id: TensorId, layer: u32) -> Result<HostTensor<'_>, Error> {
        let tensor = self.plan.tensor(id);
        let (format, columns) = (self.format(id, layer), tensor.columns as usize);
        let bytes = tensor.rows as usize * format.row_bytes(columns);
        let first = u32::from(id.0) << 24 | layer << 16;
        let words = (0..bytes.div_ceil(4) as u32).map(|i| plain(first.wrapping_add(i)));
        let mut data: Vec<u8> = words.flat_map(u32::to_le_bytes).collect();
        data.truncate(bytes);
        Ok(HostTensor { format, rows: tensor.rows as usize, columns, data: Cow::Owned(data) })
    }

    fn format(&self, id: TensorId, _layer: u32) -> Format {
        match self.plan.tensor(id).kind {
            TensorKind::Matrix => self.format,
            TensorKind::Table | TensorKind::Vector => Format::F32,
        }
    }
}
