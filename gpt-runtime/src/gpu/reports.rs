//! Instrumented shaders, for tests. A test rewrites the WGSL of each kernel. The rewritten code
//! writes to a buffer in bind group 2, which [`GpuDevice::reports`] reads.

use wgpu::{BindGroup, BindGroupEntry, BindGroupLayout, Buffer, BufferUsages};

use super::device::GpuDevice;
use super::layout;
use crate::Error;
use gpt_plan::Access;

/// The bind group of the buffer (binding 0). The kernels of a plan use groups 0 and 1.
pub const GROUP: u32 = 2;

/// Size of the buffer in 32-bit words.
const WORDS: u64 = 4;

/// Rewrites the WGSL of a kernel.
pub type Rewrite = Box<dyn Fn(&str) -> String + Send + Sync>;

/// Rewrites the shaders of a device, and holds the buffer that they write.
pub struct Reports {
    rewrite: Rewrite,
    buffer: Buffer,
    layout: BindGroupLayout,
    group: BindGroup,
}

impl Reports {
    /// Returns the rewritten WGSL, and the layout and the bind group of the buffer.
    pub(super) fn rewrite(&self, text: &str) -> (String, &BindGroupLayout, BindGroup) {
        ((self.rewrite)(text), &self.layout, self.group.clone())
    }
}

impl GpuDevice {
    /// Like [`open_with`](Self::open_with), but compiles the output of `rewrite`, with naga's
    /// bounds checks.
    ///
    /// # Errors
    /// See [`open`](Self::open).
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

    /// Reads the buffer. The result is empty if the device was not opened with
    /// [`open_reporting`](Self::open_reporting).
    ///
    /// # Errors
    /// Fails if the device fails.
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
