//! A session observes the values that the oracle computes, on both engines: attention, the residual
//! stream, logits, and the head on the stream at any depth.

use gpt_plan::{Format, Mask, Spec};
use gpt_runtime::{Device, Model, Observation, Session, Untyped};
use gpt_tests::compare::nmse;
use gpt_tests::oracle::{Gpt, Matrix, Qkv, attention_weights, softmax};
use gpt_tests::unit_gain::UnitGain;
use gpt_tests::{gpu, specs, tokens};

/// The bound of the NMSE: f32 arithmetic, a driver's `exp`, and a softmax of its results.
const BOUND: f64 = 1e-10;

/// A spec of [`specs::odd`].
fn spec(name: &str) -> Spec {
    let found = specs::odd().into_iter().find(|(other, _)| *other == name);
    found.unwrap_or_else(|| panic!("no spec is called {name}")).1
}

fn load(name: &str, format: Format, device: &Device) -> (Model<Untyped>, Gpt) {
    let plan = specs::plan(name, &spec(name));
    let weights = UnitGain::new(plan, 5, format);
    let model = Model::from_plan(plan, &weights, device).unwrap();
    (model, Gpt::new(plan, &weights).unwrap())
}

fn lens(session: &mut Session, stream: &[f32]) -> Vec<f32> {
    let mut logits = Vec::new();
    session
        .lens(stream, |row, values| {
            assert_eq!(row * values.len(), logits.len());
            logits.extend_from_slice(&values);
        })
        .unwrap();
    logits
}

#[track_caller]
fn close(what: &str, found: &[f32], expected: &[f64]) {
    let error = nmse(found, expected);
    assert!(error <= BOUND, "{what}: NMSE {error:e}");
}

/// Compares all that was observed with the oracle's trace.
fn compare(what: &str, found: &Observation, oracle: &Gpt, session: &mut Session) {
    let spec = &oracle.spec;
    let n = found.tokens().len();
    let expected = oracle.forward(found.tokens());
    let step = |layer: usize, names: &[&str]| -> &Matrix {
        let mut steps = expected.trace.iter();
        let found = steps.find(|s| s.layer as usize == layer && names.contains(&s.step));
        &found.expect("a step of the oracle").values
    };
    assert_eq!(found.layers(), spec.layers as usize);
    for layer in 0..found.layers() {
        let qkv = Qkv::split(spec, step(layer, &["qkv", "qkv_first"]));
        for head in 0..found.heads() {
            let what = format!("{what}: attention of head {head} of layer {layer}");
            let weights = found.attention(layer, head);
            let expected = attention_weights(spec, layer as u32, &qkv, head);
            close(&what, &weights, &expected.values);
            for (i, row) in weights.chunks(n).enumerate() {
                let sum: f64 = row.iter().map(|w| f64::from(*w)).sum();
                assert!((sum - 1.0).abs() < 1e-6, "{what}: row {i} sums to {sum}");
                if spec.mask.of(layer as u32) == Mask::Causal {
                    assert!(row[i + 1..].iter().all(|w| *w == 0.0), "{what}: row {i}");
                }
            }
        }
    }
    for depth in 0..=found.layers() {
        let what = format!("{what}: the stream after {depth} layers");
        let expected = match depth.checked_sub(1) {
            None => step(0, &["embed"]),
            Some(layer) => step(layer, &["mlp_down"]),
        };
        close(&what, found.stream(depth), &expected.values);
        let rows = (0..n).map(|row| expected.row(row).iter().map(|x| x * x).sum::<f64>().sqrt());
        let norms: Vec<f64> = rows.collect();
        close(&what, &found.stream_norms(depth), &norms);
        let logits = lens(session, found.stream(depth));
        close(&format!("{what}, through the head"), &logits, &oracle.lens(expected).values);
    }
    for position in 0..n {
        let what = format!("{what}: position {position}");
        close(&what, &found.logits(position), expected.logits.row(position));
        let surprise = found.surprise(position);
        assert_eq!(surprise.is_some(), position > 0 && spec.is_causal());
        if let Some(surprise) = surprise {
            let p = softmax(expected.logits.row(position - 1));
            let expected = -p[found.tokens()[position] as usize].ln();
            let difference = (f64::from(surprise) - expected).abs();
            assert!(difference < 1e-4, "{what}: {surprise}, not {expected}");
        }
    }
}

fn all_logits(found: &Observation) -> Vec<f32> {
    let rows = 0..found.tokens().len();
    rows.flat_map(|row| found.logits(row).to_vec()).collect()
}

