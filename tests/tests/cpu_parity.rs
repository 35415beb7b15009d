//! The CPU engine against the oracle.

use std::sync::Arc;

use gpt_plan::{Format, Spec};
use gpt_runtime::cpu::simd::Isa;
use gpt_runtime::cpu::{CpuDevice, CpuModel};
use gpt_tests::{parity, specs};

fn check(name: &str, spec: &Spec, format: Format, isa: Isa) {
    let device = Arc::new(CpuDevice::with_isa(isa, Some(2)).unwrap());
    parity::check(
        name,
        spec,
        format,
        &|plan, weights| Ok(Box::new(CpuModel::new(device.clone(), plan, weights)?)),
        parity::cpu_bound(format),
    );
}

#[test]
fn every_odd_spec_in_every_format() {
    for (name, spec) in specs::odd() {
        for format in Format::ALL {
            check(name, &spec, format, Isa::available()[0]);
        }
    }
}

#[test]
fn every_instruction_set() {
    for isa in Isa::available() {
        for (name, spec) in [("gpt2", specs::gpt2()), ("smollm2", specs::smollm2())] {
            let name = format!("{name} on {}", isa.name());
            check(&name, &spec, Format::F32, isa);
            check(&name, &spec, Format::Q4, isa);
        }
    }
}
