//! Compares attention over a long cache, which is split over the keys, with the oracle.

use gpt_plan::{Format, Spec};
use gpt_runtime::__private::engine::{CacheFormat, EngineModel, LogitsRequest, SessionOptions};
use gpt_runtime::__private::gpu::GpuModel;
use gpt_tests::compare::check_trace_from;
use gpt_tests::oracle::Gpt;
use gpt_tests::unit_gain::UnitGain;
use gpt_tests::{gpu, specs, tokens};

const BOUND: f64 = 1e-10;

fn check(name: &str, spec: &Spec) {
    let Some(device) = gpu::device() else { return };
    let plan = specs::plan(name, spec);
    assert!(plan.split_attention.is_some(), "{name} sees enough keys");
    let weights = UnitGain::new(plan, 5, Format::F32);
    let oracle = Gpt::new(plan, &weights).unwrap();
    let model = GpuModel::new(device, plan, &weights).unwrap();
    let all = tokens(spec.vocab, spec.context as usize);
    let options = SessionOptions {
        capacity: spec.context,
        chunk: 256,
        all_logits: true,
        cache: CacheFormat::F32,
    };
    let mut session = model.session(options).unwrap();
    let mut filled = 0;
    // The last position without a split and the first with one; edges of splits; the last position.
    // Then a chunk of a prompt on a long cache.
    let last = all.len() - 1;
    for (position, rows) in [
        (1023, 1),
        (1024, 1),
        (1025, 1),
        (1535, 1),
        (1536, 1),
        (1801, 33),
        (last - 1, 1),
        (last, 1),
    ] {
        for chunk in all[filled..position].chunks(256) {
            session.forward(chunk, filled as u32, LogitsRequest::Nothing, &mut []).now().unwrap();
            filled += chunk.len();
        }
        let end = position + rows;
        let expected = oracle.forward(&all[..end]);
        let trace = session.trace(&all[position..end], position as u32).now().unwrap();
        let what = format!("{name}, {rows} tokens at position {position}");
        check_trace_from(&what, &trace, &expected, position, BOUND);
        filled = end;
    }
}

#[test]
fn heads_of_whole_quads() {
    let spec = Spec { context: 2077, layers: 2, heads: 4, kv_heads: 2, ..specs::smollm2() };
    check("long", &spec);
}

#[test]
fn odd_heads() {
    let spec = Spec {
        context: 2048,
        layers: 1,
        heads: 3,
        kv_heads: 3,
        embed: 39,
        head_dim: 13,
        ..specs::gpt2()
    };
    check("long_odd", &spec);
}

/// The kernels of split attention are compiled before a text is long enough to need them.
#[test]
fn a_text_does_not_wait_for_kernels() {
    // A separate device, on which no other test creates objects.
    let Some(device) = gpu::plain_device() else {
        return;
    };
    let spec = Spec { context: 2 * gpt_plan::SPLIT_FROM, layers: 1, ..specs::gpt2() };
    let plan = specs::plan("middle", &spec);
    let weights = UnitGain::new(plan, 5, Format::F32);
    let model = GpuModel::new(device.clone(), plan, &weights).unwrap();
    let options = SessionOptions {
        capacity: spec.context,
        chunk: 1,
        all_logits: false,
        cache: CacheFormat::F32,
    };
    let mut session = model.session(options).unwrap();
    session.forward(&[1], 0, LogitsRequest::Nothing, &mut []).now().unwrap();
    let before = device.created();
    for position in 1..=gpt_plan::SPLIT_FROM + 1 {
        session.forward(&[1], position, LogitsRequest::Nothing, &mut []).now().unwrap();
    }
    assert_eq!(device.created(), before, "a pass created something");
}

/// A short context and a bidirectional mask need no split kernels.
#[test]
fn a_short_context_has_no_splits() {
    let spec =
        |context, mask| Spec { context, mask: gpt_plan::Pattern::all(mask), ..specs::gpt2() };
    let splits =
        |context, mask| specs::plan("short", &spec(context, mask)).split_attention.is_some();
    assert!(!splits(gpt_plan::SPLIT_FROM, gpt_plan::Mask::Causal));
    assert!(splits(gpt_plan::SPLIT_FROM + 1, gpt_plan::Mask::Causal));
    assert!(!splits(2 * gpt_plan::SPLIT_FROM, gpt_plan::Mask::Bidirectional));
}
