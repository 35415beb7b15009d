//! The buffers of a session, all created when it is opened.

use bytemuck::{Pod, Zeroable};
use gpt_plan::{BufferId, MAX_BINDING, MAX_STOPS, Plan};
use wgpu::{Buffer, BufferUsages};

use super::operands::SessionBuffer;
use crate::engine::{CacheFormat, SessionOptions};
use crate::gpu::buffer_set::{BufferSet, STORAGE};
use crate::gpu::device::GpuDevice;
use crate::gpu::upload::PassUpload;
use crate::{Error, Sampling};

/// `PassUniform` in `shared/pass.wgsl`, padded to the alignment of a uniform.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct PassUniform {
    position: u32,
    rows: u32,
    first: u32,
    padding: u32,
}

impl PassUniform {
    /// The uniforms of a pass over `rows` rows from `position` on, and of its head, which runs on
    /// the last `wanted` of them.
    pub fn body_and_head(position: u32, rows: u32, wanted: u32) -> [PassUniform; 2] {
        let uniform = |rows, first| PassUniform { position, rows, first, padding: 0 };
        [uniform(rows, 0), uniform(wanted, rows - wanted)]
    }
}

/// `Sampling` in `sampling/options.wgsl`.
#[derive(Clone, Copy, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct SamplingUniform {
    inverse_temperature: f32,
    top_k: u32,
    top_p: f32,
    min_p: f32,
    seed: [u32; 2],
    draws: u32,
    noise: u32,
    stops: [u32; MAX_STOPS],
}

impl SamplingUniform {
    /// The options for sampling from `vocab` tokens until one of `ends` is sampled. The index of a
    /// draw is the position of its pass plus `draws`, modulo 2^32.
    pub fn new(sampling: &Sampling, ends: &[u32], draws: u32, vocab: u32) -> SamplingUniform {
        let mut stops = [u32::MAX; MAX_STOPS];
        for (to, stop) in stops.iter_mut().zip(ends) {
            *to = *stop;
        }
        let all = sampling.top_k == 0 || sampling.top_k > vocab as usize;
        SamplingUniform {
            inverse_temperature: sampling.inverse_temperature(),
            top_k: if all { vocab } else { sampling.top_k as u32 },
            top_p: sampling.top_p,
            min_p: sampling.min_p,
            seed: [sampling.seed as u32, (sampling.seed >> 32) as u32],
            draws,
            noise: u32::from(sampling.temperature > 0.0 && !sampling.cuts(vocab)),
            stops,
        }
    }
}

/// The largest number of tokens in one submission.
pub const MOST_TOKENS: u32 = 32;

/// All buffers of a session.
pub struct SessionBuffers {
    /// The [`PassUniform`] of all steps but the head, and that of the head.
    pub pass_uniforms: [Buffer; 2],
    pub tokens: Buffer,
    pub sampling: Buffer,
    pub upload: PassUpload,
    /// Logits for the host.
    pub download: Buffer,
    /// Sampled tokens for the host; submissions alternate between the two.
    pub sampled: [Buffer; 2],
    /// The plan's buffers: two copies of the residual stream, one of keys and values for each
    /// layer, and one of every other buffer.
    plan: BufferSet,
}

impl SessionBuffers {
    /// Creates the buffers of a session with these `options`.
    ///
    /// # Errors
    /// Fails if the engine lacks the cache format, if the chunk or a buffer is too large, or if the
    /// device is out of memory.
    pub fn new(
        device: &GpuDevice,
        plan: &Plan,
        options: &SessionOptions,
    ) -> Result<SessionBuffers, Error> {
        if options.cache != CacheFormat::F32 {
            return Err(Error::Unsupported(format!(
                "the GPU engine keeps keys and values in f32, so a cache in {} is not available",
                options.cache.name()
            )));
        }
        if options.chunk > 65_535 {
            return Err(Error::Input(format!(
                "a chunk of {} tokens exceeds the 65535 that one dispatch covers; request a \
                 smaller chunk",
                options.chunk
            )));
        }
        let mut buffers = BufferSet::default();
        let mut logits = 0;
        for buffer in plan.buffers.iter() {
            let rows = options.rows(buffer.rows);
            let bytes = u64::from(rows) * u64::from(buffer.width) * 4;
            if bytes > MAX_BINDING {
                return Err(Error::Input(format!(
                    "the session's {} would take {} MiB, and an adapter can bind at most {} MiB at once; \
                     request a smaller capacity or chunk",
                    buffer.id.name(),
                    bytes >> 20,
                    MAX_BINDING >> 20
                )));
            }
            let copies = match buffer.id {
                BufferId::X => 2,
                BufferId::K | BufferId::V => plan.spec.layers,
                _ => 1,
            };
            if buffer.id == BufferId::Logits {
                logits = bytes;
            }
            buffers.add(device, buffer.id, bytes, copies)?;
        }
        let uniform = |name, bytes: usize, usage| {
            let usage = usage | BufferUsages::UNIFORM | BufferUsages::COPY_DST;
            device.buffer(name, bytes as u64, usage)
        };
        let pass_uniform =
            || uniform("pass uniform", size_of::<PassUniform>(), BufferUsages::STORAGE);
        let download = |name, bytes| {
            let usage = BufferUsages::MAP_READ | BufferUsages::COPY_DST;
            device.buffer(name, bytes, usage)
        };
        let sampled = || download("sampled tokens", 4 * u64::from(MOST_TOKENS));
        let tokens = u64::from(options.chunk) * 4;
        let uniforms = 2 * size_of::<PassUniform>() + size_of::<SamplingUniform>();
        Ok(SessionBuffers {
            pass_uniforms: [pass_uniform()?, pass_uniform()?],
            tokens: device.buffer("tokens", tokens, STORAGE)?,
            sampling: uniform("sampling", size_of::<SamplingUniform>(), BufferUsages::empty())?,
            upload: PassUpload::new(device, uniforms as u64 + tokens)?,
            download: download("download", logits)?,
            sampled: [sampled()?, sampled()?],
            plan: buffers,
        })
    }

    /// All copies of a buffer of the plan.
    pub fn copies(&self, id: BufferId) -> &[Buffer] {
        self.plan.copies(id)
    }

    /// The buffer that a step of `layer` uses as `buffer`. `stream` says which of the two stream
    /// buffers holds the residual stream before the step.
    pub fn get(&self, buffer: SessionBuffer, layer: u32, stream: usize) -> &Buffer {
        match buffer {
            SessionBuffer::PassUniform => &self.pass_uniforms[0],
            SessionBuffer::HeadPassUniform => &self.pass_uniforms[1],
            SessionBuffer::Sampling => &self.sampling,
            SessionBuffer::Tokens => &self.tokens,
            SessionBuffer::StreamIn => &self.copies(BufferId::X)[stream],
            SessionBuffer::StreamOut => &self.copies(BufferId::X)[1 - stream],
            SessionBuffer::Plan(id) => self.plan.get(id, layer),
        }
    }
}
