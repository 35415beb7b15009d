//! Shaders that report what they do, for tests: a test rewrites the WGSL of each kernel, and what the
//! rewritten code writes into a buffer in a group of its own can be read.

use wgpu::{BindGroup, BindGroupEntry, BindGroupLayout, Buffer, BufferUsages};

use super::device::GpuDevice;
use super::layout;
use crate::Error;
use gpt_plan::Access;

/// The group of the buffer, at binding 0: the kernels of a plan use those below.
pub const GROUP: u32 = 2;

/// Words of the buffer.
const WORDS: u64 = 4;

/// Rewrites the WGSL of a kernel.
pub type Rewrite = Box<dyn Fn(&str) -> String + Send + Sync>;

/// The buffer of a device, and the rewriting of its shaders.
pub struct Reports {
    rewrite: Rewrite,
    buffer: Buffer,
    layout: BindGroupLayout,
    group: BindGroup,
}

impl Reports {
    /// The WGSL to compile, and what its pipeline needs.
    pub(super) fn of(&self, text: &str) -> (String, &BindGroupLayout, BindGroup) {
        ((self.rewrite)(text), &self.layout, self.group.clone())
    }
}

impl GpuDevice {
    /// As [`open_with`](Self::open_with), with shaders that `rewrite` has changed. They run under
    /// naga's checks.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_reporting(
        features: gpt_plan::Features,
        rewrite: Rewrite,
    ) -> Result<GpuDevice, Error> {
        let mut device = GpuDevice::open_with(None, features)?;
        let usage = BufferUsages::STORAGE | BufferUsages::COPY_SRC;
        let buffer = device.upload("reports", &[0; 4 * WORDS as usize], usage)?;
        let layout = layout::create(&device, &[layout::entry(0, Access::ReadWrite, 0)]);
        let entry = BindGroupEntry { binding: 0, resource: buffer.as_entire_binding() };
        let group = device.bind_group("reports", &layout, &[entry]);
        device.reports = Some(Reports { rewrite, buffer, layout, group });
        Ok(device)
    }

    /// The buffer's words.
    ///
    /// # Errors
    /// The device fails.
    pub fn reports(&self) -> Result<Vec<u32>, Error> {
        let mut words = Vec::new();
        if let Some(reports) = &self.reports {
            self.download(&reports.buffer, 0, 4 * WORDS, |bytes| {
                words.extend_from_slice(bytemuck::cast_slice(bytes));
            })?;
        }
        Ok(words)
    }
}
