//! Whether a device computes what it should.
//!
//! Drivers have been wrong without a word. A self-test runs every kernel of a model at the model's own shapes, in every format, on random weights, and compares
//! what each step left behind with the CPU engine's plain Rust, which no instruction set and no driver has a part in. Two layers are enough: the others run the same
//! kernels. The reference has the matrices in f32, with the values that a format rounds them to, so that a wrong scale or nibble shows.
//!
//! A step reads what the one before has left, so what comes after the first wrong step is wrong as well. A device that chooses tokens by itself is asked for a few, too, with
//! nothing cut and with everything cut but the likeliest, which has to be the reference's. Attention in parts, which takes a thousand tokens, is not part of this; training has a test of its own (`training`).

mod training;

use std::borrow::Cow;

use gpt_plan::{Feature, Format, Mask, Plan, TensorId};

use crate::device::EngineRef;
use crate::engine::Trace;
use crate::truncated_plan::{has_kernels, shallow, some_tokens};
use crate::vtable::Gpt;
use crate::weights::lively::Lively;
use crate::weights::{HostTensor, Weights, format};
use crate::{Device, Error, Model, Sampler, Sampling, Session, Untyped};

pub use training::self_test_training;

/// Tokens of the prompt: two of a GPU's tiles, and one more.
const PROMPT: u32 = 33;

/// Tokens that a device chooses in a row.
const CHOSEN: usize = 4;

/// The least mean square of a step's values: weights make values of about one, and this is a tenth of that.
const TYPICAL: f64 = 0.01;

/// Of the weights.
const SEED: u64 = 0x5e1f;

/// What a self-test found.
#[derive(Clone, Debug, PartialEq)]
pub struct SelfTest {
    /// What was tested.
    pub device: String,
    /// What it was compared with.
    pub reference: String,
    /// Every step in every format, first of a prompt and then of one token, in the order they ran.
    pub checks: Vec<Check>,
    /// Formats for which the plan has no kernels, as some matrix is more than a kernel can bind.
    pub left_out: Vec<Format>,
}

/// A step of a layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// Of the matrices.
    pub format: Format,
    /// Tokens that went through together.
    pub rows: u32,
    /// The step's name in the plan, and its layer; or `choose` and `choose_cut`.
    pub step: &'static str,
    pub layer: u32,
    /// Normalised mean square error: the sum of squared differences over the sum of squares; infinite if anything is not finite. Of a choice, the square of what the
    /// chosen token's logit is short of the greatest one, over the mean square of all.
    pub error: f64,
    /// What it may be.
    pub bound: f64,
}

impl Check {
    /// Whether the step is what it should be.
    pub fn passed(&self) -> bool {
        self.error <= self.bound
    }
}

impl SelfTest {
    /// The first step that is off, if the device cannot be trusted.
    pub fn first_off(&self) -> Option<&Check> {
        self.checks.iter().find(|check| !check.passed())
    }
}

impl<M: Gpt> Model<M> {
    /// Runs every step of this model at its own shapes on `device`, and compares each with the CPU engine's portable kernels; see [`self_test`].
    ///
    /// # Errors
    /// As [`self_test`].
    pub fn self_test(device: &Device) -> Result<SelfTest, Error> {
        self_test(M::plan(), device, &Format::ALL)
    }
}

/// Runs the steps of `plan` on `device` with matrices in each of `formats`, and compares them with the CPU engine's portable kernels. A device that fails is
/// no error of this function.
///
/// # Errors
/// A device that cannot hold two layers and the head, or is lost.
pub fn self_test(
    plan: &'static Plan,
    device: &Device,
    formats: &[Format],
) -> Result<SelfTest, Error> {
    compare(plan, device, formats, [SEED; 2])
}

