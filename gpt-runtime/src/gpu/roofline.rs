//! The roofline of a GPU: bytes read and operations computed in a second, each measured by a kernel
//! that does nothing else.

use gpt_plan::{
    Access, Binding, Extent, Feature, Format, Kernel, MAX_BINDING, Operand, TEXTURE_WIDTH,
};
use gpt_shaders::files::{ROOFLINE_BUFFER, ROOFLINE_MULTIPLY, ROOFLINE_READ, ROOFLINE_TEXTURE};
use wgpu::{BindGroup, BindingResource, BufferUsages};

use super::device::GpuDevice;
use super::pipelines::Pipeline;
use super::{layout, texture, timing};
use crate::Error;
use crate::engine::PeakRates;

/// The number of runs that count; the fastest is taken.
const RUNS: usize = 5;

// Constants of the shaders.
const LANES: u64 = 256;
const READS: u64 = 16;
const CHAINS: u64 = 32;
const MULTIPLICATIONS: u64 = 128;

/// Workgroups of the arithmetic kernel: enough for the largest GPU, not too many for a CPU.
const MULTIPLYING: u32 = 1024;

/// The input of a measurement, and how the kernel accesses it.
type Input<'a> = (Access, BindingResource<'a>);

impl GpuDevice {
    /// Measures the device. Takes a fraction of a second, or seconds on a software adapter.
    ///
    /// # Errors
    /// Fails if the device has no memory for 128 MiB, if it fails, or if its timestamps do not
    /// advance.
    pub fn peak_rates(&self) -> Result<PeakRates, Error> {
        let result = self.buffer("a measurement", 16, BufferUsages::STORAGE)?;
        // The input has the form in which matrices are kept.
        let (buffer, texture);
        let (element, source) = if self.features().has(Feature::Textures) {
            let rows = (MAX_BINDING / (16 * u64::from(TEXTURE_WIDTH))) as u32;
            texture =
                texture::create(self, "a measurement", 16, rows)?.create_view(&Default::default());
            let view = BindingResource::TextureView(&texture);
            (ROOFLINE_TEXTURE, (Access::Texture, view))
        } else {
            buffer = self.buffer("a measurement", MAX_BINDING, BufferUsages::STORAGE)?;
            (ROOFLINE_BUFFER, (Access::Read, buffer.as_entire_binding()))
        };
        let seconds = |files: &[&'static str], (access, source): Input<'_>, groups: u32| {
            let kernel = kernel(files, access, groups);
            let layout = layout::group(self, kernel.bindings.iter(), 16);
            let entries = [(0, source), (1, result.as_entire_binding())]
                .map(|(binding, resource)| wgpu::BindGroupEntry { binding, resource });
            let group = self.bind_group("a measurement", &layout, &entries);
            let pipeline = self.pipeline(&kernel, &[layout], &[]);
            self.best(&pipeline, &group)
        };
        let reading = MAX_BINDING / (16 * LANES * READS);
        let operations = 2 * u64::from(MULTIPLYING) * LANES * CHAINS * MULTIPLICATIONS;
        let few = self.buffer("a measurement", 16 * LANES, BufferUsages::STORAGE)?;
        let few = (Access::Read, few.as_entire_binding());
        let multiplying = seconds(&[ROOFLINE_MULTIPLY], few, MULTIPLYING)?;
        let seconds_of_reading = seconds(&[element, ROOFLINE_READ], source, reading as u32)?;
        let rates = PeakRates {
            bytes: MAX_BINDING as f64 / seconds_of_reading,
            // Matrices of all formats are multiplied in f32.
            products: [operations as f64 / multiplying; Format::ALL.len()],
        };
        self.check()?;
        Ok(rates)
    }

    /// The seconds of the fastest of [`RUNS`] runs, after a first run that does not count.
    fn best(&self, pipeline: &Pipeline, group: &BindGroup) -> Result<f64, Error> {
        let seconds = timing::seconds(self, RUNS + 1, |_, pass| {
            pass.set_bind_group(0, group, &[]);
            pipeline.dispatch(pass, &Extent { rows: 1, ..Extent::default() });
        })?;
        let counted = seconds[1..].iter().copied().filter(|s| *s > 0.0);
        let best = counted.fold(f64::INFINITY, f64::min);
        if best.is_finite() {
            return Ok(best);
        }
        Err(Error::device(format!("the timestamps of {} do not advance", self.name())))
    }
}

/// The kernel whose whole shader is `files`.
fn kernel(files: &[&'static str], access: Access, groups: u32) -> Kernel {
    Kernel {
        workgroup: LANES as u32,
        groups,
        bindings: vec![
            Binding::new(0, 0, Operand::X, access),
            Binding::new(0, 1, Operand::Out, Access::ReadWrite),
        ]
        .into(),
        ..Kernel::new(files[0], "", files.to_vec())
    }
}
