//! An open GPU: everything that is created on it is created (and counted) here, and errors that wgpu reports late are collected here.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use gpt_plan::{Extent, Feature, Grid, Kernel};
use wgpu::{
    BindGroup, BindGroupDescriptor, BindGroupEntry, BindGroupLayout, Buffer, BufferDescriptor,
    BufferUsages, CommandEncoder, ComputePass, ComputePipeline, DeviceType, ErrorFilter,
    ExperimentalFeatures, Features, MapMode, MemoryHints, PollType, Queue, SubmissionIndex,
};

use super::adapter;
use super::pipeline_cache::PipelineCache;
use super::tuning_cache::Tuned;
use crate::Error;

/// A GPU, opened; models that run on it share it.
pub struct GpuDevice {
    pub(super) device: wgpu::Device,
    pub(super) queue: Queue,
    name: String,
    software: bool,
    max_buffer: u64,
    adapter: wgpu::Adapter,
    /// Which variants of kernels run, where a measurement does not say better.
    features: gpt_plan::Features,
    tuned: Tuned,
    cache: Option<PipelineCache>,
    /// What went wrong where no call could return it.
    trouble: Arc<Mutex<Option<String>>>,
    created: AtomicU64,
}

/// A compiled kernel, and its grid.
pub(super) struct Pipeline {
    inner: ComputePipeline,
    grid: Grid,
    groups: u32,
    tile_rows: u32,
}

impl Pipeline {
    /// Records a dispatch of this extent; its bind groups are set.
    pub fn dispatch(&self, pass: &mut ComputePass<'_>, extent: &Extent) {
        let [x, y, z] = self.grid.workgroups(self.groups, self.tile_rows, extent);
        pass.set_pipeline(&self.inner);
        pass.dispatch_workgroups(x, y, z);
    }
}

impl GpuDevice {
    /// Opens the best adapter whose name contains `name` (any case), or the best of all. Kernels run in the variants that were measured to be the fastest on it
    /// ([`tune`](crate::tune)), others in the [usual](gpt_plan::Features::usual) ones. `GPT_GPU_FEATURES` has the names of the features that all of them are to make use of instead,
    /// with commas between them; empty, it leaves the plain kernels.
    ///
    /// # Errors
    /// None found, none suitable, or the driver refuses; the message says which and what there is.
    pub fn open(name: Option<&str>) -> Result<GpuDevice, Error> {
        let named = match std::env::var("GPT_GPU_FEATURES") {
            Err(_) => None,
            Ok(names) => Some(gpt_plan::Features::parse(&names).ok_or_else(|| {
                let known = Feature::ALL.map(Feature::name).join(", ");
                Error::Input(format!(
                    "GPT_GPU_FEATURES is `{names}`; the features that kernels have variants for are {known}"
                ))
            })?),
        };
        let adapter = adapter::choose(name)?;
        let tuned = match named {
            None => Tuned::open(&adapter.get_info()),
            Some(_) => Tuned::nothing(),
        };
        let software = adapter.get_info().device_type == DeviceType::Cpu;
        let features = named.unwrap_or(gpt_plan::Features::usual(software));
        GpuDevice::create(adapter, features, tuned, PipelineCache::open)
    }

