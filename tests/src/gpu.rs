//! The adapter for GPU tests, if there is one.

use std::sync::{Arc, OnceLock};

use gpt_plan::{Feature, Features};
use gpt_runtime::__private::gpu::GpuDevice;
use gpt_runtime::{Device, wgpu};

/// The adapter, opened once, with every variant that is on by default on some adapter. Without an
/// adapter, prints that the test did not run, or panics if `GPT_REQUIRE_GPU=1` is set.
pub fn device() -> Option<Arc<GpuDevice>> {
    static DEVICE: OnceLock<Result<Arc<GpuDevice>, String>> = OnceLock::new();
    let opened = DEVICE.get_or_init(|| {
        GpuDevice::open_with(None, Features::SOFTWARE).map(Arc::new).map_err(|e| e.to_string())
    });
    match opened {
        Ok(device) => Some(device.clone()),
        Err(error) if required() => panic!("GPT_REQUIRE_GPU is set, but {error}"),
        Err(error) => {
            eprintln!("NOT RUN, as there is no GPU: {error}");
            None
        }
    }
}

/// The adapter with plain kernels.
pub fn plain_device() -> Option<Arc<GpuDevice>> {
    device_with(Features::NONE)
}

/// The adapter with the variants of `features` that it supports.
pub fn device_with(features: Features) -> Option<Arc<GpuDevice>> {
    device()?;
    let opened = GpuDevice::open_with(None, features);
    Some(Arc::new(opened.expect("an adapter that opens twice")))
}

/// The adapter with cooperative matrices, if it supports them.
pub fn device_with_cooperative_matrices() -> Option<Arc<GpuDevice>> {
    let wanted = Features::DEFAULT.with(Feature::CooperativeMatrices);
    let opened = device_with(wanted)?;
    if opened.features().has(Feature::CooperativeMatrices) {
        return Some(opened);
    }
    eprintln!("NOT RUN, as {} has no cooperative matrices", opened.name());
    None
}

/// The adapter, if it supports f16.
pub fn device_with_f16() -> Option<Arc<GpuDevice>> {
    let device = device()?;
    if device.has_f16() {
        return Some(device);
    }
    let name = device.name();
    assert!(!required(), "GPT_REQUIRE_GPU is set, but {name} has no f16");
    eprintln!("NOT RUN, as {name} has no f16");
    None
}

/// The devices to test: the CPU, and the GPU if there is one.
pub fn devices() -> Vec<Device> {
    let mut devices = vec![Device::cpu().unwrap()];
    if device().is_some() {
        devices.push(Device::gpu().unwrap());
    }
    devices
}

/// The adapter, opened as a user's program would open it, without an error handler. A test can look
/// at the memory of the wgpu device, or destroy it.
pub fn own_device() -> Option<(wgpu::Device, Device)> {
    device()?;
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let options = wgpu::RequestAdapterOptions::default();
    let adapter = pollster::block_on(instance.request_adapter(&options)).unwrap();
    let opened = pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor::default()));
    let (own, queue) = opened.unwrap();
    let device = Device::from_wgpu(adapter, own.clone(), queue).unwrap();
    Some((own, device))
}

fn required() -> bool {
    std::env::var("GPT_REQUIRE_GPU").is_ok_and(|value| value != "0" && !value.is_empty())
}
