//! A test of whether a device computes correctly.
//!
//! Drivers can be wrong silently. The self-test runs the kernels of a model at the model's own
//! shapes, in every requested format, on random weights, and compares the output of each step with
//! the CPU engine's portable kernels, which depend on no instruction set and no driver. The first
//! layers are enough, because the others run the same kernels. The reference has its matrices in
//! f32, rounded to the format, so that a wrong scale or nibble is an error.
//!
//! A step reads the output of the previous one, so everything after the first wrong step is wrong
//! as well. A GPU also samples a few tokens, once at temperature 0 and once with top-k of 1; both
//! must give the reference's likeliest token. Split attention, which needs a thousand tokens, is
//! not tested here. The test of training is in `training`.

#[cfg(feature = "train")]
mod training;

use std::borrow::Cow;

use gpt_plan::{Feature, Format, Plan, TensorId};

use crate::device::EngineRef;
use crate::engine::Trace;
use crate::truncated_plan::{has_kernels, some_tokens, truncate};
use crate::vtable::Gpt;
use crate::wait::now;
use crate::weights::unit_gain::UnitGain;
use crate::weights::{HostTensor, Weights, format};
use crate::{Device, Error, Model, Sampler, Sampling, Session, Untyped};

#[cfg(feature = "train")]
pub use training::self_test_training;

/// Tokens of the prompt: those of two tiles of a GPU kernel and one more.
const PROMPT: u32 = 33;

/// Tokens that a device samples in a row.
const SAMPLED: usize = 4;

/// An error is relative to a mean square of at least this. Values are around 1; this is the square
/// of a tenth.
const TYPICAL: f64 = 0.01;

/// The seed of the weights.
const SEED: u64 = 0x5e1f;

/// The result of a self-test.
#[derive(Clone, Debug, PartialEq)]
pub struct SelfTest {
    /// Name of the tested device.
    pub device: String,
    /// Name of the device that it was compared with.
    pub reference: String,
    /// The checks, in the order in which they ran. For each format: the steps of a prompt, the
    /// steps of one token, then sampling. In a test of training: the loss, the gradients, the
    /// optimizer.
    pub checks: Vec<Check>,
    /// Formats without kernels in the plan, because some matrix is larger than a kernel can bind.
    pub skipped_formats: Vec<Format>,
}

/// The comparison of one step.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// Format of the matrices.
    pub format: Format,
    /// Rows of the pass.
    pub rows: u32,
    /// The step's name in the plan, `sample` or `sample_truncated`. In a test of training: `loss`,
    /// `d(NAME)` for the gradient of a tensor, or `adamw`.
    pub step: &'static str,
    /// The layer of the step or tensor; 0 outside of layers.
    pub layer: u32,
    /// Normalised mean square error: the sum of squared differences over the sum of squares,
    /// infinite if a value is not finite. For sampling: the squared difference between the logit of
    /// the sampled token and the greatest logit, over the mean square of all logits; the largest of
    /// a few tokens.
    pub error: f64,
    /// The largest error that passes.
    pub bound: f64,
}

impl Check {
    /// Whether the error is within the bound.
    pub fn passed(&self) -> bool {
        self.error <= self.bound
    }
}

impl SelfTest {
    /// The first check that failed, if any.
    pub fn first_failed(&self) -> Option<&Check> {
        self.checks.iter().find(|check| !check.passed())
    }
}

impl<M: Gpt> Model<M> {
    /// Runs the first layers of this model at its own shapes on `device`, in every format, and
    /// compares each step with the CPU engine's portable kernels; see [`self_test`].
    ///
    /// # Errors
    /// See [`self_test`].
    pub fn self_test(device: &Device) -> Result<SelfTest, Error> {
        self_test(M::plan(), device, &Format::ALL)
    }
}

/// Like [`self_test`], for browsers, where a program cannot block and awaits the GPU. On other
/// systems the call blocks.
///
/// # Errors
/// See [`self_test`].
pub async fn self_test_async(
    plan: &'static Plan,
    device: &Device,
    formats: &[Format],
) -> Result<SelfTest, Error> {
    compare(plan, device, formats, [SEED; 2]).await
}

/// Runs the first layers of `plan` on `device` with matrices in each of `formats` and compares each
/// step with the CPU engine's portable kernels. A device that computes wrongly is not an `Err`.
///
/// # Errors
/// Fails if the device has no memory for the first layers and the head, or is lost.
pub fn self_test(
    plan: &'static Plan,
    device: &Device,
    formats: &[Format],
) -> Result<SelfTest, Error> {
    now(compare(plan, device, formats, [SEED; 2]))
}

