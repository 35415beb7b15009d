//! The CPU engine's training against the oracle.

use std::sync::Arc;

use gpt_runtime::cpu::simd::Isa;
use gpt_runtime::cpu::{CpuDevice, CpuTrainer};
use gpt_tests::{learning, specs};

/// Relative error of a gradient.
const BOUND: f64 = 1e-5;

fn check(name: &str, spec: &gpt_plan::Spec, isa: Isa, threads: usize) {
    let device = Arc::new(CpuDevice::with_isa(isa, Some(threads)).unwrap());
    learning::check(
        name,
        spec,
        &|plan, weights, options| {
            let mut trainer = CpuTrainer::new(device.clone(), plan, None, weights, options)?;
            trainer.poison();
            Ok(Box::new(trainer))
        },
        BOUND,
    );
}

#[test]
fn every_odd_spec() {
    for (name, spec) in specs::odd() {
        check(name, &spec, Isa::available()[0], 2);
    }
}

#[test]
fn every_instruction_set() {
    for isa in Isa::available() {
        for (name, spec) in [("gpt2", specs::gpt2()), ("smollm2", specs::smollm2())] {
            check(&format!("{name} on {}", isa.name()), &spec, isa, 3);
        }
    }
}
