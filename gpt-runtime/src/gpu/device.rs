//! An open GPU. It creates and counts everything on the device, and collects the errors that wgpu
//! reports late.

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
use super::tuning_cache::TuningCache;
use crate::Error;

/// An open GPU, which models share.
pub struct GpuDevice {
    pub(super) device: wgpu::Device,
    pub(super) queue: Queue,
    name: String,
    software: bool,
    max_buffer: u64,
    adapter: wgpu::Adapter,
    /// Features of the variants that run by default, where nothing was measured.
    features: gpt_plan::Features,
    /// Features of the variants that the device can run.
    available: gpt_plan::Features,
    tuned: TuningCache,
    cache: Option<PipelineCache>,
    /// The first error that no call could return.
    late_error: Arc<Mutex<Option<LateError>>>,
    created: AtomicU64,
}

/// An error that wgpu reported outside of a call.
enum LateError {
    Failed(String),
    Lost(String),
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
    /// Opens the best adapter whose name contains `name` (in any case), or the best of all. Kernels
    /// run in the variants that were measured to be the fastest ([`tune`](crate::tune)), otherwise
    /// in the [usual](gpt_plan::Features::usual) ones. `GPT_GPU_FEATURES`, a comma-separated list
    /// of features, overrides both; if it is empty, plain kernels run.
    ///
    /// # Errors
    /// No adapter is found or suitable, or the driver fails; the message lists the adapters.
    pub fn open(name: Option<&str>) -> Result<GpuDevice, Error> {
        let named = match std::env::var("GPT_GPU_FEATURES") {
            Err(_) => None,
            Ok(names) => Some(gpt_plan::Features::parse(&names).ok_or_else(|| {
                let known = Feature::ALL.map(Feature::name).join(", ");
                Error::Input(format!(
                    "GPT_GPU_FEATURES is `{names}`; the features that kernels have variants for are \
                     {known}"
                ))
            })?),
        };
        let adapter = adapter::choose(name)?;
        let tuned = match named {
            None => TuningCache::open(&adapter.get_info()),
            Some(_) => TuningCache::empty(),
        };
        let software = adapter.get_info().device_type == DeviceType::Cpu;
        let features = named.unwrap_or(gpt_plan::Features::usual(software));
        GpuDevice::create(adapter, features, tuned, PipelineCache::open)
    }

