//! Embeddings of several texts equal those of each text alone, bit for bit, whatever the other
//! texts are and however an engine runs them.

use std::sync::Arc;

use gpt_plan::{Format, Mask, Pattern, Spec};
use gpt_runtime::__private::cpu::{CpuDevice, CpuModel};
use gpt_runtime::__private::engine::{CacheFormat, EngineModel, EngineSession, SessionOptions};
use gpt_runtime::__private::gpu::GpuModel;
use gpt_runtime::{Device, DeviceKind, DeviceOptions, EmbedOptions, Model, Pooling};
use gpt_simd::Isa;
use gpt_tests::unit_gain::UnitGain;
use gpt_tests::{gpu, specs, tokens};

use crate::Bard;

/// Lengths at the edges of panels, register tiles and blocks of queries, and texts of one token.
/// One pass does not hold all of them.
const LENGTHS: [usize; 20] =
    [5, 1, 33, 2, 64, 31, 32, 47, 48, 49, 12, 13, 1, 60, 64, 63, 3, 24, 25, 64];

fn session(model: &dyn EngineModel, spec: &Spec, cache: CacheFormat) -> Box<dyn EngineSession> {
    let capacity = spec.context;
    let options = SessionOptions { capacity, chunk: capacity, all_logits: false, cache };
    model.session(options).unwrap()
}

#[track_caller]
fn check(what: &str, model: &dyn EngineModel, spec: &Spec, cache: CacheFormat) {
    let lengths = LENGTHS.map(|length| length.min(spec.context as usize));
    let all = tokens(spec.vocab, lengths.iter().sum());
    let mut rest = &all[..];
    let texts = lengths.map(|length| {
        let (text, later) = rest.split_at(length);
        rest = later;
        text
    });
    let mut together = session(model, spec, cache);
    // Twice, so that the second run finds stale values.
    for run in 0..2 {
        let mut found: Vec<Vec<f32>> = Vec::new();
        let mut take = |text, rows: &mut [f32]| {
            assert_eq!(text, found.len(), "{what}: the order of texts");
            found.push(rows.to_vec());
        };
        together.streams(&texts, &mut take).unwrap();
        assert_eq!(found.len(), texts.len(), "{what}: texts");
        for (text, found) in texts.iter().zip(found) {
            let mut alone = Vec::new();
            session(model, spec, cache).stream(text, 0, &mut alone).unwrap();
            assert!(found == alone, "{what}, run {run}: a text of {} tokens", text.len());
            assert!(found.iter().all(|x| x.is_finite()));
        }
    }
}

/// The encoders among the odd specs, and others for what depends on positions.
fn subjects() -> Vec<(&'static str, Spec)> {
    let is_bidirectional =
        |spec: &Spec| spec.context >= 64 && spec.mask == Pattern::all(Mask::Bidirectional);
    let wanted = ["gpt2", "smollm2", "rope_pattern", "window", "parallel_norms", "wide"];
    let all = specs::odd().into_iter().chain([("wide", specs::wide())]);
    let subjects: Vec<_> =
        all.filter(|(name, spec)| is_bidirectional(spec) || wanted.contains(name)).collect();
    for name in wanted {
        assert!(subjects.iter().any(|(found, _)| *found == name), "no spec is called {name}");
    }
    subjects
}

#[test]
fn texts_together_are_texts_alone_on_the_cpu() {
    for (name, spec) in subjects() {
        let plan = specs::plan(name, &spec);
        for format in Format::ALL {
            let weights = UnitGain::new(plan, 7, format);
            let device = Arc::new(CpuDevice::new(Some(2)).unwrap());
            let model = CpuModel::new(device, plan, None, &weights).unwrap();
            let what = format!("{name} in {}", format.name());
            check(&what, &model, &spec, CacheFormat::F32);
        }
    }
}

#[test]
fn every_instruction_set_thread_and_cache() {
    let (name, spec) = subjects().into_iter().find(|(name, _)| *name == "encoder").unwrap();
    let plan = specs::plan(name, &spec);
    let weights = UnitGain::new(plan, 7, Format::F32);
    for isa in Isa::available() {
        for threads in [1, 3] {
            let device = Arc::new(CpuDevice::with_isa(isa, Some(threads)).unwrap());
            let model = CpuModel::new(device, plan, None, &weights).unwrap();
            for cache in CacheFormat::ALL {
                let what = format!("{}, {threads} threads, {}", isa.name(), cache.name());
                check(&what, &model, &spec, cache);
            }
        }
    }
}

#[test]
fn texts_together_are_texts_alone_on_a_gpu() {
    let Some(device) = gpu::device() else { return };
    for (name, spec) in subjects().into_iter().filter(|(name, _)| *name == "encoder") {
        let plan = specs::plan(name, &spec);
        let weights = UnitGain::new(plan, 7, Format::F32);
        let model = GpuModel::new(device.clone(), plan, &weights).unwrap();
        check(name, &model, &spec, CacheFormat::F32);
    }
}

/// The public interface, with a tokenizer and every kind of pooling.
#[test]
fn an_embedding_does_not_depend_on_the_texts_beside_it() {
    let mut devices = vec![Device::cpu().unwrap()];
    if gpu::device().is_some() {
        let options = DeviceOptions { kind: DeviceKind::Gpu, ..DeviceOptions::default() };
        devices.push(Device::open(&options).unwrap());
    }
    let long = "To be, or not to be: that is the question. ".repeat(9);
    let texts = ["Good night", "a", "Good morrow, cousin.", &long, "b", "Is the day so young?"];
    for device in devices {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../gpt-cli/assets/bard.gguf");
        let model: Model<Bard> = Model::load(file, &device).unwrap();
        for pooling in [Pooling::Mean, Pooling::Cls, Pooling::Last] {
            let options = EmbedOptions { pooling, ..EmbedOptions::default() };
            let together = model.embed(&texts, &options).unwrap();
            assert_eq!((together.len(), together.truncated()), (texts.len(), 1));
            for (text, row) in texts.iter().zip(together.rows()) {
                let alone = model.embed(&[text], &options).unwrap();
                assert_eq!(alone.row(0), row, "{text:?} on {}", device.name());
            }
        }
    }
}
