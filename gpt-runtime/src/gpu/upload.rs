//! Uniforms and tokens of a pass on their way to the device.
//!
//! The host writes them into one mapped buffer, and the device copies them to where kernels read
//! them. The buffer is mapped again when the pass is submitted; nothing is allocated for a pass.

use wgpu::{Buffer, BufferUsages, CommandEncoder, MapMode, SubmissionIndex};

use super::device::GpuDevice;
use crate::Error;

/// A mapped buffer that every pass is uploaded through.
pub struct PassUpload {
    staging: Buffer,
}

/// Bytes that a pass uploads, and their destination.
pub struct Chunk<'a> {
    pub bytes: &'a [u8],
    pub to: &'a Buffer,
    /// The first byte there.
    pub at: u64,
}

impl<'a> Chunk<'a> {
    /// `bytes` for the start of `to`.
    pub fn new(bytes: &'a [u8], to: &'a Buffer) -> Chunk<'a> {
        Chunk { bytes, to, at: 0 }
    }
}

impl PassUpload {
    /// Room for `bytes` bytes a pass.
    ///
    /// # Errors
    /// The device is out of memory.
    pub fn new(device: &GpuDevice, bytes: u64) -> Result<PassUpload, Error> {
        let usage = BufferUsages::MAP_WRITE | BufferUsages::COPY_SRC;
        Ok(PassUpload { staging: device.mapped_buffer("upload", bytes, usage)? })
    }

    /// Writes `chunks`, whose sizes are multiples of 4, and records their copies.
    ///
    /// # Errors
    /// A device that fails.
    pub fn record(
        &self,
        device: &GpuDevice,
        encoder: &mut CommandEncoder,
        chunks: &[Chunk<'_>],
    ) -> Result<(), Error> {
        // The map was requested when the last pass was submitted.
        device.wait()?;
        let mut view = self.staging.get_mapped_range_mut(..).map_err(|error| {
            device.not_mapped(format!("{} takes no more input: {error}", device.name()))
        })?;
        let mut start = 0;
        for chunk in chunks {
            let end = start + chunk.bytes.len();
            view.slice(start..end).copy_from_slice(chunk.bytes);
            start = end;
        }
        drop(view);
        self.staging.unmap();
        let mut start = 0;
        for chunk in chunks {
            let bytes = chunk.bytes.len() as u64;
            encoder.copy_buffer_to_buffer(&self.staging, start, chunk.to, chunk.at, bytes);
            start += bytes;
        }
        Ok(())
    }

    /// Submits a pass that [`record`](Self::record) began, and requests the map for the next one.
    pub fn submit(&self, device: &GpuDevice, encoder: CommandEncoder) -> SubmissionIndex {
        let submission = device.submit(encoder);
        self.staging.map_async(MapMode::Write, .., |_| {});
        submission
    }
}
