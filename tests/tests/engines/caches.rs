//! Caches longer than a split of the keys, which decoding distributes over threads, and rounded
//! caches.

use std::sync::Arc;

use gpt_plan::{Format, Spec};
use gpt_runtime::__private::cpu::{CpuDevice, CpuModel};
use gpt_runtime::__private::engine::{EngineModel, EngineSession, LogitsRequest, SessionOptions};
use gpt_runtime::CacheFormat;
use gpt_tests::compare::nmse;
use gpt_tests::oracle::Gpt;
use gpt_tests::unit_gain::UnitGain;
use gpt_tests::{specs, tokens};

/// More keys than a split; three query heads share a key head, and heads do not fill a panel.
fn long() -> Spec {
    Spec { context: 700, heads: 6, kv_heads: 2, head_dim: 20, ..specs::smollm2() }
}

/// Positions at the edges of splits, key blocks and panels, and the last one.
const POSITIONS: [usize; 12] = [0, 1, 31, 127, 128, 256, 510, 511, 512, 513, 640, 699];

struct Case {
    model: CpuModel,
    vocab: usize,
    all: Vec<u32>,
}

impl Case {
    fn new(threads: usize) -> (Case, Vec<f64>) {
        let spec = long();
        let plan = specs::plan("long", &spec);
        let weights = UnitGain::new(plan, 11, Format::F32);
        let all = tokens(spec.vocab, spec.context as usize);
        let expected = Gpt::new(plan, &weights).unwrap().forward(&all).logits.values;
        let device = Arc::new(CpuDevice::new(Some(threads)).unwrap());
        let case = Case {
            model: CpuModel::new(device, plan, None, &weights).unwrap(),
            vocab: spec.vocab as usize,
            all,
        };
        (case, expected)
    }

    fn session(&self, cache: CacheFormat) -> Box<dyn EngineSession> {
        let options =
            SessionOptions { capacity: self.all.len() as u32, chunk: 64, all_logits: false, cache };
        self.model.session(options).unwrap()
    }

    /// The logits `[vocab]` after each of [`POSITIONS`], decoded on a cache filled in chunks.
    fn decoded(&self, cache: CacheFormat) -> Vec<f32> {
        let mut session = self.session(cache);
        let mut logits = vec![f32::NAN; POSITIONS.len() * self.vocab];
        let mut read = 0;
        for (at, logits) in POSITIONS.into_iter().zip(logits.chunks_mut(self.vocab)) {
            while read < at {
                let chunk = &self.all[read..at.min(read + 64)];
                session.forward(chunk, read as u32, LogitsRequest::Nothing, &mut []).now().unwrap();
                read += chunk.len();
            }
            let token = &self.all[at..=at];
            session.forward(token, at as u32, LogitsRequest::Last, logits).now().unwrap();
            read += 1;
        }
        logits
    }
}

#[test]
fn a_long_cache_is_split() {
    let mut first = None;
    for threads in [1, 3] {
        let (case, expected) = Case::new(threads);
        let found = case.decoded(CacheFormat::F32);
        for (at, found) in POSITIONS.into_iter().zip(found.chunks(case.vocab)) {
            let error = nmse(found, &expected[at * case.vocab..][..case.vocab]);
            assert!(error <= 1e-11, "position {at}: NMSE {error:e}");
        }
        // Splits do not depend on the number of threads, so results are equal bit for bit.
        assert_eq!(*first.get_or_insert_with(|| found.clone()), found);
    }
}

#[test]
fn a_rounded_cache_has_the_error_of_its_format() {
    let (case, expected) = Case::new(2);
    // The relative error of a number is at most 2^-11 or 2^-8, and its mean square about 4e-8 or
    // 3e-6. Scores magnify it, and layers add it up.
    for (cache, least, most) in [(CacheFormat::F16, 1e-10, 1e-6), (CacheFormat::Bf16, 1e-8, 6e-5)] {
        let found = case.decoded(cache);
        // Position 0 has a single key with weight 1, so only the rounding of its value counts.
        for (at, found) in POSITIONS.into_iter().zip(found.chunks(case.vocab)) {
            let error = nmse(found, &expected[at * case.vocab..][..case.vocab]);
            let what = format!("{} at position {at}: NMSE {error:e}", cache.name());
            assert!(error <= most, "{what}");
            assert!(error >= least, "{what}, as if nothing were rounded");
        }
    }
}

#[test]
fn a_trace_has_the_rounded_values() {
    let (case, _) = Case::new(2);
    let mut session = case.session(CacheFormat::Bf16);
    let trace = session.trace(&case.all[..5], 0).now().unwrap();
    let spec = long();
    let (q, row) = (spec.q_width() as usize, spec.qkv_width() as usize);
    let qkv = trace.iter().find(|t| t.step == "qkv").unwrap();
    for values in qkv.values.chunks(row) {
        assert!(values[..q].iter().any(|x| x.to_bits() & 0xFFFF != 0), "queries are not rounded");
        let rounded = values[q..].iter().all(|x| x.to_bits() & 0xFFFF == 0);
        assert!(rounded, "keys and values are rounded");
    }
}

#[test]
fn the_gpu_engine_rejects_rounded_caches() {
    let Some(device) = gpt_tests::gpu::device() else {
        return;
    };
    let spec = long();
    let plan = specs::plan("long", &spec);
    let weights = UnitGain::new(plan, 11, Format::F32);
    let model = gpt_runtime::__private::gpu::GpuModel::new(device, plan, &weights).unwrap();
    let options =
        SessionOptions { capacity: 8, chunk: 8, all_logits: false, cache: CacheFormat::F16 };
    let Err(error) = model.session(options) else {
        panic!("a rounded cache was accepted");
    };
    assert!(error.to_string().contains("f16"), "{error}");
}
