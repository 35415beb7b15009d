//! A GPU for the unit tests.

use gpt_plan::Features;

use super::adapter;
use super::device::GpuDevice;
use crate::Error;

/// The adapter that tests run on. Without one a test does not run, or fails if
/// `GPT_REQUIRE_GPU=1` is set.
pub fn adapter() -> Option<wgpu::Adapter> {
    available(crate::wait::now(adapter::choose(None)))
}

/// A device that runs the plain kernels, on the adapter that [`adapter`] returns.
pub fn device() -> Option<GpuDevice> {
    available(GpuDevice::open_with(None, Features::NONE))
}

fn available<T>(found: Result<T, Error>) -> Option<T> {
    match found {
        Ok(found) => Some(found),
        Err(error) => {
            let required =
                std::env::var("GPT_REQUIRE_GPU").is_ok_and(|v| v != "0" && !v.is_empty());
            assert!(!required, "GPT_REQUIRE_GPU is set, but {error}");
            eprintln!("NOT RUN, as there is no GPU: {error}");
            None
        }
    }
}