/// The self-test, with weights of the first seed on the device and of the second for the reference: with different ones it has to fail.
fn compare(
    plan: &'static Plan,
    device: &Device,
    formats: &[Format],
    seeds: [u64; 2],
) -> Result<SelfTest, Error> {
    let portable = Device::portable()?;
    let plan = shallow(plan);
    let mut found = SelfTest {
        device: device.name(),
        reference: portable.name(),
        checks: Vec::new(),
        left_out: Vec::new(),
    };
    for &format in formats {
        if device.is_gpu() && !has_kernels(plan, format) {
            found.left_out.push(format);
            continue;
        }
        let tested = Lively::new(plan, seeds[0], format);
        let expected = Exact(Lively::new(plan, seeds[1], format));
        let mut tested = Sequence::new(Model::from_plan(plan, &tested, device)?)?;
        let mut expected = Sequence::new(Model::from_plan(plan, &expected, &portable)?)?;
        let bound = bound(device, format);
        for rows in [PROMPT.min(plan.spec.context), 1] {
            let (tested, expected) = (tested.run(rows)?, expected.run(rows)?);
            for (tested, expected) in tested.iter().zip(&expected) {
                found.checks.push(Check {
                    format,
                    rows,
                    step: tested.step,
                    layer: tested.layer,
                    error: error(&tested.values, &expected.values, TYPICAL),
                    bound,
                });
            }
        }
        if device.is_gpu() && plan.spec.mask == Mask::Causal {
            for (step, temperature, top_k) in [("choose", 0.0, 0), ("choose_cut", 1.0, 1)] {
                let likeliest = Sampling {
                    temperature,
                    top_k,
                    ..Sampling::default()
                };
                found.checks.push(Check {
                    format,
                    rows: 1,
                    step,
                    layer: 0,
                    error: chosen(&tested.model, &expected.model, likeliest)?,
                    bound,
                });
            }
        }
    }
    Ok(found)
}

/// How far what the device chooses is from the likeliest token, at worst.
fn chosen(
    tested: &Model<Untyped>,
    expected: &Model<Untyped>,
    likeliest: Sampling,
) -> Result<f64, Error> {
    let spec = &tested.plan().spec;
    let most = CHOSEN.min(spec.context as usize - 1);
    let capacity = most as u32 + 1;
    let mut sampler = Sampler::new(likeliest, spec.vocab as usize)?;
    let mut tested = tested.session().capacity(capacity).open()?;
    let mut expected = expected.session().capacity(capacity).open()?;
    let mut token = spec.vocab / 2;
    let mut worst: f64 = 0.0;
    for i in 0..most {
        let next = tested.follow(token, &mut sampler, &[], most - i)?;
        let logits = expected.push(&[token])?;
        let Some(own) = logits.get(next as usize) else {
            return Ok(f64::INFINITY);
        };
        let greatest = logits[logits.argmax() as usize];
        let squares = logits.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>();
        let short = f64::from(greatest - own).powi(2) * logits.len() as f64 / squares;
        worst = worst.max(short);
        token = next;
    }
    Ok(worst)
}

/// What an error may be. On a GPU: room for f32 arithmetic and a driver's own `exp`, and for what variants that were asked for by name round inputs to. On the CPU, besides, what inputs of products are rounded to; the stream adds up
/// what that does to each product.
fn bound(device: &Device, format: Format) -> f64 {
    match device.engine() {
        EngineRef::Gpu(gpu) => {
            let features = gpu.features();
            let rounds = |feature| features.has(feature);
            match format {
                Format::F16 if rounds(Feature::F16Arithmetic) => 5e-5,
                Format::F16 if rounds(Feature::CooperativeMatrices) => 1e-6,
                Format::Q8 | Format::Q4 if rounds(Feature::PackedDot) => 1e-2,
                _ => 1e-10,
            }
        }
        EngineRef::Cpu(cpu) => 1e-11 + cpu.isa().rounding(format).bound(),
    }
}

/// Normalised mean square error. What is `typical` is the least mean square that an error is held against: of values that happen to cancel, rounding errors are those of
/// what cancelled. Infinite if anything is not finite.
fn error(found: &[f32], expected: &[f32], typical: f64) -> f64 {
    if found.len() != expected.len() || found.is_empty() {
        return f64::INFINITY;
    }
    let (mut difference, mut norm) = (0.0, 0.0);
    for (&found, &expected) in found.iter().zip(expected) {
        difference += (f64::from(found) - f64::from(expected)).powi(2);
        norm += f64::from(expected).powi(2);
    }
    let least = (typical * expected.len() as f64).max(f64::MIN_POSITIVE);
    let error = difference / norm.max(least);
    if error.is_nan() { f64::INFINITY } else { error }
}

