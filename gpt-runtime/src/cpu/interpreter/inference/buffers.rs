//! The memory of a session: its activations, its cache and scratch memory.

use gpt_plan::{BufferId, Plan};

use crate::Error;
use crate::cpu::device::CpuDevice;
use crate::cpu::kv_cache::{Cache, CacheShape, layer_caches};
use crate::cpu::ops::attention::cached::CachedScratch;
use crate::cpu::ops::matmul::forward::ProjectScratch;
use crate::engine::SessionOptions;

/// A session's activations and cache.
pub struct SessionBuffers {
    pub(super) x: Vec<f32>,
    pub(super) q: Vec<f32>,
    pub(super) a: Vec<f32>,
    pub(super) h: Vec<f32>,
    pub(super) embedded: Vec<f32>,
    pub(super) qkv_raw: Vec<f32>,
    pub(super) attn_branch: Vec<f32>,
    pub(super) mlp_branch: Vec<f32>,
    pub(super) head_hidden: Vec<f32>,
    /// One for each layer, or one that all layers share.
    pub(super) cache: Vec<Cache>,
}

impl SessionBuffers {
    /// The residual stream.
    pub fn stream_mut(&mut self) -> &mut [f32] {
        &mut self.x
    }

    /// The shape of each layer's cache.
    pub fn cache_shape(&self) -> CacheShape {
        self.cache[0].shape
    }

    /// Copies the first `positions` positions of every layer's cache.
    pub fn copy_cache(&mut self, from: &SessionBuffers, positions: usize) {
        for (to, from) in self.cache.iter_mut().zip(&from.cache) {
            to.copy_from(from, positions);
        }
    }

    /// Allocates the activations and the cache of a session.
    ///
    /// # Errors
    /// Fails if the system has too little memory for the cache.
    pub fn new(plan: &Plan, options: &SessionOptions) -> Result<SessionBuffers, Error> {
        let buffer = |id: BufferId| {
            let buffer = plan.buffer(id);
            vec![0.0; options.rows(buffer.rows) as usize * buffer.width as usize]
        };
        Ok(SessionBuffers {
            x: buffer(BufferId::X),
            q: buffer(BufferId::Q),
            a: buffer(BufferId::A),
            h: buffer(BufferId::H),
            embedded: buffer(BufferId::Embedded),
            qkv_raw: buffer(BufferId::QkvRaw),
            attn_branch: buffer(BufferId::AttnBranch),
            mlp_branch: buffer(BufferId::MlpBranch),
            head_hidden: buffer(BufferId::HeadHidden),
            cache: layer_caches(&plan.spec, options)?,
        })
    }
}

/// Scratch memory of a session.
pub struct PassScratch {
    pub(super) project: ProjectScratch,
    pub(super) attention: CachedScratch,
}

impl PassScratch {
    pub fn new(plan: &Plan, device: &CpuDevice, options: &SessionOptions) -> PassScratch {
        let spec = &plan.spec;
        let widths = plan.tensors.iter().map(|t| t.columns as usize);
        let widest = widths.max().unwrap_or(1);
        let (threads, capacity) = (device.pool.threads(), options.capacity as usize);
        let rows = options.chunk as usize;
        PassScratch {
            project: ProjectScratch::new(rows, spec.embed as usize, widest),
            attention: CachedScratch::new(spec, threads, capacity),
        }
    }

    pub(super) fn poison(&mut self, device: &CpuDevice) {
        self.project.poison();
        self.attention.poison();
        for thread in 0..device.pool.threads() {
            device.scratch(thread).poison();
        }
    }
}