/// Runs the self-test with weights of the first seed on the device and of the second for the
/// reference. With different seeds its checks fail.
async fn compare(
    plan: &'static Plan,
    device: &Device,
    formats: &[Format],
    seeds: [u64; 2],
) -> Result<SelfTest, Error> {
    let portable = Device::portable()?;
    let plan = truncate(plan);
    let mut found = SelfTest {
        device: device.name(),
        reference: portable.name(),
        checks: Vec::new(),
        skipped_formats: Vec::new(),
    };
    for &format in formats {
        if device.is_gpu() && !has_kernels(plan, format) {
            found.skipped_formats.push(format);
            continue;
        }
        let tested = UnitGain::new(plan, seeds[0], format);
        let expected = Exact(UnitGain::new(plan, seeds[1], format));
        let mut tested = Sequence::new(Model::from_plan(plan, &tested, device)?)?;
        let mut expected = Sequence::new(Model::from_plan(plan, &expected, &portable)?)?;
        let bound = bound(device, format);
        for rows in [PROMPT.min(plan.spec.context), 1] {
            let (tested, expected) = (tested.run(rows).await?, expected.run(rows).await?);
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
        if device.is_gpu() && plan.spec.is_causal() {
            for (step, temperature, top_k) in [("sample", 0.0, 0), ("sample_truncated", 1.0, 1)] {
                let likeliest = Sampling { temperature, top_k, ..Sampling::default() };
                found.checks.push(Check {
                    format,
                    rows: 1,
                    step,
                    layer: 0,
                    error: sampling_error(&tested.model, &expected.model, likeliest).await?,
                    bound,
                });
            }
        }
    }
    Ok(found)
}

/// The largest error of the tokens that `tested` samples, relative to the likeliest token of
/// `expected`.
async fn sampling_error(
    tested: &Model<Untyped>,
    expected: &Model<Untyped>,
    likeliest: Sampling,
) -> Result<f64, Error> {
    let spec = &tested.plan().spec;
    let most = SAMPLED.min(spec.context as usize - 1);
    let capacity = most as u32 + 1;
    let mut sampler = Sampler::new(likeliest, spec.vocab as usize)?;
    let mut tested = tested.session().capacity(capacity).open()?;
    let mut expected = expected.session().capacity(capacity).open()?;
    let mut token = spec.vocab / 2;
    let mut worst: f64 = 0.0;
    for i in 0..most {
        let next = tested.advance(token, &mut sampler, &[], most - i).await?;
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

/// The bound of the errors of `device`. On a GPU it allows for f32 arithmetic, a driver's `exp`,
/// and the rounding of variants that were requested by name; on the CPU, for the rounding of the
/// inputs of products, which the residual stream accumulates.
fn bound(device: &Device, format: Format) -> f64 {
    match device.engine() {
        EngineRef::Gpu(gpu) => {
            let features = gpu.features();
            let rounds = |feature| features.has(feature);
            match format {
                Format::F16 if rounds(Feature::F16Arithmetic) => 5e-5,
                Format::F16 if rounds(Feature::CooperativeMatrices) => 1e-6,
                _ if format.is_quantised() && rounds(Feature::PackedDot) => 1e-2,
                _ => 1e-10,
            }
        }
        EngineRef::Cpu(cpu) => 1e-11 + cpu.isa().rounding(format).bound(),
    }
}

/// Normalised mean square error, infinite if a value is not finite. The mean square of `expected`
/// counts as at least `typical`: where values cancel, rounding errors do not.
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

/// A session whose passes are traced.
struct Sequence {
    model: Model<Untyped>,
    session: Session<Untyped>,
    /// The prompt and the token after it.
    tokens: Vec<u32>,
}

impl Sequence {
    fn new(model: Model<Untyped>) -> Result<Sequence, Error> {
        let spec = &model.plan().spec;
        let length = (PROMPT + 1).min(spec.context);
        Ok(Sequence { tokens: some_tokens(spec, length), session: session(&model, length)?, model })
    }

    /// Returns the outputs of the steps for the next `rows` tokens. Opens a new session if no room
    /// is left or if the model is bidirectional.
    async fn run(&mut self, rows: u32) -> Result<Vec<Trace>, Error> {
        let rows = rows as usize;
        let is_causal = self.model.plan().spec.is_causal();
        if !is_causal || rows > self.session.remaining() {
            self.session = session(&self.model, rows as u32)?;
        }
        let first = self.session.tokens().len();
        self.session.trace_async(&self.tokens[first..first + rows]).await
    }
}

fn session(model: &Model<Untyped>, capacity: u32) -> Result<Session<Untyped>, Error> {
    let session = model.session().capacity(capacity).chunk(capacity);
    session.all_logits().open()
}

/// Weights in f32, with the values to which the format of `W` rounds them.
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
        Ok(HostTensor { format: Format::F32, data: Cow::Owned(data), ..tensor })
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
            let same = now(compare(plan, &device, &Format::ALL, [1, 1])).unwrap();
            assert_eq!(same.first_failed(), None);
            // Two passes over two layers of five steps, and what is around them.
            assert_eq!(same.checks.len(), Format::ALL.len() * 2 * 12);
            let other = now(compare(plan, &device, &Format::ALL, [1, 2])).unwrap();
            let passed = other.checks.iter().find(|check| check.passed());
            assert_eq!(passed, None);
        }
    }

    #[test]
    fn an_error_is_relative_and_never_a_nan() {
        assert_eq!(error(&[1.0, 2.0], &[1.0, 2.0], TYPICAL), 0.0);
        assert!((error(&[1.1, 0.0], &[1.0, 0.0], TYPICAL) - 0.01).abs() < 1e-6);
        assert_eq!(error(&[f32::NAN, 2.0], &[1.0, 2.0], TYPICAL), f64::INFINITY);
        assert_eq!(error(&[f32::INFINITY, 2.0], &[1.0, 2.0], TYPICAL), f64::INFINITY);
        assert_eq!(error(&[1.0], &[1.0, 2.0], TYPICAL), f64::INFINITY);
        assert_eq!(error(&[], &[], TYPICAL), f64::INFINITY);
    }
}
