//! Weights on their way to a device: packed here, copied there, both at once.
//!
//! What is written to a device waits in a copy of wgpu's until it is submitted and done. So each piece is submitted when it is written, and the one before
//! it is waited for: the device copies one piece while the next is packed, and no more than two of them are in memory.

use std::ops::Range;

use gpt_plan::MatrixLayout;
use wgpu::{Buffer, BufferUsages, SubmissionIndex};

use super::device::GpuDevice;
use super::pack::Packer;
use crate::Error;
use crate::weights::HostTensor;

/// Sends the matrices of a model, one after the other.
pub struct Sender<'a> {
    pub device: &'a GpuDevice,
    packer: Packer,
    /// The piece that the device may still be copying.
    before: Option<SubmissionIndex>,
}

impl<'a> Sender<'a> {
    pub fn new(device: &'a GpuDevice) -> Sender<'a> {
        Sender {
            device,
            packer: Packer::new(),
            before: None,
        }
    }

    /// Some panels of `tensor`, packed as `layout` and `halves` say ([`Packer::pack`]) and handed to `write`.
    ///
    /// # Errors
    /// What `write` says; a device that fails.
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

    /// Part `part` of `tensor`, whose name is `name`, as a buffer.
    ///
    /// # Errors
    /// No room on the device.
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
