//! The choice of a device.

use gpt_runtime::{Device, DeviceKind, DeviceOptions, Error, Format, Plan, self_test_async};

/// Opens the device `kind`, and returns it with the reason for the choice. `auto` is WebGPU if the
/// model's kernels for `formats` compute the same there as on the CPU, and otherwise the CPU:
/// drivers and browsers can be wrong silently.
///
/// # Errors
/// Fails if there is no such device.
pub async fn open(
    kind: &str,
    plan: &'static Plan,
    formats: &[Format],
) -> Result<(Device, String), Error> {
    let kind = match kind {
        "auto" => DeviceKind::Auto,
        "cpu" => DeviceKind::Cpu,
        "gpu" => DeviceKind::Gpu,
        _ => {
            let what = format!("there is no device {kind}; there are auto, gpu and cpu");
            return Err(Error::Input(what));
        }
    };
    let device = Device::open_async(&DeviceOptions::default().with_kind(kind)).await?;
    if kind != DeviceKind::Auto || !device.is_gpu() {
        let reason = device.reason().to_owned();
        return Ok((device, reason));
    }
    match failed_test(&device, plan, formats).await {
        None => Ok((device, "its kernels pass the self-test".to_owned())),
        Some(reason) => Ok((Device::cpu()?, reason)),
    }
}

/// Tests a GPU. Returns the reason that it failed, or none if it passes.
async fn failed_test(gpu: &Device, plan: &'static Plan, formats: &[Format]) -> Option<String> {
    let name = gpu.name();
    match self_test_async(plan, gpu, formats).await {
        Err(error) => Some(format!("the self-test of {name} failed: {error}")),
        Ok(test) => test.first_failed().map(|off| {
            format!(
                "{name} computes wrong results: the step {} has an error of {:.0e}",
                off.step, off.error
            )
        }),
    }
}
