//! The CPU engine against the oracle, step by step, on plans made at run time.

use std::sync::Arc;

use gpt_plan::{Format, Mask, Spec};
use gpt_runtime::cpu::simd::Isa;
use gpt_runtime::cpu::{CpuDevice, CpuModel};
use gpt_runtime::engine::{EngineModel, SessionOptions, Want};
use gpt_tests::compare::{check_trace, check_trace_from, nmse, tail};
use gpt_tests::lively::Lively;
use gpt_tests::oracle::Gpt;
use gpt_tests::{specs, tokens};

/// Room for f32 arithmetic over a few layers.
const BOUND: f64 = 1e-11;

fn device(isa: Isa) -> Arc<CpuDevice> {
    Arc::new(CpuDevice::with_isa(isa, Some(2)).unwrap())
}

/// Prompts of several lengths, whole; then the rest token by token on the cache.
fn check(name: &str, spec: &Spec, format: Format, device: &Arc<CpuDevice>) {
    let plan = specs::plan(name, spec);
    let weights = Lively::new(plan, 5, format);
    let oracle = Gpt::new(plan, &weights).unwrap();
    let model = CpuModel::new(device.clone(), plan, &weights).unwrap();
    let options = SessionOptions {
        capacity: spec.context,
        chunk: spec.context,
        all_logits: true,
    };
    let all = tokens(spec.vocab, spec.context as usize);
    for len in [1, 2, 7, 33, all.len()] {
        let prompt = &all[..len.min(all.len())];
        let what = format!("{name} in {}, {} tokens", format.name(), prompt.len());
        let expected = oracle.forward(prompt);
        let mut session = model.session(options).unwrap();
        let trace = session.trace(prompt, 0).unwrap();
        check_trace(&what, &trace, &expected, BOUND);
    }
    if spec.mask == Mask::Bidirectional {
        return;
    }
    let expected = oracle.forward(&all);
    let vocab = spec.vocab as usize;
    let mut session = model.session(options).unwrap();
    let first = all.len() / 3;
    let mut logits = vec![f32::NAN; all.len() * vocab];
    if first > 0 {
        session
            .forward(&all[..first], 0, Want::Nothing, &mut logits)
            .unwrap();
    }
    for (i, token) in all.iter().enumerate().skip(first) {
        session
            .forward(&[*token], i as u32, Want::Last, &mut logits[i * vocab..])
            .unwrap();
    }
    let error = nmse(&logits[first * vocab..], tail(&expected.logits, first));
    assert!(
        error <= BOUND,
        "{name} in {}: cached decoding has an NMSE of {error:e}",
        format.name()
    );

    // The second chunk of a prompt, with queries that see a cache.
    let mut session = model.session(options).unwrap();
    if first > 0 {
        session
            .forward(&all[..first], 0, Want::Nothing, &mut logits)
            .unwrap();
    }
    let trace = session.trace(&all[first..], first as u32).unwrap();
    check_trace_from(
        &format!("{name}, second chunk"),
        &trace,
        &expected,
        first,
        BOUND,
    );
}

#[test]
fn every_odd_spec_in_every_format() {
    let device = device(Isa::available()[0]);
    for (name, spec) in specs::odd() {
        for format in Format::ALL {
            check(name, &spec, format, &device);
        }
    }
}

#[test]
fn every_instruction_set() {
    for isa in Isa::available() {
        let device = device(isa);
        for (name, spec) in [("gpt2", specs::gpt2()), ("smollm2", specs::smollm2())] {
            check(
                &format!("{name} on {}", isa.name()),
                &spec,
                Format::F32,
                &device,
            );
            check(
                &format!("{name} on {}", isa.name()),
                &spec,
                Format::Q4,
                &device,
            );
        }
    }
}
