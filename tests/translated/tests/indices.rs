//! Indices of workgroup memory, of arrays of functions and of vectors stay within them, for all
//! inputs: their intervals follow from the code and the sizes of a kernel. Kernels in their plain
//! form, with every file that these link.

use std::collections::BTreeSet;

use gpt_plan::{Kernel, Plan};
use gpt_shaders::link;
use gpt_specs::{Cover, covering, plan};
use gpt_translated::intervals::{Access, accesses};
use gpt_translated::with_every_file;

/// Accesses whose intervals are too wide, and why.
const NOT_SHOWN: [(&str, &str); 6] = [
    ("counts[bin - 1u]", "the bin comes from workgroup memory"),
    ("counts_before[(bin - 1u) / SEGMENT]", "the bin comes from workgroup memory"),
    ("weights[bin - 1u]", "the bin comes from workgroup memory"),
    ("weights_before[(bin - 1u) / SEGMENT]", "the bin comes from workgroup memory"),
    ("staged_operand[i]", "an interval does not say that steps of a loop end at a multiple"),
    (
        "scratch[values.first + j]",
        "an interval does not say that steps of a loop end at a multiple",
    ),
];

fn plain_kernels() -> Vec<Kernel> {
    let mut all = Vec::new();
    let passes: [fn(&Plan) -> &[Kernel]; 2] = [|p| &p.kernels, |p| &p.training.kernels];
    for kernels in passes {
        for (name, spec) in covering(Cover::Files, kernels) {
            all.extend(kernels(plan(&name, &spec)).iter().cloned());
        }
    }
    with_every_file(all)
}

#[test]
fn indices_stay_within_arrays_of_constant_length() {
    let (mut shown, mut of_buffers) = (0, 0);
    let mut beyond = Vec::new();
    let mut not_shown = BTreeSet::new();
    for kernel in plain_kernels() {
        let report = accesses(&link(&kernel));
        shown += report.accesses.len();
        of_buffers += report.of_buffers;
        for access in report.accesses.iter().filter(|access| !access.stays()) {
            match NOT_SHOWN.iter().find(|(text, _)| *text == access.text) {
                Some((text, _)) => drop(not_shown.insert(*text)),
                None => beyond.push(format!("{}: {access:?}", kernel.name)),
            }
        }
    }
    assert!(beyond.is_empty(), "{} of {shown} accesses:\n{}", beyond.len(), beyond.join("\n"));
    assert_eq!(not_shown.len(), NOT_SHOWN.len(), "some of the list are shown: {not_shown:?}");
    eprintln!(
        "{shown} accesses; {of_buffers} more are of buffers, whose length a kernel does not say"
    );
}

/// Whether every index of `memory`, of 64 elements, is shown to stay, where 64 invocations run
/// `statements`.
fn stays(statements: &str) -> bool {
    let text = format!(
        "var<workgroup> memory: array<f32, 64>;
        @group(0) @binding(0) var<storage, read_write> input: array<u32>;
        fn put(at: u32) {{ memory[at] = 1.0; }}
        @compute @workgroup_size(64)
        fn main(@builtin(local_invocation_index) i: u32) {{ {statements} }}"
    );
    let report = accesses(&text);
    assert!(!report.accesses.is_empty(), "{statements}");
    report.accesses.iter().all(Access::stays)
}

#[test]
fn one_beyond_the_end_is_found() {
    for (within, beyond) in [
        ("put(i);", "put(i + 1u);"),
        ("put(i / 8u * 8u + i % 8u);", "put(i / 8u * 8u + i % 9u);"),
        ("put(min(input[i], 63u));", "put(min(input[i], 64u));"),
        ("let n = input[i]; if n < 64u { put(n); }", "let n = input[i]; if n <= 64u { put(n); }"),
        (
            "for (var k = i; k < 64u; k += 64u) { put(k); }",
            "for (var k = i; k < 65u; k += 64u) { put(k); }",
        ),
        (
            "for (var k = 0u; k < 8u; k++) { for (var j = 0u; j < 8u; j++) { put(8u * k + j); } }",
            "for (var k = 0u; k < 8u; k++) { for (var j = 0u; j < 9u; j++) { put(8u * k + j); } }",
        ),
        (
            "let n = input[i]; if n < 99u && n < 64u { put(n); }",
            "let n = input[i]; if n < 99u || n < 64u { put(n); }",
        ),
        ("if i >= 9u { return; } put(i + 55u);", "if i > 9u { return; } put(i + 55u);"),
        (
            "var k = i; while true { if k > 63u { break; } put(k); k += 3u; }",
            "var k = i; while true { put(k); k += 3u; if k > 63u { break; } k += 1u; }",
        ),
        ("put(i);", "put(i - 1u);"),
        ("put(input[i] & 63u);", "put(input[i] & 64u);"),
        ("put(input[i] >> 26u);", "put(input[i] >> 25u);"),
    ] {
        assert!(stays(within), "{within}");
        assert!(!stays(beyond), "{beyond}");
    }
}
