//! Compares the CPU engine with the oracle.

use std::sync::Arc;

use gpt_plan::{Format, Spec};
use gpt_runtime::__private::cpu::{CpuDevice, CpuModel};
use gpt_simd::Isa;
use gpt_tests::{parity, specs};

fn check(name: &str, spec: &Spec, format: Format, isa: Isa) {
    let device = Arc::new(CpuDevice::with_isa(isa, Some(2)).unwrap());
    parity::check(
        name,
        spec,
        format,
        &|plan, weights| Ok(Box::new(CpuModel::new(device.clone(), plan, None, weights)?)),
        parity::cpu_bound(format, isa),
    );
}

#[test]
fn every_odd_spec_in_every_format() {
    for (name, spec) in specs::odd() {
        for format in Format::ALL {
            for isa in parity::sets(format) {
                check(name, &spec, format, isa);
            }
        }
    }
}

#[test]
fn every_instruction_set() {
    for isa in Isa::available() {
        for (name, spec) in [("gpt2", specs::gpt2()), ("smollm2", specs::smollm2())] {
            let name = format!("{name} on {}", isa.name());
            for format in [Format::F32, Format::Bf16, Format::Q4] {
                check(&name, &spec, format, isa);
            }
        }
    }
}