/// Observes a text as one chunk, then in chunks whose queries see the keys of earlier ones.
fn check(name: &str, format: Format, device: &Device) {
    let (model, oracle) = load(name, format, device);
    let spec = &oracle.spec;
    let tokens = tokens(spec.vocab, spec.context.min(40) as usize);
    let what = format!("{name} in {} on {}", format.name(), device.name());
    let mut session = model.session().all_logits().open().unwrap();
    let whole = session.observe(&tokens).unwrap();
    compare(&what, &whole, &oracle, &mut session);

    let last = lens(&mut session, whole.stream(whole.layers()));
    if device.is_gpu() {
        let expected: Vec<f64> = all_logits(&whole).iter().map(|x| f64::from(*x)).collect();
        close(&format!("{what}: the lens of the last layer"), &last, &expected);
    } else {
        assert_eq!(last, all_logits(&whole), "{what}: the lens of the last layer");
    }

    if spec.is_causal() {
        let chunked = model.session().chunk(7).all_logits();
        let mut session = chunked.open().unwrap();
        let chunked = session.observe(&tokens).unwrap();
        compare(&format!("{what}, in chunks"), &chunked, &oracle, &mut session);
    }
}

#[test]
fn odd_specs_on_both_engines() {
    for device in gpu::devices() {
        for name in [
            "smollm2",
            "gpt1",
            "one_of_everything",
            "primes_gated",
            "rope_pattern",
            "mask_pattern",
            "post_patterns",
            "softcap_primes",
            "untied",
            "bidirectional",
            "rms_without_parameters",
        ] {
            check(name, Format::F32, &device);
        }
    }
}

#[test]
fn a_chunk_changes_no_bit_on_the_cpu() {
    let (model, _) = load("smollm2", Format::F32, &Device::cpu().unwrap());
    let tokens = tokens(model.plan().spec.vocab, 40);
    let observe = |chunk: u32| {
        let session = model.session().chunk(chunk).all_logits();
        session.open().unwrap().observe(&tokens).unwrap()
    };
    let (whole, parts) = (observe(40), observe(16));
    for layer in 0..whole.layers() {
        assert_eq!(whole.attention(layer, 5), parts.attention(layer, 5));
        assert_eq!(whole.stream(layer + 1), parts.stream(layer + 1));
    }
    assert_eq!(all_logits(&whole), all_logits(&parts));
}

/// Rounded weights round the activations that they are multiplied with, so an observation agrees
/// with the session's own logits and not with an oracle.
#[test]
fn every_format_is_observed_as_it_runs() {
    for device in gpu::devices() {
        for format in Format::ALL {
            let (model, _) = load("smollm2", format, &device);
            let tokens = tokens(model.plan().spec.vocab, 20);
            let mut session = model.session().capacity(20).all_logits().open().unwrap();
            let found = session.observe(&tokens).unwrap();
            session.truncate(0);
            let mut expected = Vec::new();
            let sink = |_, row: &[f32]| expected.extend(row.iter().map(|x| f64::from(*x)));
            session.each_logits(&tokens, sink).unwrap();
            let what = format!("{} on {}", format.name(), device.name());
            close(&what, &all_logits(&found), &expected);
            let last = lens(&mut session, found.stream(found.layers()));
            close(&format!("{what}: lens"), &last, &expected);
        }
    }
}

/// A session without room for the logits of a chunk has a lens, too, and continues as before.
#[test]
fn a_lens_leaves_the_session_as_it_was() {
    for device in gpu::devices() {
        let (model, _) = load("smollm2", Format::F32, &device);
        let tokens = tokens(model.plan().spec.vocab, 20);
        let mut observed = model.session().all_logits().open().unwrap();
        let found = observed.observe(&tokens).unwrap();
        let rows = found.stream(1);

        let mut session = model.session().open().unwrap();
        session.push(&tokens[..10]).unwrap();
        let mut undisturbed = session.fork().unwrap();
        assert_eq!(lens(&mut session, rows).len(), 20 * 96);
        assert_eq!(session.tokens(), &tokens[..10]);
        assert_eq!(
            *session.push(&tokens[10..]).unwrap(),
            *undisturbed.push(&tokens[10..]).unwrap(),
            "{}",
            device.name()
        );
        assert!(lens(&mut session, &[]).is_empty());
    }
}

#[test]
fn what_cannot_be_observed_is_refused() {
    let (model, _) = load("smollm2", Format::F32, &Device::cpu().unwrap());
    let mut session = model.session().open().unwrap();
    let mut message = |tokens: &[u32]| session.observe(tokens).err().unwrap().to_string();
    assert!(message(&[1]).contains("all_logits()"));
    let mut session = model.session().all_logits().open().unwrap();
    session.push(&[1, 2]).unwrap();
    let mut message = |tokens: &[u32]| session.observe(tokens).err().unwrap().to_string();
    assert!(message(&[3]).contains("needs an empty session"));
    session.truncate(0);
    let mut message = |tokens: &[u32]| session.observe(tokens).err().unwrap().to_string();
    assert!(message(&[]).contains("empty"));
    assert!(message(&[96]).contains("not in the vocabulary"));
    let error = session.lens(&[0.0; 49], |_, _| {}).unwrap_err();
    assert!(error.is_input() && error.to_string().contains("which have 48 values each"));
}
