//! Uploads the uniforms and tokens of a pass.
//!
//! The host writes them into one mapped buffer, and the device copies them to where kernels read
//! them. The buffer is mapped again when the pass is submitted; nothing is allocated for a pass. In
//! a browser, mapping takes a turn of the event loop, so the queue writes the data instead.

use wgpu::{Buffer, BufferUsages, CommandEncoder, MapMode, SubmissionIndex};

use super::device::GpuDevice;
use crate::Error;
use crate::wait::BROWSER;

/// A mapped buffer that every pass is uploaded through.
pub struct PassUpload {
    /// `None` in a browser.
    staging: Option<Buffer>,
}

/// Bytes that a pass uploads, and their destination.
pub struct Upload<'a> {
    pub bytes: &'a [u8],
    pub to: &'a Buffer,
    /// The offset in `to`, in bytes.
    pub at: u64,
}

impl<'a> Upload<'a> {
    /// An upload of `bytes` to the start of `to`.
    pub fn new(bytes: &'a [u8], to: &'a Buffer) -> Upload<'a> {
        Upload { bytes, to, at: 0 }
    }
}

impl PassUpload {
    /// Allocates room for `bytes` bytes in each pass.
    ///
    /// # Errors
    /// Fails if the device is out of memory.
    pub fn new(device: &GpuDevice, bytes: u64) -> Result<PassUpload, Error> {
        let usage = BufferUsages::MAP_WRITE | BufferUsages::COPY_SRC;
        let staging = (!BROWSER).then(|| device.mapped_buffer("upload", bytes, usage));
        Ok(PassUpload { staging: staging.transpose()? })
    }

    /// Writes `uploads`, whose sizes are multiples of 4, and records their copies.
    ///
    /// # Errors
    /// Fails if the device fails.
    pub fn record(
        &self,
        device: &GpuDevice,
        encoder: &mut CommandEncoder,
        uploads: &[Upload<'_>],
    ) -> Result<(), Error> {
        let Some(staging) = &self.staging else {
            for upload in uploads {
                device.queue.write_buffer(upload.to, upload.at, upload.bytes);
            }
            return device.check();
        };
        // The map was requested when the previous pass was submitted.
        device.wait()?;
        let mut view = staging.get_mapped_range_mut(..).map_err(|error| {
            device.not_mapped(format!("{} cannot map the upload buffer: {error}", device.name()))
        })?;
        let mut start = 0;
        for upload in uploads {
            let end = start + upload.bytes.len();
            view.slice(start..end).copy_from_slice(upload.bytes);
            start = end;
        }
        drop(view);
        staging.unmap();
        let mut start = 0;
        for upload in uploads {
            let bytes = upload.bytes.len() as u64;
            encoder.copy_buffer_to_buffer(staging, start, upload.to, upload.at, bytes);
            start += bytes;
        }
        Ok(())
    }

    /// Submits a pass that [`record`](Self::record) began, and requests the map for the next one.
    pub fn submit(&self, device: &GpuDevice, encoder: CommandEncoder) -> SubmissionIndex {
        let submission = device.submit(encoder);
        if let Some(staging) = &self.staging {
            staging.map_async(MapMode::Write, .., |_| {});
        }
        submission
    }
}
