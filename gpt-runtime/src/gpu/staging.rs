//! Uploads matrices: the host packs some panels while the device copies the panels before them.
//!
//! wgpu keeps written data in a staging buffer until the copy has been submitted and has finished.
//! So each write is submitted at once, and then the upload waits for the previous one. The staging
//! buffers of at most two writes are in memory.

use std::ops::Range;

use gpt_plan::MatrixLayout;
use wgpu::{Buffer, BufferUsages, SubmissionIndex};

use super::device::GpuDevice;
use super::pack::Packer;
use crate::Error;
use crate::weights::HostTensor;

/// Uploads the matrices of a model, one after another.
pub struct Sender<'a> {
    pub device: &'a GpuDevice,
    packer: Packer,
    /// The submission whose data the device may still be copying.
    before: Option<SubmissionIndex>,
}

impl<'a> Sender<'a> {
    pub fn new(device: &'a GpuDevice) -> Sender<'a> {
        Sender { device, packer: Packer::new(), before: None }
    }

    /// Packs `panels` of `tensor` as `layout` and `halves` say ([`Packer::pack`]) and uploads them
    /// with `write`.
    ///
    /// # Errors
    /// Fails if `write` fails, or if the device fails.
    pub fn send<T>(
        &mut self,
        tensor: &HostTensor<'_>,
        (layout, halves): (&MatrixLayout, u32),
        panels: Range<u32>,
        write: impl FnOnce(&GpuDevice, &mut Vec<u8>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let packed = self.packer.pack(tensor, layout, halves, panels);
        let written = write(self.device, packed)?;
        let sent = self.device.queue.submit([]);
        if let Some(before) = self.before.replace(sent) {
            self.device.wait_for(before)?;
        }
        Ok(written)
    }

    /// Uploads part `part` of `tensor` as a buffer called `name`.
    ///
    /// # Errors
    /// Fails if the device is out of memory.
    pub fn buffer(
        &mut self,
        name: &str,
        tensor: &HostTensor<'_>,
        packing: (&MatrixLayout, u32),
        part: u32,
    ) -> Result<Buffer, Error> {
        let panels = packing.0.panels_of(part);
        self.send(tensor, packing, panels, |device, packed| {
            device.upload(name, packed, BufferUsages::STORAGE)
        })
    }
}
