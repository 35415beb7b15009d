//! Compares an engine's inference with the oracle, step by step, on a plan made at run time.

use std::sync::Arc;

use gpt_plan::{Format, Plan, Spec};
use gpt_runtime::__private::cpu::{CpuDevice, CpuModel};
use gpt_runtime::__private::engine::{CacheFormat, EngineModel, LogitsRequest, SessionOptions};
use gpt_runtime::Error;
use gpt_runtime::weights::Weights;
use gpt_simd::{Isa, Rounding};

use crate::compare::{check_trace, check_trace_from, nmse, tail};
use crate::oracle::{Forward, Gpt};
use crate::unit_gain::UnitGain;
use crate::{specs, tokens};

/// The function with which an engine loads weights.
pub type Engine<'a> =
    &'a dyn Fn(&'static Plan, &dyn Weights) -> Result<Box<dyn EngineModel>, Error>;

/// An engine to compare with the oracle.
pub struct Candidate<'a> {
    /// Its name in messages.
    pub name: &'a str,
    pub engine: Engine<'a>,
    /// The bound of the NMSE.
    pub bound: f64,
}

/// Calls `test` with the CPU engine of each instruction set in `isas`; `bound` gives its bound.
/// Engines have two threads or one, in turn: values do not depend on the number, and tests already
/// occupy the cores.
#[track_caller]
pub fn with_cpu_engines(
    isas: &[Isa],
    bound: impl Fn(Isa) -> f64,
    test: impl FnOnce(&[Candidate<'_>]),
) {
    let engines: Vec<_> = isas
        .iter()
        .enumerate()
        .map(|(i, &isa)| {
            let device = Arc::new(CpuDevice::with_isa(isa, Some(2 - i % 2)).unwrap());
            move |plan: &'static Plan, weights: &dyn Weights| {
                let model = CpuModel::new(device.clone(), plan, None, weights)?;
                Ok(Box::new(model) as Box<dyn EngineModel>)
            }
        })
        .collect();
    let candidates: Vec<_> = isas
        .iter()
        .zip(&engines)
        .map(|(&isa, engine)| Candidate { name: isa.name(), engine, bound: bound(isa) })
        .collect();
    test(&candidates);
}

/// The bound of the NMSE after a few layers on the CPU: f32 arithmetic plus the rounding of inputs
/// by `isa`.
pub fn cpu_bound(format: Format, isa: Isa) -> f64 {
    1e-11 + isa.rounding(format).bound()
}

/// The instruction sets to test with `format`: the best one, and the best one that keeps at least
/// 16 bits of an input, which has tight bounds.
pub fn sets(format: Format) -> Vec<Isa> {
    let all = Isa::available();
    let keeps = |isa: &&Isa| matches!(isa.rounding(format), Rounding::None | Rounding::Integer16);
    let precise = all.iter().find(keeps).expect("plain Rust keeps 16 bits");
    let mut sets = vec![all[0], *precise];
    sets.dedup();
    sets
}

/// Compares whole prompts of several lengths, then the second chunk of a prompt, then decoding
/// token by token.
#[track_caller]
pub fn check(name: &str, spec: &Spec, format: Format, engine: Engine<'_>, bound: f64) {
    check_engines(name, spec, format, &[Candidate { name: "the engine", engine, bound }]);
}

/// Like [`check`] with several engines: the oracle runs once for all of them.
#[track_caller]
pub fn check_engines(name: &str, spec: &Spec, format: Format, engines: &[Candidate<'_>]) {
    let plan = specs::plan(name, spec);
    let weights = UnitGain::new(plan, 5, format);
    check_weights(&format!("{name} in {}", format.name()), plan, &weights, engines);
}

/// Like [`check_engines`] with other weights; messages call the model `name`.
#[track_caller]
pub fn check_weights(
    name: &str,
    plan: &'static Plan,
    weights: &dyn Weights,
    engines: &[Candidate<'_>],
) {
    let all = tokens(plan.spec.vocab, plan.spec.context as usize);
    let oracle = Gpt::new(plan, weights).unwrap();
    let mut lengths = [1, 2, 7, 33, all.len()].map(|length| length.min(all.len())).to_vec();
    lengths.sort_unstable();
    lengths.dedup();
    let prompts: Vec<_> =
        lengths.iter().map(|&length| (&all[..length], oracle.forward(&all[..length]))).collect();
    for candidate in engines {
        let name = format!("{name} on {}", candidate.name);
        let model = (candidate.engine)(plan, weights).unwrap();
        check_engine(&name, plan, &*model, &prompts, candidate.bound);
    }
}

/// Compares a model on `prompts`, each a prefix of the last one, with the oracle's values.
#[track_caller]
fn check_engine(
    name: &str,
    plan: &Plan,
    model: &dyn EngineModel,
    prompts: &[(&[u32], Forward)],
    bound: f64,
) {
    let spec = &plan.spec;
    let options = SessionOptions {
        capacity: spec.context,
        chunk: spec.context,
        all_logits: true,
        cache: CacheFormat::F32,
    };
    for (prompt, expected) in prompts {
        let what = format!("{name}, {} tokens", prompt.len());
        let mut session = model.session(options).unwrap();
        let trace = session.trace(prompt, 0).now().unwrap();
        check_trace(&what, &trace, expected, bound);
    }
    let (all, expected) = prompts.last().expect("a prompt");
    if !spec.is_causal() {
        return;
    }
    let vocab = spec.vocab as usize;
    let first = all.len() / 3;
    let mut logits = vec![f32::NAN; all.len() * vocab];
    let mut start = || {
        let mut session = model.session(options).unwrap();
        if first > 0 {
            session.forward(&all[..first], 0, LogitsRequest::Nothing, &mut logits).now().unwrap();
        }
        session
    };
    // A chunk whose queries see cached keys.
    let trace = start().trace(&all[first..], first as u32).now().unwrap();
    let what = format!("{name}, second chunk");
    check_trace_from(&what, &trace, expected, first, bound);

    let mut session = start();
    for (i, token) in all.iter().enumerate().skip(first) {
        session
            .forward(&[*token], i as u32, LogitsRequest::Last, &mut logits[i * vocab..])
            .now()
            .unwrap();
    }
    let error = nmse(&logits[first * vocab..], tail(&expected.logits, first));
    assert!(error <= bound, "{name}: cached decoding has an NMSE of {error:e}");
}