    /// As [`open`](Self::open), where kernels make use of `features`, as far as the adapter has them, whatever was measured, and pipelines are not kept on disk, whatever the
    /// environment says.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with(name: Option<&str>, features: gpt_plan::Features) -> Result<GpuDevice, Error> {
        let adapter = adapter::choose(name)?;
        GpuDevice::create(adapter, features, Tuned::nothing(), |_, _| None)
    }

    /// The same adapter once more, as [`open_with`](Self::open_with) opens it.
    pub(crate) fn again(&self, features: gpt_plan::Features) -> Result<GpuDevice, Error> {
        let adapter = self.adapter.clone();
        GpuDevice::create(adapter, features, Tuned::nothing(), |_, _| None)
    }

    /// What was measured of this adapter.
    pub(crate) fn tuned(&self) -> Tuned {
        Tuned::open(&self.adapter.get_info())
    }

    fn create(
        adapter: wgpu::Adapter,
        features: gpt_plan::Features,
        tuned: Tuned,
        cache: impl Fn(&wgpu::Device, &wgpu::AdapterInfo) -> Option<PipelineCache>,
    ) -> Result<GpuDevice, Error> {
        let info = adapter.get_info();
        let limits = adapter.limits();
        let max_buffer = limits.max_buffer_size;
        let features = adapter::features(&adapter).and(features);
        let experimental = match features.has(Feature::CooperativeMatrices) {
            // SAFETY: what is experimental is compiled from a shader that was validated when the plan was made, and only where somebody has asked for it by name.
            true => unsafe { ExperimentalFeatures::enabled() },
            false => ExperimentalFeatures::disabled(),
        };
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("gpt"),
            required_features: adapter::wanted(&adapter, features),
            experimental_features: experimental,
            required_limits: limits,
            memory_hints: MemoryHints::Performance,
            ..Default::default()
        };
        let (device, queue) =
            pollster::block_on(adapter.request_device(&descriptor)).map_err(|error| {
                Error::Device(format!(
                    "the adapter {} cannot be opened: {error}",
                    info.name
                ))
            })?;
        let trouble = Arc::new(Mutex::new(None));
        let note = |trouble: &Mutex<Option<String>>, what: String| {
            let mut trouble = trouble.lock().unwrap_or_else(PoisonError::into_inner);
            trouble.get_or_insert(what);
        };
        let late = trouble.clone();
        device.on_uncaptured_error(Arc::new(move |error| note(&late, error.to_string())));
        let lost = trouble.clone();
        device.set_device_lost_callback(move |reason, message| {
            if reason != wgpu::DeviceLostReason::Destroyed {
                note(&lost, format!("the device was lost: {message}"));
            }
        });
        let backend = adapter::backend_name(info.backend);
        let cache = cache(&device, &info);
        Ok(GpuDevice {
            device,
            queue,
            name: format!("{} ({backend})", info.name),
            software: info.device_type == DeviceType::Cpu,
            max_buffer,
            adapter,
            features,
            tuned,
            cache,
            trouble,
            created: AtomicU64::new(0),
        })
    }

    /// Whether the adapter is a program on the CPU (lavapipe, WARP).
    pub fn is_software(&self) -> bool {
        self.software
    }

    /// Adapter and backend.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether shaders have numbers of 16 bits.
    pub fn has_f16(&self) -> bool {
        self.device.features().contains(Features::SHADER_F16)
    }

    /// The features that kernels make use of.
    pub fn features(&self) -> gpt_plan::Features {
        self.features
    }

    /// The features that `kernel` makes use of, if it can. Whether it reads `textures` is not its own affair: others read the same matrix.
    fn features_of(&self, kernel: &Kernel, textures: bool) -> gpt_plan::Features {
        let had = adapter::features(&self.adapter);
        let tuned = self.tuned.features(kernel);
        let own = tuned.map_or(self.features, |features| features.and(had));
        match textures {
            true => own.with(Feature::Textures),
            false => own.without(Feature::Textures),
        }
    }

    /// Whether passes can be timed by the device.
    pub(crate) fn has_timestamps(&self) -> bool {
        self.device.features().contains(Features::TIMESTAMP_QUERY)
    }

    /// Buffers, bind groups and pipelines created so far. Does not grow while sessions run.
    pub fn created(&self) -> u64 {
        self.created.load(Ordering::Relaxed)
    }

    pub(super) fn count(&self) {
        self.created.fetch_add(1, Ordering::Relaxed);
    }

    /// What went wrong since the last look.
    pub(super) fn check(&self) -> Result<(), Error> {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        match trouble.take() {
            None => Ok(()),
            Some(what) => Err(Error::Device(format!("{} failed: {what}", self.name))),
        }
    }

    /// A buffer of `bytes` (at least 16, a multiple of 4), which is for `what`.
    pub(super) fn buffer(
        &self,
        what: &str,
        bytes: u64,
        usage: BufferUsages,
    ) -> Result<Buffer, Error> {
        self.buffer_with(what, bytes, usage, None)
    }

    /// A buffer that holds `content`.
    pub(super) fn upload(
        &self,
        what: &str,
        content: &[u8],
        usage: BufferUsages,
    ) -> Result<Buffer, Error> {
        self.buffer_with(what, content.len() as u64, usage, Some(content))
    }

    /// Why there cannot be `bytes` for `what`.
    pub(super) fn no_room(&self, what: &str, bytes: u64, why: &str) -> Error {
        Error::Device(format!(
            "{} has no room for {what}, which takes {} MiB: {why}",
            self.name,
            bytes.div_ceil(1 << 20)
        ))
    }

    fn buffer_with(
        &self,
        what: &str,
        bytes: u64,
        usage: BufferUsages,
        content: Option<&[u8]>,
    ) -> Result<Buffer, Error> {
        let size = bytes.max(16).next_multiple_of(4);
        let refused = |why: &str| self.no_room(what, size, why);
        if size > self.max_buffer {
            return Err(refused(&format!(
                "its buffers end at {} MiB",
                self.max_buffer >> 20
            )));
        }
        self.count();
        let memory = self.device.push_error_scope(ErrorFilter::OutOfMemory);
        let buffer = self.device.create_buffer(&BufferDescriptor {
            label: Some(what),
            size,
            usage,
            mapped_at_creation: content.is_some(),
        });
        if pollster::block_on(memory.pop()).is_some() {
            return Err(refused("it is out of memory"));
        }
        if let Some(content) = content {
            let mut view = buffer
                .get_mapped_range_mut(..)
                .map_err(|error| refused(&error.to_string()))?;
            view.slice(..content.len()).copy_from_slice(content);
            drop(view);
            buffer.unmap();
        }
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
        self.device.create_bind_group(&BindGroupDescriptor {
            label: Some(label),
            layout,
            entries,
        })
    }

    /// The variant of `kernel` that runs on this device, if it is not the plain one. With
    /// `texture`, its matrix is a texture.
    pub(super) fn variant(&self, kernel: &Kernel, texture: bool) -> Option<Kernel> {
        kernel.variant(self.features_of(kernel, texture))
    }

    /// The pipeline of `kernel`, whose bind groups have these layouts.
    pub(super) fn pipeline(&self, kernel: &Kernel, groups: &[BindGroupLayout]) -> Pipeline {
        self.count();
        let label = Some(&*kernel.name);
        let source = wgpu::ShaderModuleDescriptor {
            label,
            source: wgpu::ShaderSource::Wgsl(kernel.wgsl().into()),
        };
        // SAFETY: the shader is one that the compiler put together for a plan. Every index is bounded by a size that is a literal of
        // the same plan, or by numbers that a session or trainer keeps within the buffers it made for them (rows, positions, tokens,
        // parts of matrices); every loop counts up to such a size, and no divisor is zero.
        let module = unsafe {
            self.device
                .create_shader_module_trusted(source, wgpu::ShaderRuntimeChecks::unchecked())
        };
        let layout = self
            .device
            .create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                label,
                bind_group_layouts: &groups.iter().map(Some).collect::<Vec<_>>(),
                immediate_size: 0,
            });
        let inner = self
            .device
            .create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label,
                layout: Some(&layout),
                module: &module,
                entry_point: Some("main"),
                compilation_options: wgpu::PipelineCompilationOptions {
                    constants: &[],
                    // Every kernel writes workgroup memory before it reads it.
                    zero_initialize_workgroup_memory: false,
                },
                cache: self.cache.as_ref().map(PipelineCache::inner),
            });
        Pipeline {
            inner,
            grid: kernel.grid,
            groups: kernel.groups,
            tile_rows: kernel.tile_rows,
        }
    }

    /// Keeps the pipelines that were built for the next program, where the backend can.
    pub(super) fn keep_pipelines(&self) {
        if let Some(cache) = &self.cache {
            cache.save();
        }
    }

    /// A new command encoder.
    pub(super) fn encoder(&self) -> CommandEncoder {
        self.device.create_command_encoder(&Default::default())
    }

    /// Submits what was recorded.
    pub(super) fn submit(&self, encoder: CommandEncoder) -> SubmissionIndex {
        self.queue.submit([encoder.finish()])
    }

    /// Waits until the device has done everything that was submitted, and maps have been answered.
    pub(super) fn wait(&self) -> Result<(), Error> {
        self.poll(PollType::wait_indefinitely())
    }

    /// Waits until the device has done what was submitted up to `submission`, and maps of it have been answered.
    pub(super) fn wait_for(&self, submission: SubmissionIndex) -> Result<(), Error> {
        self.poll(PollType::Wait {
            submission_index: Some(submission),
            timeout: None,
        })
    }

    fn poll(&self, until: PollType) -> Result<(), Error> {
        let waited = self.device.poll(until);
        self.check()?;
        waited.map_err(|error| Error::Device(format!("{} does not answer: {error}", self.name)))?;
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
        let usage = BufferUsages::MAP_READ | BufferUsages::COPY_DST;
        let copy = self.buffer("download", bytes, usage)?;
        let mut encoder = self.encoder();
        encoder.copy_buffer_to_buffer(buffer, start, &copy, 0, bytes);
        self.submit(encoder);
        self.read(&copy, bytes, read)
    }

    /// Waits for `buffer` and hands its first `bytes` to `read`.
    pub(super) fn read(
        &self,
        buffer: &Buffer,
        bytes: u64,
        read: impl FnOnce(&[u8]),
    ) -> Result<(), Error> {
        buffer.map_async(MapMode::Read, ..bytes, |_| {});
        self.wait()?;
        self.read_mapped(buffer, bytes, read)
    }

    /// Hands the first `bytes` of `buffer`, whose map was answered, to `read`, and ends the map.
    pub(super) fn read_mapped(
        &self,
        buffer: &Buffer,
        bytes: u64,
        read: impl FnOnce(&[u8]),
    ) -> Result<(), Error> {
        let view = buffer
            .get_mapped_range(..bytes)
            .map_err(|error| Error::Device(format!("{} returned nothing: {error}", self.name)))?;
        read(&view);
        drop(view);
        buffer.unmap();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use gpt_plan::Features;

    use super::*;
    use crate::weights::testing;

    /// A kernel runs in the variant that was the fastest, others in the default.
    #[test]
    fn what_was_measured_is_what_runs() {
        let Some(adapter) = crate::gpu::testing::adapter() else {
            return;
        };
        let kernels = &testing::gpt2().kernels;
        let find = |name| kernels.iter().find(|k| k.name == name).expect(name);
        let measured = find("qkv_prefill_f32");
        let other = find("mlp_up_prefill_f32");
        let best = Features::NONE.with(Feature::DoubleBuffers);
        let folder = tempfile::tempdir().unwrap();
        let tuned = || Tuned::open_in(Some(folder.path()), &adapter.get_info());
        tuned().keep(&[(measured, best)]).unwrap();
        let open =
            |tuned| GpuDevice::create(adapter.clone(), Features::DEFAULT, tuned, |_, _| None);
        let device = open(tuned()).unwrap();
        assert_eq!(device.features_of(measured, false), best);
        assert_eq!(device.features_of(other, false), device.features());
        let untouched = open(Tuned::nothing()).unwrap();
        assert_eq!(untouched.features_of(measured, false), untouched.features());
    }
}
