//! The GPU engine against the oracle.

use gpt_plan::Format;
use gpt_runtime::gpu::GpuModel;
use gpt_tests::{gpu, parity, specs};

/// Room for f32 arithmetic and for a driver's own `exp`.
const BOUND: f64 = 1e-10;

#[test]
fn every_odd_spec_in_every_format() {
    let Some(device) = gpu::device() else { return };
    for (name, spec) in specs::odd() {
        for format in Format::ALL {
            parity::check(
                name,
                &spec,
                format,
                &|plan, weights| Ok(Box::new(GpuModel::new(device.clone(), plan, weights)?)),
                BOUND,
            );
        }
    }
}
