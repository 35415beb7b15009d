//! The latency of a GPU: the time of dispatches and submissions that compute next to nothing.

use gpt_plan::{Access, Binding, Extent, Kernel, Operand};
use gpt_shaders::files::{ROOFLINE_CHAIN, ROOFLINE_EMPTY};
use wgpu::{BindGroup, BufferUsages, ComputePass};

use super::device::GpuDevice;
use super::pipelines::Pipeline;
use super::{layout, timing};
use crate::Error;
use crate::clock::Instant;
use crate::engine::Latency;

/// Dispatches in a measured pass.
const DISPATCHES: usize = 500;

/// The number of runs that count in each measurement; the median is taken.
const RUNS: usize = 9;

/// A kernel with its bind group, if it has one.
struct Measured {
    pipeline: Pipeline,
    group: Option<BindGroup>,
}

impl Measured {
    fn dispatch(&self, pass: &mut ComputePass<'_>) {
        pass.set_bind_group(0, self.group.as_ref(), &[]);
        self.pipeline.dispatch(pass, &Extent { rows: 1, ..Extent::default() });
    }
}

impl GpuDevice {
    /// Measures the latency. Takes a fraction of a second.
    ///
    /// # Errors
    /// Fails if the device fails or computes a wrong value.
    pub fn latency(&self) -> Result<Latency, Error> {
        let bytes = size_of::<f32>() as u64;
        let usage = BufferUsages::STORAGE | BufferUsages::COPY_SRC;
        let counter = self.buffer("a measurement", bytes, usage)?;
        let empty = Measured {
            pipeline: self.pipeline(&kernel(ROOFLINE_EMPTY, Vec::new()), &[], &[]),
            group: None,
        };
        let bindings = vec![Binding::new(0, 0, Operand::Out, Access::ReadWrite)];
        let chain = kernel(ROOFLINE_CHAIN, bindings);
        let layout = layout::group(self, chain.bindings.iter(), bytes as u32);
        let resource = counter.as_entire_binding();
        let entries = [wgpu::BindGroupEntry { binding: 0, resource }];
        let group = Some(self.bind_group("a measurement", &layout, &entries));
        let chain = Measured { pipeline: self.pipeline(&chain, &[layout], &[]), group };

        let dispatch = self.seconds_of_dispatch(&empty)?;
        let dependent = self.seconds_of_dispatch(&chain)?;
        let submit = median(|| {
            self.submit_one(&empty);
            self.wait()
        })?;
        let mut count = 0.0;
        let round_trip = median(|| {
            self.submit_one(&chain);
            self.download(&counter, 0, bytes, |bytes| count = bytemuck::pod_read_unaligned(bytes))
        })?;
        // In each measurement, one run precedes those that count.
        let expected = ((RUNS + 1) * DISPATCHES + RUNS + 1) as f32;
        if count != expected {
            return Err(Error::device(format!(
                "{} counted {count} dispatches, but {expected} ran, each of which depends on the \
                 one before it",
                self.name()
            )));
        }
        Ok(Latency { dispatch, dependent, submit, round_trip, clock: timing::clock(self) })
    }

    /// Measures the seconds of one dispatch among [`DISPATCHES`] in a pass.
    fn seconds_of_dispatch(&self, measured: &Measured) -> Result<f64, Error> {
        let seconds = timing::seconds(self, RUNS + 1, |_, pass| {
            (0..DISPATCHES).for_each(|_| measured.dispatch(pass));
        })?;
        Ok(middle(seconds[1..].to_vec()) / DISPATCHES as f64)
    }

    fn submit_one(&self, measured: &Measured) {
        let mut encoder = self.encoder();
        measured.dispatch(&mut encoder.begin_compute_pass(&Default::default()));
        self.submit(encoder);
    }
}

/// The median of the seconds, by the host's clock, of [`RUNS`] calls after a first call that does
/// not count.
fn median(mut call: impl FnMut() -> Result<(), Error>) -> Result<f64, Error> {
    call()?;
    let runs = (0..RUNS).map(|_| {
        let start = Instant::now();
        call()?;
        Ok(start.elapsed().as_secs_f64())
    });
    Ok(middle(runs.collect::<Result<_, Error>>()?))
}

fn middle(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

/// The kernel whose whole shader is `file`.
fn kernel(file: &'static str, bindings: Vec<Binding>) -> Kernel {
    Kernel {
        workgroup: 1,
        groups: 1,
        bindings: bindings.into(),
        ..Kernel::new(file, "", vec![file])
    }
}

#[cfg(test)]
mod tests {
    use crate::gpu::testing;

    #[test]
    fn each_dispatch_runs_and_takes_time() {
        let Some(device) = testing::device() else { return };
        let found = device.latency().unwrap();
        for seconds in [found.dispatch, found.dependent, found.submit, found.round_trip] {
            assert!(seconds > 0.0 && seconds < 1.0, "{found:?}");
        }
    }
}
