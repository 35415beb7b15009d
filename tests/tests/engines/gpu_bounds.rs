//! Every kernel stays within its buffers. The kernels of a plan run on a device whose shaders check
//! every index against the length of its array, and also have naga's checks; their results equal
//! those of the shaders that users run, which have no checks.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use gpt_plan::{Features, Format, Plan, Recompute, Spec};
use gpt_runtime::__private::engine::{
    CacheFormat, Continue, EngineModel, EngineTrainer, LogitsRequest, SessionOptions, TensorState,
};
use gpt_runtime::__private::gpu::{GpuDevice, GpuModel, GpuTrainer};
use gpt_runtime::Sampling;
use gpt_tests::bounds::Checked;
use gpt_tests::compare::nmse;
use gpt_tests::specs::Cover;
use gpt_tests::training::{Batch, learn, options, read, update};
use gpt_tests::unit_gain::UnitGain;
use gpt_tests::{gpu, random, specs, tokens};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// The outputs of all kinds of passes: prompts, cached chunks, decoding, sampling on the device.
fn inference(device: &Arc<GpuDevice>, plan: &'static Plan, format: Format) -> Vec<Vec<f32>> {
    let weights = UnitGain::new(plan, 5, format);
    let model = GpuModel::new(device.clone(), plan, &weights).unwrap();
    let spec = &plan.spec;
    let (all, vocab) = (tokens(spec.vocab, spec.context as usize), spec.vocab as usize);
    let options = SessionOptions {
        capacity: spec.context,
        chunk: spec.context,
        all_logits: true,
        cache: CacheFormat::F32,
    };
    let open = || model.session(options).unwrap();
    let mut outputs = Vec::new();
    let lengths = [1, 7, all.len()].map(|length| length.min(all.len()));
    for length in lengths {
        let traces = open().trace(&all[..length], 0).now().unwrap();
        outputs.extend(traces.into_iter().map(|trace| trace.values));
    }
    if !spec.is_causal() {
        return outputs;
    }
    let first = all.len() / 3;
    let mut logits = vec![0.0; all.len() * vocab];
    let mut begun = || {
        let mut session = open();
        if first > 0 {
            session.forward(&all[..first], 0, LogitsRequest::Nothing, &mut logits).now().unwrap();
        }
        session
    };
    let traces = begun().trace(&all[first..], first as u32).now().unwrap();
    outputs.extend(traces.into_iter().map(|trace| trace.values));
    let mut session = begun();
    for (i, token) in all.iter().enumerate().skip(first) {
        let row = &mut logits[i * vocab..];
        session.forward(&[*token], i as u32, LogitsRequest::Last, row).now().unwrap();
    }
    outputs.push(logits[first * vocab..].to_vec());
    let samplings = [
        Sampling::greedy(),
        Sampling { temperature: 1.0, top_k: 0, top_p: 1.0, ..Sampling::default() },
        Sampling { top_k: 3, top_p: 0.9, min_p: 0.01, ..Sampling::default() },
    ];
    for sampling in &samplings {
        let (mut session, mut chosen) = (open(), VecDeque::from([all[0]]));
        while chosen.len() < all.len() {
            let done = chosen.len() as u32 - 1;
            let request = Continue {
                token: chosen[done as usize],
                position: done,
                most: spec.context - done,
                sampling,
                draw: done,
                stops: &[],
            };
            assert!(session.generate(&request, &mut chosen).now().unwrap());
        }
        // How many tokens the device runs ahead depends on its speed.
        outputs.push(chosen.into_iter().take(all.len()).map(|id| id as f32).collect());
    }
    outputs
}

