//! Compute passes that the device times, by a timestamp at the beginning and at the end of each.
//!
//! Every adapter with timestamps can write these, as in WebGPU; few can write timestamps within a
//! pass.

use wgpu::{
    Buffer, BufferUsages, CommandEncoder, ComputePass, ComputePassDescriptor,
    ComputePassTimestampWrites, QUERY_SET_MAX_QUERIES, QUERY_SIZE, QuerySet, QuerySetDescriptor,
    QueryType,
};

use super::device::GpuDevice;
use crate::Error;

/// The largest number of passes in one query set.
pub const MOST: usize = QUERY_SET_MAX_QUERIES as usize / 2;

/// The timestamps of some passes.
pub struct Timestamps {
    queries: QuerySet,
    count: u32,
    resolved: Buffer,
    download: Buffer,
}

impl Timestamps {
    /// Queries for `passes` passes, at most [`MOST`], on a device with timestamps.
    pub fn new(device: &GpuDevice, passes: usize) -> Result<Timestamps, Error> {
        let count = 2 * passes as u32;
        let bytes = u64::from(count * QUERY_SIZE);
        let resolved = BufferUsages::QUERY_RESOLVE | BufferUsages::COPY_SRC;
        let download = BufferUsages::MAP_READ | BufferUsages::COPY_DST;
        device.count();
        Ok(Timestamps {
            queries: device.device.create_query_set(&QuerySetDescriptor {
                label: None,
                ty: QueryType::Timestamp,
                count,
            }),
            count,
            resolved: device.buffer("timestamps", bytes, resolved)?,
            download: device.buffer("timestamps", bytes, download)?,
        })
    }

    /// Begins pass `number`.
    pub fn pass<'e>(&self, encoder: &'e mut CommandEncoder, number: usize) -> ComputePass<'e> {
        let query = 2 * number as u32;
        encoder.begin_compute_pass(&ComputePassDescriptor {
            label: None,
            timestamp_writes: Some(ComputePassTimestampWrites {
                query_set: &self.queries,
                beginning_of_pass_write_index: Some(query),
                end_of_pass_write_index: Some(query + 1),
            }),
        })
    }

    /// Submits `encoder`, which has all passes, and returns the seconds of each.
    pub fn read(&self, device: &GpuDevice, mut encoder: CommandEncoder) -> Result<Vec<f64>, Error> {
        let bytes = u64::from(self.count * QUERY_SIZE);
        encoder.resolve_query_set(&self.queries, 0..self.count, &self.resolved, 0);
        encoder.copy_buffer_to_buffer(&self.resolved, 0, &self.download, 0, bytes);
        device.submit(encoder);
        let tick = f64::from(device.queue.get_timestamp_period()) * 1e-9;
        let mut seconds = Vec::new();
        device.read(&self.download, bytes, |read| {
            let (ticks, _) = read.as_chunks();
            let ticks: Vec<u64> = ticks.iter().map(|t| u64::from_le_bytes(*t)).collect();
            // A device may reset its clock between two passes, which makes a difference
            // meaningless.
            let passes = ticks.chunks(2).map(|ends| ends[1].saturating_sub(ends[0]));
            seconds.extend(passes.map(|ticks| ticks as f64 * tick));
        })?;
        Ok(seconds)
    }
}
