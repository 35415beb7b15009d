//! Compares an engine's inference with the oracle, step by step, on a plan made at run time.

use gpt_plan::{Format, Plan, Spec};
use gpt_runtime::__private::engine::{CacheFormat, EngineModel, LogitsRequest, SessionOptions};
use gpt_runtime::Error;
use gpt_runtime::weights::Weights;
use gpt_simd::{Isa, Rounding};

use crate::compare::{check_trace, check_trace_from, nmse, tail};
use crate::oracle::Gpt;
use crate::unit_gain::UnitGain;
use crate::{specs, tokens};

/// An engine, by its function that loads weights.
pub type Engine<'a> =
    &'a dyn Fn(&'static Plan, &dyn Weights) -> Result<Box<dyn EngineModel>, Error>;

/// The bound of the NMSE after a few layers on the CPU: f32 arithmetic plus the rounding of inputs
/// by `isa`.
pub fn cpu_bound(format: Format, isa: Isa) -> f64 {
    1e-11 + isa.rounding(format).bound()
}

/// The instruction sets to test with `format`: the best one, and the best with at least 16 bits of
/// an input, which has tight bounds.
pub fn sets(format: Format) -> Vec<Isa> {
    let all = Isa::available();
    let keeps = |isa: &&Isa| matches!(isa.rounding(format), Rounding::None | Rounding::Integer16);
    let precise = all.iter().find(keeps).expect("plain Rust keeps 16 bits");
    let mut sets = vec![all[0], *precise];
    sets.dedup();
    sets
}

/// Runs prompts of several lengths at once, then the rest token by token, then the second chunk of
/// a prompt.
#[track_caller]
pub fn check(name: &str, spec: &Spec, format: Format, engine: Engine<'_>, bound: f64) {
    let plan = specs::plan(name, spec);
    let weights = UnitGain::new(plan, 5, format);
    check_weights(&format!("{name} in {}", format.name()), plan, &weights, engine, bound);
}

/// As [`check`] with other weights; `name` is the model's in messages.
#[track_caller]
pub fn check_weights(
    name: &str,
    plan: &'static Plan,
    weights: &dyn Weights,
    engine: Engine<'_>,
    bound: f64,
) {
    let spec = &plan.spec;
    let oracle = Gpt::new(plan, weights).unwrap();
    let model = engine(plan, weights).unwrap();
    let options = SessionOptions {
        capacity: spec.context,
        chunk: spec.context,
        all_logits: true,
        cache: CacheFormat::F32,
    };
    let all = tokens(spec.vocab, spec.context as usize);
    let expected = oracle.forward(&all);
    for len in [1, 2, 7, 33, all.len()] {
        let prompt = &all[..len.min(all.len())];
        let what = format!("{name}, {} tokens", prompt.len());
        let expected = oracle.forward(prompt);
        let mut session = model.session(options).unwrap();
        let trace = session.trace(prompt, 0).unwrap();
        check_trace(&what, &trace, &expected, bound);
    }
    if !spec.is_causal() {
        return;
    }
    let vocab = spec.vocab as usize;
    let first = all.len() / 3;
    let mut logits = vec![f32::NAN; all.len() * vocab];
    let mut start = || {
        let mut session = model.session(options).unwrap();
        if first > 0 {
            session.forward(&all[..first], 0, LogitsRequest::Nothing, &mut logits).unwrap();
        }
        session
    };
    // A chunk whose queries see cached keys.
    let trace = start().trace(&all[first..], first as u32).unwrap();
    let what = format!("{name}, second chunk");
    check_trace_from(&what, &trace, &expected, first, bound);

    let mut session = start();
    for (i, token) in all.iter().enumerate().skip(first) {
        session
            .forward(&[*token], i as u32, LogitsRequest::Last, &mut logits[i * vocab..])
            .unwrap();
    }
    let error = nmse(&logits[first * vocab..], tail(&expected.logits, first));
    assert!(error <= bound, "{name}: cached decoding has an NMSE of {error:e}");
}
