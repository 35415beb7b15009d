//! One engine against the oracle, step by step, on a plan made at run time.

use gpt_plan::{Format, Mask, Plan, Spec};
use gpt_runtime::Error;
use gpt_runtime::engine::{CacheFormat, EngineModel, SessionOptions, Want};
use gpt_runtime::weights::Weights;

use crate::compare::{check_trace, check_trace_from, nmse, tail};
use crate::lively::Lively;
use crate::oracle::Gpt;
use crate::{specs, tokens};

/// An engine: packs a model's weights.
pub type Engine<'a> =
    &'a dyn Fn(&'static Plan, &dyn Weights) -> Result<Box<dyn EngineModel>, Error>;

/// The NMSE that a few layers may have on the CPU: room for f32 arithmetic, and with quantised matrices for inputs rounded to 16 bits. Rounding is off by
/// `max / 32767 / sqrt(12)` of a block of 32, whose root mean square is between `max / sqrt(32)` and `max`: an NMSE of 8e-11 to 2.5e-9 for
/// each product. The stream adds them up, and a step may magnify them: 1.1e-8 was seen on the odd specs.
pub fn cpu_bound(format: Format) -> f64 {
    match format {
        Format::F32 | Format::F16 | Format::Bf16 => 1e-11,
        Format::Q8 | Format::Q4 => 1e-7,
    }
}

/// Prompts of several lengths, whole; then the rest token by token on the cache; then the second chunk of a prompt.
#[track_caller]
pub fn check(name: &str, spec: &Spec, format: Format, engine: Engine<'_>, bound: f64) {
    let plan = specs::plan(name, spec);
    let weights = Lively::new(plan, 5, format);
    let oracle = Gpt::new(plan, &weights).unwrap();
    let model = engine(plan, &weights).unwrap();
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
        let what = format!("{name} in {}, {} tokens", format.name(), prompt.len());
        let expected = oracle.forward(prompt);
        let mut session = model.session(options).unwrap();
        let trace = session.trace(prompt, 0).unwrap();
        check_trace(&what, &trace, &expected, bound);
    }
    if spec.mask == Mask::Bidirectional {
        return;
    }
    let vocab = spec.vocab as usize;
    let first = all.len() / 3;
    let mut logits = vec![f32::NAN; all.len() * vocab];
    let mut start = || {
        let mut session = model.session(options).unwrap();
        if first > 0 {
            session
                .forward(&all[..first], 0, Want::Nothing, &mut logits)
                .unwrap();
        }
        session
    };
    // With queries that see a cache.
    let trace = start().trace(&all[first..], first as u32).unwrap();
    let what = format!("{name} in {}, second chunk", format.name());
    check_trace_from(&what, &trace, &expected, first, bound);

    let mut session = start();
    for (i, token) in all.iter().enumerate().skip(first) {
        session
            .forward(&[*token], i as u32, Want::Last, &mut logits[i * vocab..])
            .unwrap();
    }
    let error = nmse(&logits[first * vocab..], tail(&expected.logits, first));
    assert!(
        error <= bound,
        "{name} in {}: cached decoding has an NMSE of {error:e}",
        format.name()
    );
}
