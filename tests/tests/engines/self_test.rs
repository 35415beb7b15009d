//! The self-test: correct devices pass, and a wrong kernel is named.

use std::borrow::Cow;

use gpt_plan::{Format, Kernel, List, Plan};
use gpt_runtime::{Check, Device, self_test, self_test_training};
use gpt_tests::{gpu, specs};

#[test]
fn the_cpu_passes_on_every_odd_spec() {
    let device = Device::cpu().unwrap();
    for (number, (name, spec)) in specs::odd().into_iter().enumerate() {
        let found = self_test(specs::plan(name, &spec), &device, &formats(number)).unwrap();
        assert_eq!(found.first_failed(), None, "{name}");
        assert!(found.skipped_formats.is_empty(), "{name}");
        assert!(found.reference.contains("portable"), "{}", found.reference);
    }
}

#[test]
fn a_gpu_passes() {
    if gpu::device().is_none() {
        return;
    }
    let device = Device::gpu().unwrap();
    for (number, (name, spec)) in
        [("gpt2", specs::gpt2()), ("smollm2", specs::smollm2()), ("gpt1", specs::gpt1())]
            .into_iter()
            .enumerate()
    {
        let formats = formats(number);
        let found = self_test(specs::plan(name, &spec), &device, &formats).unwrap();
        assert_eq!(found.first_failed(), None, "{name}");
        let steps = specs::plan(name, &spec).steps().filter(|(layer, _)| *layer < 2);
        assert_eq!(found.checks.len(), formats.len() * (2 * steps.count() + 2), "{name}");
    }
}

/// A third of the formats. Three consecutive numbers cover all of them.
fn formats(number: usize) -> Vec<Format> {
    Format::ALL.into_iter().skip(number % 3).step_by(3).collect()
}

#[test]
fn engines_pass_in_training() {
    let cpu = Device::cpu().unwrap();
    for (name, spec) in specs::odd() {
        let found = self_test_training(specs::plan(name, &spec), &cpu).unwrap();
        assert_eq!(found.first_failed(), None, "{name}");
    }
    if gpu::device().is_none() {
        return;
    }
    let gpu = Device::gpu().unwrap();
    for (name, spec) in
        [("gpt2", specs::gpt2()), ("smollm2", specs::smollm2()), ("gpt1", specs::gpt1())]
    {
        let found = self_test_training(specs::plan(name, &spec), &gpu).unwrap();
        assert_eq!(found.first_failed(), None, "{name}");
    }
}

/// For a wrong kernel of training, the self-test names the first wrong result: the loss or a
/// gradient.
#[test]
fn a_wrong_kernel_of_training_is_named() {
    if gpu::device().is_none() {
        return;
    }
    let device = Device::gpu().unwrap();
    for (kernel, right, wrong, step) in [
        ("cross_entropy", "VOCAB: u32 = ", "VOCAB: u32 = 1u + ", "loss"),
        ("attention_keys", "SCALE: f32 = 0.25;", "SCALE: f32 = 0.2501;", "d(attn.qkv.bias)"),
        (
            "norm_input_residual",
            "CENTERED: f32 = 1.0;",
            "CENTERED: f32 = 0.99;",
            "d(attn.out.bias)",
        ),
    ] {
        let plan = mutant(kernel, right, wrong, |plan| &mut plan.training.kernels);
        let found = self_test_training(plan, &device).unwrap();
        let off = found.first_failed().map(|check| check.step);
        assert_eq!(off, Some(step), "{kernel}");
    }
}

/// The self-test finds a device that samples from only some of the tokens.
#[test]
fn a_wrong_sampling_kernel_is_named() {
    if gpu::device().is_none() {
        return;
    }
    let device = Device::gpu().unwrap();
    let vocab = format!("VOCAB: u32 = {}u;", specs::gpt2().vocab);
    for (kernel, step) in [("greatest", "sample"), ("collect", "sample_truncated")] {
        let plan = mutant(kernel, &vocab, "VOCAB: u32 = 4u;", |plan| &mut plan.kernels);
        let found = self_test(plan, &device, &[Format::F32]).unwrap();
        let off = found.first_failed().map(|check| check.step);
        assert_eq!(off, Some(step), "{kernel}");
    }
}

/// GPT-2, scaled down, with `right` replaced by `wrong` in `kernel`, one of `among`.
fn mutant(
    kernel: &str,
    right: &str,
    wrong: &str,
    among: impl Fn(&mut Plan) -> &mut List<Kernel>,
) -> &'static Plan {
    let mut plan = gpt_codegen::plan::plan("mutant", &specs::gpt2());
    let kernels = among(&mut plan).to_mut();
    let found = kernels.iter_mut().find(|k| k.name == kernel);
    let found = found.unwrap_or_else(|| panic!("no kernel is called {kernel}"));
    assert!(found.header.contains(right), "{kernel}: {}", found.header);
    found.header = Cow::Owned(found.header.replace(right, wrong));
    Box::leak(Box::new(plan))
}

#[test]
fn a_wrong_kernel_of_a_gpu_is_named() {
    if gpu::device().is_none() {
        return;
    }
    let device = Device::gpu().unwrap();
    // One number of each kind: a scale, offsets of vectors, the width of a row, a norm's epsilon.
    for (step, phase, right, wrong) in [
        ("attention", "decode", "SCALE: f32 = 0.25;", "SCALE: f32 = 0.2501;"),
        ("attention", "prefill", "SCALE: f32 = 0.25;", "SCALE: f32 = 0.2499;"),
        ("qkv", "prefill", "GAMMA: u32 = 0u;", "GAMMA: u32 = 4u;"),
        ("mlp_up", "decode", "EPSILON: f32 = 1e-5;", "EPSILON: f32 = 1e-3;"),
        ("mlp_down", "decode", "COLUMNS: u32 = 256u;", "COLUMNS: u32 = 255u;"),
        ("head", "prefill", "EPSILON: f32 = 1e-5;", "EPSILON: f32 = 1e-4;"),
    ] {
        let kernel = match step {
            "attention" => format!("{step}_{phase}"),
            _ => format!("{step}_{phase}_f32"),
        };
        let plan = mutant(&kernel, right, wrong, |plan| &mut plan.kernels);
        let found = self_test(plan, &device, &[Format::F32]).unwrap();
        let off = found.first_failed().unwrap_or_else(|| panic!("{kernel} passed"));
        let of_phase = |check: &Check| (check.rows == 1) == (phase == "decode");
        assert!(off.step == step && of_phase(off), "{kernel}: {off:?}");
        // The other formats have different kernels.
        if step != "attention" {
            let found = self_test(plan, &device, &[Format::Q8]).unwrap();
            assert_eq!(found.first_failed(), None, "{kernel}");
        }
    }
}