/// The losses of two steps of two batches each, and the parameters and moments after them.
fn training(device: &Arc<GpuDevice>, plan: &'static Plan, recompute: Recompute) -> Vec<Vec<f32>> {
    let weights = UnitGain::new(plan, 5, Format::F32);
    let length = plan.spec.context.min(33);
    let options = options(3, length, recompute);
    let mut trainer = GpuTrainer::new(device.clone(), plan, &weights, options).unwrap();
    let batches = [Batch::new(&plan.spec, 3, length, 0), Batch::new(&plan.spec, 1, length, 1)];
    let rows = batches.iter().map(Batch::rows).sum();
    let mut outputs = Vec::new();
    for step in 1..=2 {
        for (i, batch) in batches.iter().enumerate() {
            let loss = trainer.learn(&batch.sequences(), &learn(i == 0, rows)).unwrap();
            outputs.push(vec![loss as f32]);
        }
        trainer.update(&update(step)).unwrap();
    }
    outputs.push(vec![trainer.evaluate(&batches[0].sequences()).unwrap() as f32]);
    for state in [TensorState::Parameter, TensorState::FirstMoment, TensorState::SecondMoment] {
        outputs.extend(read(plan, &mut trainer, state));
    }
    outputs
}

/// Asserts that outputs are equal up to rounding: a compiler may combine operations differently
/// where an index is checked.
#[track_caller]
fn same(what: &str, checked: &[Vec<f32>], trusted: &[Vec<f32>]) {
    assert_eq!(checked.len(), trusted.len(), "{what}");
    for (i, (checked, trusted)) in checked.iter().zip(trusted).enumerate() {
        if checked != trusted {
            let trusted: Vec<f64> = trusted.iter().map(|x| f64::from(*x)).collect();
            let error = nmse(checked, &trusted);
            assert!(error < 1e-12, "{what}, output {i}: NMSE {error:e}");
        }
    }
}

/// The checked device, and the one that users have, with the same variants.
fn devices(features: Features) -> Option<(Checked, Arc<GpuDevice>)> {
    Some((Checked::open(features)?, gpu::device_with(features)?))
}

fn check_inference(features: Features, first: usize, these: Range<usize>) {
    let Some((checked, trusted)) = devices(features) else { return };
    let formats = Format::ALL.into_iter().cycle().skip(first);
    let covering = specs::covering(Cover::Files, |plan| &plan.kernels).into_iter().zip(formats);
    for ((name, spec), format) in covering.skip(these.start).take(these.len()) {
        let plan = specs::plan(&name, &spec);
        let what = format!("{name} in {}", format.name());
        let found = inference(&checked.device, plan, format);
        checked.stayed(&what);
        same(&what, &found, &inference(&trusted, plan, format));
    }
}

fn check_training(features: Features) {
    let Some((checked, trusted)) = devices(features) else { return };
    let covering = specs::covering(Cover::Files, |plan| &plan.training.kernels);
    for (i, (name, spec)) in covering.into_iter().enumerate() {
        let recompute = [Recompute::Nothing, Recompute::Block][i % 2];
        let plan = specs::plan(&name, &spec);
        let found = training(&checked.device, plan, recompute);
        checked.stayed(&name);
        same(&name, &found, &training(&trusted, plan, recompute));
    }
}

#[test]
fn kernels_of_odd_sizes_stay_in_their_buffers() {
    check_inference(Features::SOFTWARE, 0, 1..2);
}

#[test]
#[ignore = "minutes; .ci/stress runs it"]
fn every_kernel_stays_in_its_buffers() {
    check_inference(Features::SOFTWARE, 0, 0..usize::MAX);
    check_training(Features::SOFTWARE);
}

#[test]
#[ignore = "minutes; .ci/stress runs it"]
fn kernels_of_random_specs_stay_in_their_buffers() {
    let Some(checked) = Checked::open(Features::SOFTWARE) else { return };
    let config =
        Config { cases: 6, failure_persistence: None, max_shrink_iters: 16, ..Config::default() };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let strategy = (random::spec(), prop::sample::select(Format::ALL.to_vec()));
    let check = |(spec, format): (Spec, Format)| {
        let plan = specs::plan("a random spec", &spec);
        inference(&checked.device, plan, format);
        checked.stayed(&format!("{spec:?} in {}", format.name()));
        training(&checked.device, plan, Recompute::Nothing);
        checked.stayed(&format!("training of {spec:?}"));
        Ok(())
    };
    TestRunner::new_with_rng(config, rng).run(&strategy, check).unwrap();
}
