//! An open GPU: its features, and the errors that wgpu reports late.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use gpt_plan::{Feature, Kernel};
use wgpu::{
    DeviceType, ErrorFilter, ErrorScopeGuard, ExperimentalFeatures, Features, MemoryHints, Queue,
};

use super::adapter::{self, AdapterDescription};
use super::pipeline_cache::PipelineCache;
use super::reports::Reports;
use super::tuning_cache::TuningCache;
use crate::Error;
use crate::wait::BROWSER;
use crate::wait::now;

/// An open GPU, which models share.
pub struct GpuDevice {
    pub(super) device: wgpu::Device,
    pub(super) queue: Queue,
    name: String,
    software: bool,
    pub(super) max_buffer: u64,
    adapter: wgpu::Adapter,
    /// Features of the variants that run where nothing was measured.
    features: gpt_plan::Features,
    /// Features of the variants that the device can run.
    available: gpt_plan::Features,
    tuned: TuningCache,
    pub(super) cache: Option<PipelineCache>,
    /// The first error that no call could return, or the loss of the device.
    late_error: Arc<Mutex<Option<LateError>>>,
    created: AtomicU64,
    pub(super) reports: Option<Reports>,
}

/// An error that wgpu reported outside a call.
enum LateError {
    Failed(String),
    Lost(String),
}

impl GpuDevice {
    /// Opens the best adapter that `name` selects: an index, a PCI id, or a part of a name,
    /// ignoring case. Without `name`, `WGPU_ADAPTER_NAME` selects, or else all adapters are
    /// considered. Kernels run in the variants that were measured to be the fastest
    /// ([`tune`](crate::tune)), otherwise in the [usual](gpt_plan::Features::usual) ones.
    /// `GPT_GPU_FEATURES`, a comma-separated list of features, overrides both; if it is empty,
    /// plain kernels run.
    ///
    /// # Errors
    /// Fails if no adapter is found, if none can run the kernels, if the driver fails, or if
    /// `GPT_GPU_FEATURES` names an unknown feature.
    pub fn open(name: Option<&str>) -> Result<GpuDevice, Error> {
        now(GpuDevice::open_async(name))
    }

    /// Like [`open`](Self::open).
    ///
    /// # Errors
    /// See [`open`](Self::open).
    pub async fn open_async(name: Option<&str>) -> Result<GpuDevice, Error> {
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
        let adapter = adapter::choose(name).await?;
        let tuned = match named {
            None => TuningCache::open(&adapter.get_info()),
            Some(_) => TuningCache::empty(),
        };
        let software = adapter.get_info().device_type == DeviceType::Cpu;
        let features = named.unwrap_or(gpt_plan::Features::usual(software));
        GpuDevice::create(adapter, features, tuned, PipelineCache::open).await
    }

    /// Like [`open`](Self::open), but all kernels use those of `features` that the adapter has, and
    /// pipelines are not kept on disk.
    ///
    /// # Errors
    /// See [`open`](Self::open).
    pub fn open_with(name: Option<&str>, features: gpt_plan::Features) -> Result<GpuDevice, Error> {
        now(async {
            let adapter = adapter::choose(name).await?;
            GpuDevice::create(adapter, features, TuningCache::empty(), |_, _| None).await
        })
    }

