//! Buffers and bind groups of a device, and transfers to and from the host.

use wgpu::{
    BindGroup, BindGroupDescriptor, BindGroupEntry, BindGroupLayout, Buffer, BufferDescriptor,
    BufferUsages, CommandEncoder, MapMode, PollType, SubmissionIndex,
};

use super::device::GpuDevice;
use crate::Error;
use crate::wait::now;

impl GpuDevice {
    /// Creates a buffer of `bytes` bytes, rounded up to a multiple of 4 and at least 16. `what`
    /// names it in errors.
    pub(super) fn buffer(
        &self,
        what: &str,
        bytes: u64,
        usage: BufferUsages,
    ) -> Result<Buffer, Error> {
        self.buffer_with(what, bytes, usage, false)
    }

    /// Like [`buffer`](Self::buffer), but mapped, so that the host can write to it.
    pub(super) fn mapped_buffer(
        &self,
        what: &str,
        bytes: u64,
        usage: BufferUsages,
    ) -> Result<Buffer, Error> {
        let buffer = self.buffer_with(what, bytes, usage, true)?;
        if let Err(error) = buffer.get_mapped_range_mut(..) {
            return Err(self.not_mapped(format!("{} cannot map {what}: {error}", self.name())));
        }
        Ok(buffer)
    }

    /// Creates a buffer with this content.
    pub(super) fn upload(
        &self,
        what: &str,
        content: &[u8],
        usage: BufferUsages,
    ) -> Result<Buffer, Error> {
        let buffer = self.mapped_buffer(what, content.len() as u64, usage)?;
        let mut view = buffer.get_mapped_range_mut(..).map_err(|error| {
            self.not_mapped(format!("{} cannot map {what}: {error}", self.name()))
        })?;
        view.slice(..content.len()).copy_from_slice(content);
        drop(view);
        buffer.unmap();
        self.check()?;
        Ok(buffer)
    }

    /// The error that the device cannot hold `what`, of `bytes` bytes, for the reason `why`.
    pub(super) fn cannot_hold(&self, what: &str, bytes: u64, why: &str) -> Error {
        Error::OutOfMemory {
            message: format!(
                "{} cannot hold {what} ({} MiB): {why}",
                self.name(),
                bytes.div_ceil(1 << 20)
            ),
            bytes,
        }
    }

    fn buffer_with(
        &self,
        what: &str,
        bytes: u64,
        usage: BufferUsages,
        mapped: bool,
    ) -> Result<Buffer, Error> {
        let size = bytes.max(16).next_multiple_of(4);
        let refused = |why: &str| self.cannot_hold(what, size, why);
        if size > self.max_buffer {
            return Err(refused(&format!("a buffer has at most {} MiB", self.max_buffer >> 20)));
        }
        self.count();
        let create = || {
            self.device.create_buffer(&BufferDescriptor {
                label: Some(what),
                size,
                usage,
                mapped_at_creation: mapped,
            })
        };
        let buffer = self.within_memory(create).ok_or_else(|| refused("it is out of memory"))?;
        self.check()?;
        Ok(buffer)
    }

    pub(super) fn bind_group(
        &self,
        label: &str,
        layout: &BindGroupLayout,
        entries: &[BindGroupEntry<'_>],
    ) -> BindGroup {
        self.count();
        self.device.create_bind_group(&BindGroupDescriptor { label: Some(label), layout, entries })
    }

    /// A new command encoder.
    pub(super) fn encoder(&self) -> CommandEncoder {
        self.device.create_command_encoder(&Default::default())
    }

    /// Submits the commands that `encoder` recorded.
    pub(super) fn submit(&self, encoder: CommandEncoder) -> SubmissionIndex {
        self.queue.submit([encoder.finish()])
    }

    /// Waits until all submissions are finished and their buffers are mapped.
    pub(super) fn wait(&self) -> Result<(), Error> {
        self.poll(PollType::wait_indefinitely())
    }

    /// Waits until `submission` and those before it are finished and their buffers are mapped.
    pub(super) fn wait_for(&self, submission: SubmissionIndex) -> Result<(), Error> {
        self.poll(PollType::Wait { submission_index: Some(submission), timeout: None })
    }

    fn poll(&self, until: PollType) -> Result<(), Error> {
        let waited = self.device.poll(until);
        self.check()?;
        waited.map_err(|error| Error::device(format!("{} failed: {error}", self.name())))?;
        Ok(())
    }

    /// Copies `bytes` bytes of `buffer`, from byte `start` on, to the host and passes them to
    /// `read`. Allocates.
    pub(super) fn download(
        &self,
        buffer: &Buffer,
        start: u64,
        bytes: u64,
        read: impl FnOnce(&[u8]),
    ) -> Result<(), Error> {
        now(self.download_async(buffer, start, bytes, read))
    }

    /// Like [`download`](Self::download).
    pub(super) async fn download_async(
        &self,
        buffer: &Buffer,
        start: u64,
        bytes: u64,
        read: impl FnOnce(&[u8]),
    ) -> Result<(), Error> {
        let usage = BufferUsages::MAP_READ | BufferUsages::COPY_DST;
        let copy = self.buffer("download", bytes, usage)?;
        let mut encoder = self.encoder();
        encoder.copy_buffer_to_buffer(buffer, start, &copy, 0, bytes);
        self.submit(encoder);
        self.read_async(&copy, bytes, read).await
    }

    /// Maps `buffer`, waits for it and passes its first `bytes` bytes to `read`.
    pub(super) fn read(
        &self,
        buffer: &Buffer,
        bytes: u64,
        read: impl FnOnce(&[u8]),
    ) -> Result<(), Error> {
        now(self.read_async(buffer, bytes, read))
    }

    /// Like [`read`](Self::read).
    pub(super) async fn read_async(
        &self,
        buffer: &Buffer,
        bytes: u64,
        read: impl FnOnce(&[u8]),
    ) -> Result<(), Error> {
        let mapping = self.map(buffer, MapMode::Read, bytes);
        self.mapped(mapping, None).await?;
        self.read_mapped(buffer, bytes, read)
    }

    /// Passes the first `bytes` bytes of `buffer`, which is mapped, to `read`, and unmaps it.
    pub(super) fn read_mapped(
        &self,
        buffer: &Buffer,
        bytes: u64,
        read: impl FnOnce(&[u8]),
    ) -> Result<(), Error> {
        let view = buffer.get_mapped_range(..bytes).map_err(|error| {
            self.not_mapped(format!("{} cannot map a buffer: {error}", self.name()))
        })?;
        read(&view);
        drop(view);
        buffer.unmap();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::testing;

    /// A buffer larger than the device's memory is an error with the number of bytes, and the
    /// device stays usable.
    #[test]
    fn too_large_a_buffer_is_out_of_memory() {
        let Some(device) = testing::device() else { return };
        let bytes = device.max_buffer.saturating_add(4) & !3;
        for _ in 0..2 {
            match device.buffer("the cache", bytes, BufferUsages::STORAGE) {
                Err(Error::OutOfMemory { message, bytes: refused }) => {
                    assert!(message.contains("cannot hold the cache"), "{message}");
                    assert!(refused >= bytes);
                }
                Err(error) => panic!("{error:?}"),
                Ok(_) => panic!("a buffer of {bytes} bytes"),
            }
        }
        let small = device.upload("small", &[1, 2, 3, 4], BufferUsages::COPY_SRC).unwrap();
        let mut read = Vec::new();
        device.download(&small, 0, 4, |bytes| read.extend_from_slice(bytes)).unwrap();
        assert_eq!(read, [1, 2, 3, 4]);
    }
}
