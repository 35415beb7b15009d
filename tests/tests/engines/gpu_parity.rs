//! Compares the GPU engine with the oracle.

use std::sync::Arc;

use gpt_plan::{Block, Feature, Features, Format, Norm, NormKind, Spec};
use gpt_runtime::__private::gpu::{GpuDevice, GpuModel};
use gpt_tests::mixed::Mixed;
use gpt_tests::parity::Candidate;
use gpt_tests::specs::Cover;
use gpt_tests::{gpu, parity, specs};

/// The bound for f32 arithmetic and a driver's approximation of `exp`.
const BOUND: f64 = 1e-10;

/// The bound for a prompt's inputs rounded to f16: relative errors of up to 2^-11, which add up in
/// the stream.
const BOUND_F16: f64 = 1e-6;

/// The bound for sums of up to 32 products in f16; 1.3e-5 was measured.
const BOUND_F16_SUMS: f64 = 5e-5;

/// The bound for inputs quantised to 8 bits in blocks of 32.
const BOUND_BYTES: f64 = 1e-2;

fn check(name: &str, spec: &Spec, format: Format, device: &Arc<GpuDevice>) {
    check_within(name, spec, format, device, BOUND);
}

fn check_within(name: &str, spec: &Spec, format: Format, device: &Arc<GpuDevice>, bound: f64) {
    parity::check(
        name,
        spec,
        format,
        &|plan, weights| Ok(Box::new(GpuModel::new(device.clone(), plan, weights)?)),
        bound,
    );
}

/// Specs whose kernels cover those of the odd specs by `cover`, each in one format, because drivers
/// compile slowly. The first is in the format with the number `first`, the next ones in those that
/// follow.
fn in_formats(cover: Cover, first: usize) -> Vec<(String, Spec, Format)> {
    let formats = Format::ALL.into_iter().cycle().skip(first);
    let specs = specs::covering(cover, |plan| &plan.kernels).into_iter();
    specs.zip(formats).map(|((name, spec), format)| (name, spec, format)).collect()
}

/// The kernels with every variant that is on by default on some adapter.
#[test]
fn every_file() {
    let Some(device) = gpu::device() else { return };
    for (name, spec, format) in in_formats(Cover::Files, 0) {
        check(&name, &spec, format, &device);
    }
}

#[test]
#[ignore = "long on a software adapter; CI runs it"]
fn every_pair_of_files() {
    let Some(device) = gpu::device() else { return };
    for (name, spec, format) in in_formats(Cover::Pairs, 0) {
        check(&name, &spec, format, &device);
    }
}

/// Plain kernels, for adapters without features, and other formats.
#[test]
#[ignore = "long on a software adapter; CI runs it"]
fn every_plain_file() {
    let Some(device) = gpu::plain_device() else {
        return;
    };
    for (name, spec, format) in in_formats(Cover::Files, 1) {
        check(&name, &spec, format, &device);
    }
}

#[test]
#[ignore = "long on a software adapter; CI runs it"]
fn every_format() {
    let Some(device) = gpu::device() else { return };
    let specs = [("gpt2", specs::gpt2()), ("smollm2", specs::smollm2())];
    for (format, (name, spec)) in Format::ALL.into_iter().zip(specs.iter().cycle()) {
        check(name, spec, format, &device);
    }
}

/// Rows of one or more blocks of 256 and a partial one, with and without packed dot products.
#[test]
#[ignore = "long on a software adapter; CI runs it"]
fn blocks_of_k_quants() {
    let packed = gpu::device_with(Features::DEFAULT.with(Feature::PackedDot));
    let (Some(device), Some(packed)) = (gpu::device(), packed) else {
        return;
    };
    let spec = specs::wide();
    for format in Format::ALL.into_iter().filter(|format| format.is_k_quant()) {
        check("wide", &spec, format, &device);
        check_within("wide", &spec, format, &packed, BOUND_BYTES);
    }
}

/// Formats that differ within a model, and between queries, keys and values. In the narrow model
/// the parts of the fused matrix end within strips, so it is held in f32. Tiles of other sizes
/// leave other remainders.
#[test]
fn matrices_of_several_formats() {
    check_mixed(Features::DEFAULT);
}

