//! The GPU engine against the oracle.

use std::sync::Arc;

use gpt_plan::{Block, Feature, Features, Format, Norm, Spec};
use gpt_runtime::__private::gpu::{GpuDevice, GpuModel};
use gpt_tests::{gpu, parity, specs};

/// Room for f32 arithmetic and for a driver's own `exp`.
const BOUND: f64 = 1e-10;

/// The same where a prompt's inputs are rounded to f16: each is off by up to 2^-12 of itself, and the stream adds that up.
const BOUND_F16: f64 = 1e-6;

/// And where sums of up to 32 products are f16, too: 1.3e-5 was seen.
const BOUND_F16_SUMS: f64 = 5e-5;

/// And where inputs are rounded to 8 bits in blocks of 32.
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

/// Every spec in f32 and in one other format, which changes from one to the next: drivers take their time to compile. With all variants of kernels that the
/// adapter can run.
#[test]
fn every_odd_spec() {
    let Some(device) = gpu::device() else { return };
    for (i, (name, spec)) in specs::odd().into_iter().enumerate() {
        check(name, &spec, Format::F32, &device);
        check(name, &spec, Format::ALL[1 + i % 4], &device);
    }
}

/// The same with the plain kernels, which an adapter without features runs.
#[test]
fn every_odd_spec_with_plain_kernels() {
    let Some(device) = gpu::plain_device() else {
        return;
    };
    for (i, (name, spec)) in specs::odd().into_iter().enumerate() {
        check(name, &spec, Format::ALL[i % 5], &device);
    }
}

#[test]
fn every_format() {
    let Some(device) = gpu::device() else { return };
    for (name, spec) in [("gpt2", specs::gpt2()), ("smollm2", specs::smollm2())] {
        for format in Format::ALL {
            check(name, &spec, format, &device);
        }
    }
}

/// Rows that are wider than a decoding workgroup has invocations, and more keys than it takes at a time: every invocation has its part in every sum and maximum,
/// and is asked more than once.
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
        norm: Norm::RmsNorm { eps: 1e-5 },
        block: Block::PostNorm,
        ..wide.clone()
    };
    for device in [&device, &plain] {
        check("wide", &wide, Format::F32, device);
        check("wide_rms", &rms, Format::F32, device);
    }
}

/// Tiles of other sizes, and inputs in two places: every second spec with each size, as drivers take their time to compile.
#[test]
fn other_tiles() {
    let double = Features::DEFAULT
        .with(Feature::DoubleBuffers)
        .with(Feature::Broadcasts);
    let sizes = [Feature::SmallTiles, Feature::LargeTiles];
    for (number, size) in sizes.into_iter().enumerate() {
        let Some(device) = gpu::device_with(double.with(size)) else {
            return;
        };
        for (i, (name, spec)) in specs::odd().into_iter().enumerate() {
            if i % sizes.len() == number {
                check(name, &spec, Format::ALL[(i / sizes.len()) % 5], &device);
            }
        }
    }
}

/// Products of four bytes, in tiles of all sizes: every third spec with each.
#[test]
fn packed_dot() {
    let packed = Features::DEFAULT.with(Feature::PackedDot);
    let sets = [
        packed,
        packed.with(Feature::SmallTiles),
        packed.with(Feature::LargeTiles),
    ];
    for (number, set) in sets.into_iter().enumerate() {
        let Some(device) = gpu::device_with(set) else {
            return;
        };
        for (i, (name, spec)) in specs::odd().into_iter().enumerate() {
            if i % sets.len() == number {
                let format = [Format::Q8, Format::Q4][(i / sets.len()) % 2];
                check_within(name, &spec, format, &device, BOUND_BYTES);
            }
        }
    }
}

/// Products and sums of f16.
#[test]
fn f16_arithmetic() {
    let Some(device) = gpu::device_with_f16() else {
        return;
    };
    let features = device.features().with(Feature::F16Arithmetic);
    let Some(device) = gpu::device_with(features) else {
        return;
    };
    for (name, spec) in specs::odd() {
        check_within(name, &spec, Format::F16, &device, BOUND_F16_SUMS);
    }
}

/// Matrices of f16 through cooperative matrices. No software adapter has them.
#[test]
fn cooperative_matrices() {
    let Some(device) = gpu::device_with_cooperative_matrices() else {
        return;
    };
    for (name, spec) in specs::odd() {
        check_within(name, &spec, Format::F16, &device, BOUND_F16);
    }
}
