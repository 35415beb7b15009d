//! Checks the plans of random specs and compares both engines with the oracle. A spec that fails is
//! shrunk.

use gpt_plan::Format;
use gpt_runtime::__private::gpu::GpuModel;
use gpt_tests::{gpu, parity, random};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// The bound on a GPU. A random spec may be badly conditioned: a stream of width 1 cancels, and a
/// norm magnifies what is left. A bug still has a much larger error. On the CPU the bound is a
/// thousand times the bound of ordinary specs.
const BOUND: f64 = 1e-8;

/// Tests the same cases in every run, so a failure is reproducible.
fn run(cases: u32, test: impl Fn(&gpt_plan::Spec, Format)) {
    let config =
        Config { cases, failure_persistence: None, max_shrink_iters: 64, ..Config::default() };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let strategy = (random::spec(), prop::sample::select(Format::ALL.to_vec()));
    TestRunner::new_with_rng(config, rng)
        .run(&strategy, |(spec, format)| {
            test(&spec, format);
            Ok(())
        })
        .unwrap();
}

#[test]
fn plans_are_consistent() {
    run(400, |spec, _| {
        let plan = gpt_codegen::plan::plan("a random spec", spec);
        assert_eq!(gpt_plan::check(&plan), Ok(()), "{spec:?}");
    });
}

#[test]
fn the_cpu_engine() {
    run(400, |spec, format| {
        let bound = |isa| (1000.0 * parity::cpu_bound(format, isa)).min(0.3);
        parity::with_cpu_engines(&parity::sets(format), bound, |engines| {
            parity::check_engines("a random spec", spec, format, engines);
        });
    });
}

#[test]
#[ignore = "long on a software adapter; CI runs it"]
fn the_gpu_engine() {
    let Some(device) = gpu::device() else { return };
    run(16, |spec, format| {
        parity::check(
            "a random spec",
            spec,
            format,
            &|plan, weights| Ok(Box::new(GpuModel::new(device.clone(), plan, weights)?)),
            BOUND,
        );
    });
}
