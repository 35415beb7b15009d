//! Times each of many compute passes: by timestamps of the device where it has them, otherwise by
//! the host's clock.

use wgpu::ComputePass;

use super::device::GpuDevice;
use super::timestamps::{MOST, Timestamps};
use crate::Error;
use crate::clock::Instant;
use crate::engine::Clock;

/// The clock that [`seconds`] uses.
pub fn clock(device: &GpuDevice) -> Clock {
    match device.has_timestamps() {
        true => Clock::Device,
        false => Clock::Host,
    }
}

/// Runs `count` compute passes, each recorded by `record`, and returns the seconds of each.
///
/// # Errors
/// Fails if the device fails.
pub fn seconds(
    device: &GpuDevice,
    count: usize,
    record: impl Fn(usize, &mut ComputePass<'_>),
) -> Result<Vec<f64>, Error> {
    let all: Vec<usize> = (0..count).collect();
    let mut seconds = Vec::with_capacity(count);
    match clock(device) {
        Clock::Device => {
            for some in all.chunks(MOST) {
                let stamps = Timestamps::new(device, some.len())?;
                let mut encoder = device.encoder();
                for (number, &pass) in some.iter().enumerate() {
                    record(pass, &mut stamps.pass(&mut encoder, number));
                }
                seconds.extend(stamps.read(device, encoder)?);
            }
        }
        Clock::Host => {
            for pass in all {
                let mut encoder = device.encoder();
                record(pass, &mut encoder.begin_compute_pass(&Default::default()));
                let start = Instant::now();
                device.submit(encoder);
                device.wait()?;
                seconds.push(start.elapsed().as_secs_f64());
            }
        }
    }
    Ok(seconds)
}
