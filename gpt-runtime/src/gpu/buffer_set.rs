//! The buffers of a plan on the device: of each as many copies as the engine keeps.

use wgpu::{Buffer, BufferUsages};

use super::device::GpuDevice;
use crate::Error;

/// Usage of a buffer that kernels work on; tests read and write it.
pub const STORAGE: BufferUsages = BufferUsages::STORAGE
    .union(BufferUsages::COPY_SRC)
    .union(BufferUsages::COPY_DST);

/// Buffers by their number in the plan, then by copy.
#[derive(Default)]
pub struct BufferSet {
    copies: Vec<Vec<Buffer>>,
}

impl BufferSet {
    /// Adds the plan's next buffer: `count` copies of `bytes` bytes.
    ///
    /// # Errors
    /// The device is out of memory.
    pub fn add(
        &mut self,
        device: &GpuDevice,
        name: &str,
        bytes: u64,
        count: u32,
    ) -> Result<(), Error> {
        let copies = (0..count).map(|_| device.buffer(name, bytes, STORAGE));
        self.copies.push(copies.collect::<Result<_, _>>()?);
        Ok(())
    }

    /// Copy `copy` of buffer `number`; of a buffer with a single copy, that one.
    pub fn get(&self, number: usize, copy: usize) -> &Buffer {
        match &*self.copies[number] {
            [single] => single,
            copies => &copies[copy],
        }
    }

    /// All copies of buffer `number`.
    pub fn copies(&self, number: usize) -> &[Buffer] {
        &self.copies[number]
    }
}
