//! Compares the CPU engine with the oracle.

use std::sync::Arc;

use gpt_plan::{Format, Spec};
use gpt_runtime::__private::cpu::{CpuDevice, CpuModel};
use gpt_simd::Isa;
use gpt_tests::mixed::Mixed;
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

/// Rows of several blocks of 256 and a rest, with all instruction sets: more columns than a product
/// takes at a time.
#[test]
fn blocks_of_k_quants() {
    let spec = specs::wide();
    for isa in Isa::available() {
        for format in Format::ALL.into_iter().filter(|format| format.is_k_quant()) {
            check("wide", &spec, format, isa);
        }
    }
}

/// A file's mixture: queries, keys and values differ as well. The parts of the narrow model end
/// within panels, so its fused matrix is held in f32.
#[test]
fn matrices_of_several_formats() {
    for isa in Isa::available() {
        for formats in [[Format::Q4K, Format::Q6K], [Format::Q8, Format::Q5]] {
            for (name, spec) in [("wide", specs::wide()), ("smollm2", specs::smollm2())] {
                let plan = specs::plan(name, &spec);
                let weights = Mixed::new(plan, 5, formats);
                let device = Arc::new(CpuDevice::with_isa(isa, Some(2)).unwrap());
                parity::check_weights(
                    &format!("{name} in {formats:?} on {}", isa.name()),
                    plan,
                    &weights,
                    &|plan, weights| {
                        Ok(Box::new(CpuModel::new(device.clone(), plan, None, weights)?))
                    },
                    parity::cpu_bound(formats[0], isa),
                );
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
