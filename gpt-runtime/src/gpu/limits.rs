//! What a GPU can do: bytes that it reads and operations that it computes in a second, measured by two kernels that do nothing else.

use std::time::Instant;

use gpt_plan::{Format, Kernel, MAX_BINDING};
use gpt_shaders::{MEASURE_MULTIPLY, MEASURE_READ, Source};
use wgpu::{BindGroup, BufferBindingType, BufferUsages, ComputePass, ComputePipeline};

use super::device::GpuDevice;
use super::layout;
use super::timestamps::Timestamps;
use crate::Error;
use crate::engine::Limits;

/// The best of so many counts.
const RUNS: usize = 5;

/// As the shaders have them.
const LANES: u64 = 256;
const READS: u64 = 16;
const CHAINS: u64 = 32;
const MULTIPLICATIONS: u64 = 128;

/// Workgroups that multiply: enough for the largest GPU, not too many for a processor.
const MULTIPLYING: u32 = 1024;

impl GpuDevice {
    /// Measures it; takes a part of a second, or some seconds where the device is a processor.
    ///
    /// # Errors
    /// No room for 128 MiB, or a device that fails.
    pub fn limits(&self) -> Result<Limits, Error> {
        let source = self.buffer("a measurement", MAX_BINDING, BufferUsages::STORAGE)?;
        let result = self.buffer("a measurement", 16, BufferUsages::STORAGE)?;
        let layout = layout::layout(
            self,
            &[
                layout::entry(0, BufferBindingType::Storage { read_only: true }),
                layout::entry(1, BufferBindingType::Storage { read_only: false }),
            ],
        );
        let entries = [(0, &source), (1, &result)].map(|(binding, buffer)| wgpu::BindGroupEntry {
            binding,
            resource: buffer.as_entire_binding(),
        });
        let group = self.bind_group("a measurement", &layout, &entries);
        let seconds = |name: &'static str, file: &'static Source, groups: u32| {
            let kernel = kernel(name, file);
            let pipeline = self.pipeline(&kernel, &[Some(&layout)]);
            self.best(&pipeline.inner, &group, groups)
        };
        let reading = MAX_BINDING / (16 * LANES * READS);
        let operations = 2 * u64::from(MULTIPLYING) * LANES * CHAINS * MULTIPLICATIONS;
        let limits = Limits {
            bytes: MAX_BINDING as f64 / seconds("read", &MEASURE_READ, reading as u32)?,
            // Whatever a matrix is stored in, it is multiplied in f32.
            products: [operations as f64 / seconds("multiply", &MEASURE_MULTIPLY, MULTIPLYING)?;
                Format::ALL.len()],
        };
        self.check()?;
        Ok(limits)
    }

    /// Seconds of the fastest of some runs, after one that is not counted.
    fn best(
        &self,
        pipeline: &ComputePipeline,
        group: &BindGroup,
        groups: u32,
    ) -> Result<f64, Error> {
        let run = |mut pass: ComputePass<'_>| {
            pass.set_pipeline(pipeline);
            pass.set_bind_group(0, group, &[]);
            pass.dispatch_workgroups(groups, 1, 1);
        };
        let encoder = || self.device.create_command_encoder(&Default::default());
        let seconds = if self.has_timestamps() {
            let stamps = Timestamps::new(self, RUNS + 1)?;
            let mut encoder = encoder();
            for number in 0..=RUNS {
                run(stamps.pass(&mut encoder, number));
            }
            stamps.read(self, encoder)?
        } else {
            let one = || {
                let mut encoder = encoder();
                run(encoder.begin_compute_pass(&Default::default()));
                let start = Instant::now();
                self.submit(encoder);
                self.wait()?;
                Ok(start.elapsed().as_secs_f64())
            };
            (0..=RUNS).map(|_| one()).collect::<Result<_, Error>>()?
        };
        let counted = seconds[1..].iter().copied().filter(|s| *s > 0.0);
        let best = counted.fold(f64::INFINITY, f64::min);
        if best.is_finite() {
            return Ok(best);
        }
        Err(Error::Device(format!(
            "{} has timestamps that do not move",
            self.name()
        )))
    }
}

/// A file that is a kernel by itself: it runs with its example parameters.
fn kernel(name: &'static str, file: &'static Source) -> Kernel {
    let parameters = file.text.len() - file.essay().len() - file.body().len();
    Kernel {
        name: name.into(),
        header: file.text[file.essay().len()..][..parameters].into(),
        parts: vec![file].into(),
        workgroup: LANES as u32,
        tile_rows: 1,
        groups: 1,
        strips: 0,
    }
}