#[test]
#[ignore = "long on a software adapter; CI runs it"]
fn matrices_of_several_formats_in_other_tiles() {
    let small = Features::DEFAULT.with(Feature::SmallTiles);
    let large = Features::DEFAULT.with(Feature::LargeTiles).with(Feature::DoubleBuffers);
    let packed = Features::DEFAULT.with(Feature::PackedDot);
    for features in [small, large, packed] {
        check_mixed(features);
    }
}

fn check_mixed(features: Features) {
    let Some(device) = gpu::device_with(features) else {
        return;
    };
    let bound = if features.has(Feature::PackedDot) { BOUND_BYTES } else { BOUND };
    let narrow = (features == Features::DEFAULT).then(|| ("smollm2", specs::smollm2()));
    for (name, spec) in narrow.into_iter().chain([("wide", specs::wide())]) {
        let plan = specs::plan(name, &spec);
        let weights = Mixed::new(plan, 5, [Format::Q4K, Format::Q6K]);
        parity::check_weights(
            &format!("{name} in several formats"),
            plan,
            &weights,
            &[Candidate {
                name: device.name(),
                engine: &|plan, weights| {
                    Ok(Box::new(GpuModel::new(device.clone(), plan, weights)?))
                },
                bound,
            }],
        );
    }
}

/// Rows wider than a decoding workgroup, and more keys than it processes at a time: each invocation
/// contributes several times to every sum and maximum.
#[test]
fn wide_rows_and_many_keys() {
    let (Some(device), Some(plain)) = (gpu::device(), gpu::plain_device()) else {
        return;
    };
    let wide = Spec {
        context: 300,
        layers: 1,
        heads: 3,
        kv_heads: 3,
        embed: 300,
        head_dim: 20,
        ..specs::gpt2()
    };
    let rms = Spec {
        norm: Norm { kind: NormKind::Rms, eps: 1e-5, ..Norm::default() },
        block: Block::PostNorm,
        ..wide.clone()
    };
    for device in [&device, &plain] {
        check("wide", &wide, Format::F32, device);
        check("wide_rms", &rms, Format::F32, device);
    }
}

/// Other tile sizes, with double buffers and broadcasts.
#[test]
#[ignore = "long on a software adapter; CI runs it"]
fn other_tiles() {
    let double = Features::DEFAULT.with(Feature::DoubleBuffers).with(Feature::Broadcasts);
    let sizes = [Feature::SmallTiles, Feature::LargeTiles];
    for (number, size) in sizes.into_iter().enumerate() {
        let Some(device) = gpu::device_with(double.with(size)) else {
            return;
        };
        for (i, (name, spec)) in specs::projections().into_iter().enumerate() {
            if i % sizes.len() == number {
                check(name, &spec, Format::ALL[(i / sizes.len()) % Format::ALL.len()], &device);
            }
        }
    }
}

/// Integer dot products of four bytes in all tile sizes.
#[test]
#[ignore = "long on a software adapter; CI runs it"]
fn packed_dot() {
    let packed = Features::DEFAULT.with(Feature::PackedDot);
    let sets = [packed, packed.with(Feature::SmallTiles), packed.with(Feature::LargeTiles)];
    for (number, set) in sets.into_iter().enumerate() {
        let Some(device) = gpu::device_with(set) else {
            return;
        };
        for (i, (name, spec)) in specs::projections().into_iter().enumerate() {
            if i % sets.len() == number {
                let formats = [Format::Q8, Format::Q4, Format::Q5, Format::Q4K, Format::Q5K];
                let format = formats[(i / sets.len()) % formats.len()];
                check_within(name, &spec, format, &device, BOUND_BYTES);
            }
        }
    }
}

/// Products and sums in f16.
#[test]
#[ignore = "long on a software adapter; CI runs it"]
fn f16_arithmetic() {
    let Some(device) = gpu::device_with_f16() else {
        return;
    };
    let features = device.features().with(Feature::F16Arithmetic);
    let Some(device) = gpu::device_with(features) else {
        return;
    };
    for (name, spec) in specs::projections() {
        check_within(name, &spec, Format::F16, &device, BOUND_F16_SUMS);
    }
}

/// Cooperative matrices with f16 operands. No software adapter supports them.
#[test]
fn cooperative_matrices() {
    let Some(device) = gpu::device_with_cooperative_matrices() else {
        return;
    };
    for (name, spec) in specs::odd() {
        check_within(name, &spec, Format::F16, &device, BOUND_F16);
    }
}