    /// As [`open`](Self::open), but all kernels use those of `features` that the adapter has, and
    /// pipelines are not kept on disk.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with(name: Option<&str>, features: gpt_plan::Features) -> Result<GpuDevice, Error> {
        let adapter = adapter::choose(name)?;
        GpuDevice::create(adapter, features, TuningCache::empty(), |_, _| None)
    }

    /// Uses a device that the caller opened on `adapter`. Its error handlers stay the caller's, and
    /// kernels use the [usual](gpt_plan::Features::usual) variants, as far as its features allow.
    ///
    /// # Errors
    /// The limits or features with which the device was opened are below what kernels need.
    pub fn from_wgpu(
        adapter: wgpu::Adapter,
        device: wgpu::Device,
        queue: Queue,
    ) -> Result<GpuDevice, Error> {
        let info = adapter.get_info();
        if let Some(reason) = adapter::lacks(&adapter, &device.limits()) {
            return Err(Error::device(format!(
                "the device that was opened on {} {reason}",
                info.name
            )));
        }
        let software = info.device_type == DeviceType::Cpu;
        let available = adapter::features(&adapter, device.features());
        Ok(GpuDevice {
            name: format!("{} ({})", info.name, adapter::backend_name(info.backend)),
            software,
            max_buffer: device.limits().max_buffer_size,
            features: available.and(gpt_plan::Features::usual(software)),
            available,
            tuned: TuningCache::empty(),
            cache: None,
            late_error: Arc::default(),
            created: AtomicU64::new(0),
            adapter,
            device,
            queue,
        })
    }

    /// Opens the same adapter another time, as [`open_with`](Self::open_with).
    pub(crate) fn again(&self, features: gpt_plan::Features) -> Result<GpuDevice, Error> {
        let adapter = self.adapter.clone();
        GpuDevice::create(adapter, features, TuningCache::empty(), |_, _| None)
    }

    /// The variants that were measured on this adapter.
    pub(crate) fn tuned(&self) -> TuningCache {
        TuningCache::open(&self.adapter.get_info())
    }

    fn create(
        adapter: wgpu::Adapter,
        features: gpt_plan::Features,
        tuned: TuningCache,
        cache: impl Fn(&wgpu::Device, &wgpu::AdapterInfo) -> Option<PipelineCache>,
    ) -> Result<GpuDevice, Error> {
        let info = adapter.get_info();
        let limits = adapter.limits();
        let max_buffer = limits.max_buffer_size;
        let features = adapter::features(&adapter, adapter.features()).and(features);
        let experimental = match features.has(Feature::CooperativeMatrices) {
            // SAFETY: experimental features are used only by shaders that were validated when the
            // plan was made, and only if the feature was requested by name.
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
                let message = format!("the adapter {} cannot be opened: {error}", info.name);
                Error::device(message).caused_by(error)
            })?;
        let late_error = Arc::new(Mutex::new(None));
        let note = |first: &Mutex<Option<LateError>>, error: LateError| {
            let mut first = first.lock().unwrap_or_else(PoisonError::into_inner);
            first.get_or_insert(error);
        };
        let late = late_error.clone();
        device.on_uncaptured_error(Arc::new(move |error| {
            note(&late, LateError::Failed(error.to_string()));
        }));
        let lost = late_error.clone();
        device.set_device_lost_callback(move |reason, message| {
            if reason != wgpu::DeviceLostReason::Destroyed {
                note(&lost, LateError::Lost(message));
            }
        });
        let backend = adapter::backend_name(info.backend);
        let device_features = device.features();
        let cache = cache(&device, &info);
        Ok(GpuDevice {
            device,
            queue,
            name: format!("{} ({backend})", info.name),
            software: info.device_type == DeviceType::Cpu,
            max_buffer,
            available: adapter::features(&adapter, device_features),
            adapter,
            features,
            tuned,
            cache,
            late_error,
            created: AtomicU64::new(0),
        })
    }

    /// Whether the adapter is software on the CPU (lavapipe, WARP).
    pub fn is_software(&self) -> bool {
        self.software
    }

    /// Names of the adapter and the backend.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether shaders have f16.
    pub fn has_f16(&self) -> bool {
        self.device.features().contains(Features::SHADER_F16)
    }

    /// The features that kernels use by default.
    pub fn features(&self) -> gpt_plan::Features {
        self.features
    }

    /// The features that `kernel` uses. `textures` is up to the matrix, which other kernels read,
    /// too.
    fn features_of(&self, kernel: &Kernel, textures: bool) -> gpt_plan::Features {
        let tuned = self.tuned.features(kernel);
        let own = tuned.map_or(self.features, |features| features.and(self.available));
        match textures {
            true => own.with(Feature::Textures),
            false => own.without(Feature::Textures),
        }
    }

    /// Whether the device can time passes.
    pub(crate) fn has_timestamps(&self) -> bool {
        self.device.features().contains(Features::TIMESTAMP_QUERY)
    }

    /// Number of buffers, layouts, bind groups and pipelines created so far. It does not grow while
    /// sessions run.
    pub fn created(&self) -> u64 {
        self.created.load(Ordering::Relaxed)
    }

    pub(super) fn count(&self) {
        self.created.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the first error since the last check, if any.
    pub(super) fn check(&self) -> Result<(), Error> {
        let mut late = self
            .late_error
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match late.take() {
            None => Ok(()),
            Some(LateError::Failed(what)) => {
                Err(Error::device(format!("{} failed: {what}", self.name)))
            }
            Some(LateError::Lost(why)) => Err(Error::DeviceLost(format!(
                "{} failed: the device was lost: {why}",
                self.name
            ))),
        }
    }

    /// A buffer of `bytes` bytes, rounded up to a multiple of 4 and at least 16. `what` names it in
    /// errors.
    pub(super) fn buffer(
        &self,
        what: &str,
        bytes: u64,
        usage: BufferUsages,
    ) -> Result<Buffer, Error> {
        self.buffer_with(what, bytes, usage, None)
    }

    /// A buffer with this content.
    pub(super) fn upload(
        &self,
        what: &str,
        content: &[u8],
        usage: BufferUsages,
    ) -> Result<Buffer, Error> {
        self.buffer_with(what, content.len() as u64, usage, Some(content))
    }

    /// The error that there is no memory for `bytes` bytes.
    pub(super) fn cannot_hold(&self, what: &str, bytes: u64, why: &str) -> Error {
        Error::OutOfMemory {
            message: format!(
                "{} cannot hold {what}, which takes {} MiB: {why}",
                self.name,
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
        content: Option<&[u8]>,
    ) -> Result<Buffer, Error> {
        let size = bytes.max(16).next_multiple_of(4);
        let refused = |why: &str| self.cannot_hold(what, size, why);
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
        gpt_shaders::variant(kernel, self.features_of(kernel, texture))
    }

    /// The pipeline of `kernel`, whose bind groups have these layouts.
    pub(super) fn pipeline(&self, kernel: &Kernel, groups: &[BindGroupLayout]) -> Pipeline {
        self.count();
        let label = Some(&*kernel.name);
        let source = wgpu::ShaderModuleDescriptor {
            label,
            source: wgpu::ShaderSource::Wgsl(gpt_shaders::link(kernel).into()),
        };
        // SAFETY: the compiler put the shader together for a plan. Every index is bounded by a
        // literal size of the plan, or by a number that a session or trainer keeps within its
        // buffers (rows, positions, tokens, slices of matrices). Every loop counts up to such a
        // size, and no divisor is zero.
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

    /// Writes the pipelines that were built to disk, where the backend can.
    pub(super) fn save_pipelines(&self) {
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

    /// Waits until all submissions are finished and their buffers are mapped.
    pub(super) fn wait(&self) -> Result<(), Error> {
        self.poll(PollType::wait_indefinitely())
    }

    /// Waits until `submission` and those before it are finished and their buffers are mapped.
    pub(super) fn wait_for(&self, submission: SubmissionIndex) -> Result<(), Error> {
        self.poll(PollType::Wait {
            submission_index: Some(submission),
            timeout: None,
        })
    }

    fn poll(&self, until: PollType) -> Result<(), Error> {
        let waited = self.device.poll(until);
        self.check()?;
        waited.map_err(|error| Error::device(format!("{} does not answer: {error}", self.name)))?;
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

    /// Maps `buffer`, waits for it and passes its first `bytes` bytes to `read`.
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

    /// Passes the first `bytes` bytes of `buffer`, which is mapped, to `read`, and unmaps it.
    pub(super) fn read_mapped(
        &self,
        buffer: &Buffer,
        bytes: u64,
        read: impl FnOnce(&[u8]),
    ) -> Result<(), Error> {
        let view = buffer
            .get_mapped_range(..bytes)
            .map_err(|error| Error::device(format!("{} returned nothing: {error}", self.name)))?;
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

    #[test]
    fn a_measured_kernel_runs_in_its_fastest_variant() {
        let Some(adapter) = crate::gpu::testing::adapter() else {
            return;
        };
        let kernels = &testing::gpt2().kernels;
        let find = |name| kernels.iter().find(|k| k.name == name).expect(name);
        let measured = find("qkv_prefill_f32");
        let other = find("mlp_up_prefill_f32");
        let best = Features::NONE.with(Feature::DoubleBuffers);
        let folder = tempfile::tempdir().unwrap();
        let tuned = || TuningCache::open_in(Some(folder.path()), &adapter.get_info());
        tuned().save(&[(measured, best)]).unwrap();
        let open =
            |tuned| GpuDevice::create(adapter.clone(), Features::DEFAULT, tuned, |_, _| None);
        let device = open(tuned()).unwrap();
        assert_eq!(device.features_of(measured, false), best);
        assert_eq!(device.features_of(other, false), device.features());
        let untouched = open(TuningCache::empty()).unwrap();
        assert_eq!(untouched.features_of(measured, false), untouched.features());
    }
}
