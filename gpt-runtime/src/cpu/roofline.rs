//! The processor's roofline, measured: bandwidth of memory and peak rates of arithmetic.
//!
//! Both are measured with the engine's own threads and instruction set, in a few hundredths of a
//! second. The speed of a machine changes from minute to minute, so callers repeat this measurement
//! between those that they compare with it.

use std::hint::black_box;
use std::sync::Arc;

use gpt_plan::Format;

use super::device::CpuDevice;
use super::memory::{Arena, Region};
use crate::Error;
use crate::clock::Instant;
use crate::engine::PeakRates;
use gpt_simd::Rounding;

/// Bytes that a measurement reads: more than most caches hold.
const BYTES: usize = 256 << 20;
/// Bytes that a task reads.
const TASK: usize = 1 << 20;
/// Iterations of arithmetic in a task, which take a few milliseconds.
const ITERATIONS: usize = 1 << 20;
/// The number of arithmetic tasks for each thread.
const ROUNDS: usize = 4;

/// Measures [`PeakRates`] of a device.
pub struct CpuMeter {
    device: Arc<CpuDevice>,
    memory: Region,
}

impl CpuMeter {
    /// Allocates the memory that a measurement reads, 256 MiB.
    ///
    /// # Errors
    /// Fails if the system has too little memory.
    pub fn new(device: Arc<CpuDevice>) -> Result<CpuMeter, Error> {
        // The memory is written first: all untouched pages are the same page of zeros.
        let memory = Arena::default().region(BYTES, |bytes| bytes.fill(1))?;
        Ok(CpuMeter { device, memory })
    }

    /// Measures once.
    pub fn measure(&self) -> PeakRates {
        let device = &*self.device;
        let start = Instant::now();
        device.pool.run(BYTES / TASK, &|task, _| {
            let part = bytemuck::cast_slice(&self.memory[task * TASK..][..TASK]);
            black_box(device.kernels.read(part));
        });
        let bytes = BYTES as f64 / start.elapsed().as_secs_f64();
        let mut measured: Vec<(Rounding, f64)> = Vec::new();
        let products = Format::ALL.map(|format| {
            let rounding = device.kernels.isa.rounding(format);
            if let Some((_, flops)) = measured.iter().find(|(of, _)| *of == rounding) {
                return *flops;
            }
            let flops = calculate(device, rounding);
            measured.push((rounding, flops));
            flops
        });
        PeakRates { bytes, products }
    }
}

/// Measures the operations a second of products with inputs of this `rounding`.
fn calculate(device: &CpuDevice, rounding: Rounding) -> f64 {
    let tasks = ROUNDS * device.pool.threads();
    let start = Instant::now();
    device.pool.run(tasks, &|_, _| {
        black_box(device.kernels.calculate(rounding, black_box(ITERATIONS)));
    });
    let seconds = start.elapsed().as_secs_f64();
    (tasks * device.kernels.flops(rounding, ITERATIONS)) as f64 / seconds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_those_of_a_machine() {
        let device = Arc::new(CpuDevice::new(None).unwrap());
        let limits = CpuMeter::new(device).unwrap().measure();
        // Implausible values would mean an emulator or a loop that was optimised away.
        assert!((1e8..1e13).contains(&limits.bytes), "{limits:?}");
        for format in Format::ALL {
            assert!((1e8..1e14).contains(&limits.of(format)), "{limits:?}");
        }
    }
}