    /// Uses a device that the caller opened on `adapter`. Its error handlers stay the caller's, and
    /// kernels use the [usual](gpt_plan::Features::usual) variants, as far as its features allow.
    ///
    /// # Errors
    /// Fails if the limits with which the device was opened are below what kernels need, or if the
    /// adapter has no compute shaders.
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
            name: adapter::display_name(&info),
            software,
            max_buffer: device.limits().max_buffer_size,
            features: available.and(gpt_plan::Features::usual(software)),
            available,
            tuned: TuningCache::empty(),
            cache: None,
            late_error: Arc::default(),
            reports: None,
            created: AtomicU64::new(0),
            adapter,
            device,
            queue,
        })
    }

    /// Opens the same adapter again, like [`open_with`](Self::open_with).
    pub(crate) fn again(&self, features: gpt_plan::Features) -> Result<GpuDevice, Error> {
        let adapter = self.adapter.clone();
        now(GpuDevice::create(adapter, features, TuningCache::empty(), |_, _| None))
    }

    /// The variants that were measured on this adapter.
    pub(crate) fn tuned(&self) -> TuningCache {
        TuningCache::open(&self.adapter.get_info())
    }

    async fn create(
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
        let (device, queue) = adapter.request_device(&descriptor).await.map_err(|error| {
            let message = format!("the adapter {} cannot be opened: {error}", info.name);
            Error::device(message).caused_by(error)
        })?;
        let late_error = Arc::new(Mutex::new(None));
        let late: Arc<Mutex<Option<LateError>>> = late_error.clone();
        device.on_uncaptured_error(Arc::new(move |error| {
            let mut first = late.lock().unwrap_or_else(PoisonError::into_inner);
            first.get_or_insert(LateError::Failed(error.to_string()));
        }));
        let lost = late_error.clone();
        device.set_device_lost_callback(move |reason, message| {
            let why = match reason {
                wgpu::DeviceLostReason::Destroyed => "it was destroyed".to_owned(),
                wgpu::DeviceLostReason::Unknown => message,
            };
            // An earlier error is a consequence of the loss.
            let mut first = lost.lock().unwrap_or_else(PoisonError::into_inner);
            *first = Some(LateError::Lost(why));
        });
        let device_features = device.features();
        let cache = cache(&device, &info);
        Ok(GpuDevice {
            device,
            queue,
            name: adapter::display_name(&info),
            software: info.device_type == DeviceType::Cpu,
            max_buffer,
            available: adapter::features(&adapter, device_features),
            adapter,
            features,
            tuned,
            cache,
            late_error,
            reports: None,
            created: AtomicU64::new(0),
        })
    }

    /// Whether the adapter is software on the CPU (lavapipe, WARP).
    pub fn is_software(&self) -> bool {
        self.software
    }

    /// Describes the adapter on which it was opened.
    pub fn adapter(&self) -> AdapterDescription {
        AdapterDescription::new(&self.adapter)
    }

    /// The name of the adapter, with its API in parentheses.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether shaders have f16.
    pub fn has_f16(&self) -> bool {
        self.device.features().contains(Features::SHADER_F16)
    }

    /// The features that kernels use where nothing was measured.
    pub fn features(&self) -> gpt_plan::Features {
        self.features
    }

    /// The features that `kernel` uses. The caller decides about `textures`, because other kernels
    /// read the same matrix.
    pub(super) fn features_of(&self, kernel: &Kernel, textures: bool) -> gpt_plan::Features {
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

    /// The number of buffers, textures, query sets, bind groups, bind group layouts and pipelines
    /// created so far. It does not grow while sessions generate or trainers train, once the
    /// pipelines that they need are built.
    pub fn created(&self) -> u64 {
        self.created.load(Ordering::Relaxed)
    }

    pub(super) fn count(&self) {
        self.created.fetch_add(1, Ordering::Relaxed);
    }

    /// Fails with the first error since the previous check, if any. On a lost device, every check
    /// fails.
    pub(super) fn check(&self) -> Result<(), Error> {
        let mut late = self.late_error.lock().unwrap_or_else(PoisonError::into_inner);
        match &*late {
            None => Ok(()),
            Some(LateError::Failed(what)) => {
                let error = Error::device(format!("{} failed: {what}", self.name));
                *late = None;
                Err(error)
            }
            Some(LateError::Lost(why)) => Err(self.lost(&format!(": {why}"))),
        }
    }

    /// The error for a lost device. `why` continues the sentence.
    fn lost(&self, why: &str) -> Error {
        Error::DeviceLost(format!(
            "{} failed: the device was lost{why}; open a device again, load the model, and resume a \
             training run from its last checkpoint",
            self.name
        ))
    }

    /// Runs `calls`, and also fails with a validation error that wgpu reports outside a call.
    /// Objects that are created on a lost device are invalid. On a device that the caller opened,
    /// an error from using them would otherwise go to the caller's handler, and wgpu's default one
    /// panics.
    pub(super) fn scoped<T>(&self, calls: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        now(self.scoped_async(async { calls() }))
    }

    /// Like [`scoped`](Self::scoped). A browser reports all errors to the handler.
    pub(super) async fn scoped_async<T>(
        &self,
        calls: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let scope = self.error_scope(ErrorFilter::Validation);
        let result = calls.await;
        let Some(error) = scope.and_then(|scope| pollster::block_on(scope.pop())) else {
            return result;
        };
        self.check_alive()?;
        result.and(Err(Error::device(format!("{} failed: {error}", self.name))))
    }

    /// Returns what `create` makes, or `None` if the device has no memory for it. A browser reports
    /// that later, to the error handler.
    pub(super) fn within_memory<T>(&self, create: impl FnOnce() -> T) -> Option<T> {
        let memory = self.error_scope(ErrorFilter::OutOfMemory);
        let created = create();
        let error = memory.and_then(|memory| pollster::block_on(memory.pop()));
        error.is_none().then_some(created)
    }

    /// Opens an error scope; `None` in a browser, where reading its error would mean waiting.
    fn error_scope(&self, filter: ErrorFilter) -> Option<ErrorScopeGuard> {
        (!BROWSER).then(|| self.device.push_error_scope(filter))
    }

    /// Like [`check`](Self::check), but also finds the loss of a device that the caller opened.
    /// That loss is reported to the caller's handler only, so this maps a small buffer, which is
    /// not possible on a lost device.
    pub(super) fn check_alive(&self) -> Result<(), Error> {
        self.check()?;
        if BROWSER {
            return Ok(());
        }
        let memory = self.device.push_error_scope(ErrorFilter::OutOfMemory);
        let probe = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("probe"),
            size: 16,
            usage: wgpu::BufferUsages::COPY_SRC,
            mapped_at_creation: true,
        });
        let has_memory = pollster::block_on(memory.pop()).is_none();
        match probe.get_mapped_range(..) {
            Err(_) if has_memory => Err(self.lost("")),
            _ => Ok(()),
        }
    }

    /// The error for a buffer that could not be mapped: the loss of the device if it was lost,
    /// otherwise `message`.
    pub(super) fn not_mapped(&self, message: String) -> Error {
        match self.check_alive() {
            Err(error) => error,
            Ok(()) => Error::device(message),
        }
    }

    /// Writes the pipelines that were built to the pipeline cache on disk, if there is one.
    pub(super) fn save_pipelines(&self) {
        if let Some(cache) = &self.cache {
            cache.save();
        }
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
            |tuned| now(GpuDevice::create(adapter.clone(), Features::DEFAULT, tuned, |_, _| None));
        let device = open(tuned()).unwrap();
        assert_eq!(device.features_of(measured, false), best);
        assert_eq!(device.features_of(other, false), device.features());
        let untouched = open(TuningCache::empty()).unwrap();
        assert_eq!(untouched.features_of(measured, false), untouched.features());
    }
}
