//! Compares the CPU engine with the oracle.

use gpt_plan::{Format, Spec};
use gpt_simd::Isa;
use gpt_tests::mixed::Mixed;
use gpt_tests::{parity, specs};

fn check(name: &str, spec: &Spec, format: Format, isas: &[Isa]) {
    let bound = |isa| parity::cpu_bound(format, isa);
    parity::with_cpu_engines(isas, bound, |engines| {
        parity::check_engines(name, spec, format, engines);
    });
}

#[test]
fn every_odd_spec() {
    for (name, spec) in specs::odd() {
        check(name, &spec, Format::F32, &parity::sets(Format::F32));
    }
}

/// Each odd spec in a format other than f32. Formats differ from one spec to the next.
#[test]
fn every_odd_spec_in_another_format() {
    in_other_formats(0..1);
}

#[test]
#[ignore = "long; CI runs it"]
fn every_odd_spec_in_more_formats() {
    in_other_formats(1..4);
}

/// Each odd spec in the formats with these numbers, counted from a number that differs from one
/// spec to the next.
fn in_other_formats(numbers: std::ops::Range<usize>) {
    let others: Vec<_> = Format::ALL.into_iter().filter(|f| *f != Format::F32).collect();
    for (first, (name, spec)) in specs::odd().into_iter().enumerate() {
        for number in numbers.clone() {
            let format = others[(first + number) % others.len()];
            check(name, &spec, format, &parity::sets(format));
        }
    }
}

/// Rows of one or more blocks of 256 and a partial one, with all instruction sets. They have more
/// columns than a product takes at a time.
#[test]
fn blocks_of_k_quants() {
    let spec = specs::wide();
    for format in Format::ALL.into_iter().filter(|format| format.is_k_quant()) {
        check("wide", &spec, format, &Isa::available());
    }
}

/// Formats that differ within a model, as in many GGUF files, and between queries, keys and values.
/// In the narrow model the parts of the fused matrix end within panels, so it is held in f32.
#[test]
fn matrices_of_several_formats() {
    for formats in [[Format::Q4K, Format::Q6K], [Format::Q8, Format::Q5]] {
        for (name, spec) in [("wide", specs::wide()), ("smollm2", specs::smollm2())] {
            let plan = specs::plan(name, &spec);
            let weights = Mixed::new(plan, 5, formats);
            let name = format!("{name} in {formats:?}");
            let bound = |isa| parity::cpu_bound(formats[0], isa);
            parity::with_cpu_engines(&Isa::available(), bound, |engines| {
                parity::check_weights(&name, plan, &weights, engines);
            });
        }
    }
}

#[test]
fn every_instruction_set() {
    for (name, spec) in [("gpt2", specs::gpt2()), ("smollm2", specs::smollm2())] {
        for format in [Format::F32, Format::Bf16, Format::Q4] {
            check(name, &spec, format, &Isa::available());
        }
    }
}
