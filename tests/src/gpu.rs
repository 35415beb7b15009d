//! The adapter that GPU tests run on, if there is one.

use std::sync::{Arc, OnceLock};

use gpt_runtime::gpu::GpuDevice;

/// The adapter, opened once. Without one a test says that it did not run; where `GPT_REQUIRE_GPU=1` it fails.
pub fn device() -> Option<Arc<GpuDevice>> {
    static DEVICE: OnceLock<Result<Arc<GpuDevice>, String>> = OnceLock::new();
    let opened = DEVICE.get_or_init(|| {
        GpuDevice::open(None)
            .map(Arc::new)
            .map_err(|e| e.to_string())
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

fn required() -> bool {
    std::env::var("GPT_REQUIRE_GPU").is_ok_and(|value| value != "0" && !value.is_empty())
}
