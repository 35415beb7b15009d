//! The buffers of a plan on the device. There may be several copies of a buffer, such as one for
//! each layer.

use gpt_plan::BufferId;
use wgpu::{Buffer, BufferUsages};

use super::device::GpuDevice;
use crate::Error;

/// Usage of a buffer that kernels work on, and that is the source or destination of copies.
pub const STORAGE: BufferUsages =
    BufferUsages::STORAGE.union(BufferUsages::COPY_SRC).union(BufferUsages::COPY_DST);

/// Buffers by [`BufferId`], then by copy. A buffer that the plan does not list has no copies.
pub struct BufferSet {
    copies: [Vec<Buffer>; BufferId::COUNT],
}

impl Default for BufferSet {
    fn default() -> BufferSet {
        BufferSet { copies: std::array::from_fn(|_| Vec::new()) }
    }
}

impl BufferSet {
    /// Creates `count` copies of a buffer, each of `bytes` bytes.
    ///
    /// # Errors
    /// Fails if the device is out of memory.
    pub fn add(
        &mut self,
        device: &GpuDevice,
        id: BufferId,
        bytes: u64,
        count: u32,
    ) -> Result<(), Error> {
        let copies = (0..count).map(|_| device.buffer(id.name(), bytes, STORAGE));
        self.copies[id as usize] = copies.collect::<Result<_, _>>()?;
        Ok(())
    }

    /// Copy `copy` of a buffer, or the buffer itself if there is only one copy.
    pub fn get(&self, id: BufferId, copy: u32) -> &Buffer {
        match self.copies(id) {
            [single] => single,
            copies => &copies[copy as usize],
        }
    }

    /// All copies of a buffer.
    pub fn copies(&self, id: BufferId) -> &[Buffer] {
        &self.copies[id as usize]
    }
}
