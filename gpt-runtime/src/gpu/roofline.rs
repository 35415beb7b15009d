//! What a GPU can do: bytes that it reads and operations that it computes in a second, measured by two kernels that do nothing else.

use std::time::Instant;

use gpt_plan::{Feature, Format, Kernel, MAX_BINDING, TEXTURE_WIDTH};
use gpt_shaders::files::{ROOFLINE_MULTIPLY, ROOFLINE_READ, ROOFLINE_READ_TEXTURE};
use wgpu::{
    BindGroup, BindGroupLayoutEntry, BindingResource, BufferBindingType, BufferUsages, ComputePass,
    ComputePipeline,
};

use super::device::GpuDevice;
use super::layout;
use super::texture;
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

/// What a measurement reads.
type Bound<'a> = (BindGroupLayoutEntry, BindingResource<'a>);

impl GpuDevice {
    /// Measures it; takes a part of a second, or some seconds where the device is a processor.
    ///
    /// # Errors
    /// No room for 128 MiB, or a device that fails.
    pub fn limits(&self) -> Result<Limits, Error> {
        let result = self.buffer("a measurement", 16, BufferUsages::STORAGE)?;
        // As matrices are kept.
        let (buffer, texture);
        let read_only = layout::entry(0, BufferBindingType::Storage { read_only: true });
        let (read, source) = if self.features().has(Feature::Textures) {
            let rows = (MAX_BINDING / (16 * u64::from(TEXTURE_WIDTH))) as u32;
            texture =
                texture::create(self, "a measurement", 16, rows)?.create_view(&Default::default());
            let ty = layout::texture_entry(0, 16);
            let view = BindingResource::TextureView(&texture);
            (ROOFLINE_READ_TEXTURE, (ty, view))
        } else {
            buffer = self.buffer("a measurement", MAX_BINDING, BufferUsages::STORAGE)?;
            (ROOFLINE_READ, (read_only, buffer.as_entire_binding()))
        };
        let seconds = |file: &'static str, (ty, source): Bound<'_>, groups: u32| {
            let written = BufferBindingType::Storage { read_only: false };
            let layout = layout::layout(self, &[ty, layout::entry(1, written)]);
            let entries = [(0, source), (1, result.as_entire_binding())]
                .map(|(binding, resource)| wgpu::BindGroupEntry { binding, resource });
            let group = self.bind_group("a measurement", &layout, &entries);
            let pipeline = self.pipeline(&kernel(file), &[Some(&layout)], false);
            self.best(&pipeline.inner, &group, groups)
        };
        let reading = MAX_BINDING / (16 * LANES * READS);
        let operations = 2 * u64::from(MULTIPLYING) * LANES * CHAINS * MULTIPLICATIONS;
        let few = self.buffer("a measurement", 16 * LANES, BufferUsages::STORAGE)?;
        let few = (read_only, few.as_entire_binding());
        let multiplying = seconds(ROOFLINE_MULTIPLY, few, MULTIPLYING)?;
        let limits = Limits {
            bytes: MAX_BINDING as f64 / seconds(read, source, reading as u32)?,
            // Whatever a matrix is stored in, it is multiplied in f32.
            products: [operations as f64 / multiplying; Format::ALL.len()],
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

/// The kernel of a file that is a shader by itself.
fn kernel(file: &'static str) -> Kernel {
    Kernel {
        name: file.into(),
        header: "".into(),
        parts: vec![file].into(),
        workgroup: LANES as u32,
        tile_rows: 1,
        groups: 1,
        strips: 0,
    }
}