/// A sequence that is traced.
struct Sequence {
    model: Model<Untyped>,
    session: Session<Untyped>,
    /// Of the prompt and the token after it.
    tokens: Vec<u32>,
}

impl Sequence {
    fn new(model: Model<Untyped>) -> Result<Sequence, Error> {
        let spec = &model.plan().spec;
        let length = (PROMPT + 1).min(spec.context);
        Ok(Sequence {
            tokens: some_tokens(spec, length),
            session: session(&model, length)?,
            model,
        })
    }

    /// What the steps left for the next `rows` tokens, or for as many in a sequence of their own where no room is left or a text is read whole.
    fn run(&mut self, rows: u32) -> Result<Vec<Trace>, Error> {
        let rows = rows as usize;
        let bidirectional = self.model.plan().spec.mask == Mask::Bidirectional;
        if bidirectional || rows > self.session.remaining() {
            self.session = session(&self.model, rows as u32)?;
        }
        let first = self.session.tokens().len();
        self.session.trace(&self.tokens[first..first + rows])
    }
}

fn session(model: &Model<Untyped>, capacity: u32) -> Result<Session<Untyped>, Error> {
    let session = model.session().capacity(capacity).chunk(capacity);
    session.all_logits().open()
}

/// Weights in f32 with the values that their format rounds them to.
struct Exact<W>(W);

impl<W: Weights> Weights for Exact<W> {
    fn tensor(&self, id: TensorId, layer: u32) -> Result<HostTensor<'_>, Error> {
        let tensor = self.0.tensor(id, layer)?;
        if tensor.format == Format::F32 {
            return Ok(tensor);
        }
        let mut row = vec![0.0; tensor.columns];
        let mut data = Vec::with_capacity(4 * tensor.rows * tensor.columns);
        let row_bytes = tensor.format.row_bytes(tensor.columns);
        for bytes in tensor.data.chunks(row_bytes) {
            format::decode(tensor.format, bytes, &mut row);
            data.extend_from_slice(bytemuck::cast_slice(&row));
        }
        Ok(HostTensor {
            format: Format::F32,
            data: Cow::Owned(data),
            ..tensor
        })
    }

    fn format(&self, _: TensorId, _: u32) -> Format {
        Format::F32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::testing;

    #[test]
    fn weights_of_another_seed_are_seen_at_every_step() {
        let device = Device::cpu().unwrap();
        for plan in [testing::gpt2(), testing::llama()] {
            let same = compare(plan, &device, &Format::ALL, [1, 1]).unwrap();
            assert_eq!(same.first_off(), None);
            // Two passes over two layers of five steps, and what is around them.
            assert_eq!(same.checks.len(), Format::ALL.len() * 2 * 12);
            let other = compare(plan, &device, &Format::ALL, [1, 2]).unwrap();
            let passed = other.checks.iter().find(|check| check.passed());
            assert_eq!(passed, None);
        }
    }

    #[test]
    fn an_error_is_relative_and_never_a_nan() {
        assert_eq!(error(&[1.0, 2.0], &[1.0, 2.0], TYPICAL), 0.0);
        assert!((error(&[1.1, 0.0], &[1.0, 0.0], TYPICAL) - 0.01).abs() < 1e-6);
        assert_eq!(error(&[f32::NAN, 2.0], &[1.0, 2.0], TYPICAL), f64::INFINITY);
        assert_eq!(
            error(&[f32::INFINITY, 2.0], &[1.0, 2.0], TYPICAL),
            f64::INFINITY
        );
        assert_eq!(error(&[1.0], &[1.0, 2.0], TYPICAL), f64::INFINITY);
        assert_eq!(error(&[], &[], TYPICAL), f64::INFINITY);
    }
}
