//! Replaces the GPU engine in a build without the Cargo feature `gpu`: no GPU can be opened.

use crate::Error;
use crate::engine::{Latency, PeakRates};

/// A GPU. This build cannot open one.
pub struct GpuDevice(());

/// Returns the error that explains why there is no GPU.
pub fn unavailable() -> Error {
    Error::Unsupported(
        "this program was built without the Cargo feature `gpu`; use the CPU engine (`cpu`)"
            .to_owned(),
    )
}

impl GpuDevice {
    pub async fn open_async(_name: Option<&str>) -> Result<GpuDevice, Error> {
        Err(unavailable())
    }

    pub fn is_software(&self) -> bool {
        false
    }

    pub fn name(&self) -> &str {
        ""
    }

    pub fn features(&self) -> gpt_plan::Features {
        gpt_plan::Features::NONE
    }

    pub fn latency(&self) -> Result<Latency, Error> {
        Err(unavailable())
    }

    pub fn peak_rates(&self) -> Result<PeakRates, Error> {
        Err(unavailable())
    }
}
