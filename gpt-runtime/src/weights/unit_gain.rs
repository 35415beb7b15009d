//! Random weights for tests, for self-tests and for `tune`.
//!
//! Initial weights hide mistakes: norms are one, biases are zero, and projections are so small that
//! every layer is nearly the identity. A missing bias would go unnoticed.

use gpt_plan::{Format, Init, Plan, TensorId, TensorKind};

use super::host::stored_format;
use super::{HostTensor, RandomWeights, Weights, format};
use crate::Error;

/// Random weights of unit gain: the elements of a matrix have variance `1 / columns`, and a
/// vector's differ from their initial value by up to one half.
pub struct UnitGain {
    plan: &'static Plan,
    random: RandomWeights,
    format: Format,
}

impl UnitGain {
    pub fn new(plan: &'static Plan, seed: u64, format: Format) -> UnitGain {
        UnitGain { plan, random: RandomWeights::new(plan, seed, Format::F32), format }
    }
}

impl Weights for UnitGain {
    fn tensor(&self, id: TensorId, layer: u32) -> Result<HostTensor<'_>, Error> {
        let tensor = self.plan.tensor(id);
        let (rows, columns) = (tensor.rows as usize, tensor.columns as usize);
        let random = self.random.tensor(id, layer)?;
        let mut values: Vec<f32> = vec![0.0; rows * columns];
        format::decode(Format::F32, &random.data, &mut values);
        let format = self.format(id, layer);
        match tensor.kind {
            TensorKind::Table => return Ok(random),
            TensorKind::Vector => {
                for (i, value) in values.iter_mut().enumerate() {
                    let wave =
                        ((i as f32 + 1.0) * (f32::from(id.0) + 1.7) + layer as f32).sin() * 0.5;
                    *value += wave;
                }
            }
            TensorKind::Matrix => {
                let Init::Normal(std) = tensor.init else {
                    panic!("matrices are initialised from a normal distribution");
                };
                let gain = (1.0 / (std * (columns as f64).sqrt())) as f32;
                values.iter_mut().for_each(|x| *x *= gain);
            }
        }
        let fill = |row: usize, out: &mut [f32]| {
            out.copy_from_slice(&values[row * columns..][..columns]);
        };
        Ok(HostTensor::from_rows(format, [rows, columns], fill))
    }

    fn format(&self, id: TensorId, _layer: u32) -> Format {
        stored_format(self.plan.tensor(id).kind, self.format)
    }
}
