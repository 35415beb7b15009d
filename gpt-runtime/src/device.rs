//! Devices: the choice between a GPU and the CPU, made once and explained.
//!
//! `gpu::adapter` finds and opens a GPU; `cpu` chooses the instruction set and the threads.

use std::sync::Arc;

use crate::Error;
use crate::cpu::{self, CpuDevice};
use crate::engine::{Latency, PeakRates};
#[cfg(feature = "gpu")]
use crate::gpu::AdapterDescription;
use crate::gpu::GpuDevice;
use crate::wait::now;
use gpt_simd::Isa;

/// An open device. Cheap to clone; the models that run on it share it.
#[derive(Clone)]
pub struct Device {
    engine: Engine,
    reason: String,
}

#[derive(Clone)]
enum Engine {
    Cpu(Arc<CpuDevice>),
    Gpu(Arc<GpuDevice>),
}

/// The kind of device to open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeviceKind {
    /// A hardware GPU if there is one, otherwise the CPU.
    #[default]
    Auto,
    /// A GPU, or a software adapter; an error if there is neither.
    Gpu,
    /// The CPU engine.
    Cpu,
}

/// Selects the device to open. The default opens the same device as [`Device::auto`].
///
/// Fields may be added: build it with [`DeviceOptions::default`] and the `with_` methods, or by
/// struct update.
#[derive(Clone, Debug, Default)]
pub struct DeviceOptions {
    /// The kind of device.
    pub kind: DeviceKind,
    /// An adapter: its index in [`adapters`](crate::adapters), its PCI id, or a part of its name,
    /// ignoring case. Implies a GPU.
    pub adapter: Option<String>,
    /// Threads of the CPU engine; if `None`, one for each physical core that the process may use.
    pub threads: Option<usize>,
}

impl DeviceOptions {
    /// Opens a device of this kind.
    pub fn with_kind(mut self, kind: DeviceKind) -> DeviceOptions {
        self.kind = kind;
        self
    }

    /// Opens an adapter by its index in [`adapters`](crate::adapters), its PCI id, or a part of its
    /// name, ignoring case.
    pub fn with_adapter(mut self, name: impl Into<String>) -> DeviceOptions {
        self.adapter = Some(name.into());
        self
    }

    /// Runs the CPU engine on `threads` threads.
    pub fn with_threads(mut self, threads: usize) -> DeviceOptions {
        self.threads = Some(threads);
        self
    }
}

impl Device {
    /// Opens a hardware GPU if there is one, otherwise the CPU engine, which is faster than a
    /// software adapter (lavapipe, WARP).
    ///
    /// # Errors
    /// Fails if no GPU is used and the threads of the CPU engine cannot be started.
    pub fn auto() -> Result<Device, Error> {
        Device::open(&DeviceOptions::default())
    }

    /// Opens the CPU engine on all physical cores that the process may use.
    ///
    /// # Errors
    /// Fails if the threads cannot be started.
    pub fn cpu() -> Result<Device, Error> {
        Device::open(&DeviceOptions { kind: DeviceKind::Cpu, ..Default::default() })
    }

    /// Opens a GPU. The environment variables `WGPU_BACKEND` and `WGPU_ADAPTER_NAME` select one of
    /// several.
    ///
    /// # Errors
    /// Fails if no adapter was found or none can run the kernels; the message gives the reason.
    pub fn gpu() -> Result<Device, Error> {
        Device::open(&DeviceOptions { kind: DeviceKind::Gpu, ..Default::default() })
    }

    /// Opens the CPU engine without intrinsics, which runs on any processor: the reference of
    /// self-tests.
    pub(crate) fn portable() -> Result<Device, Error> {
        Ok(Device {
            engine: Engine::Cpu(Arc::new(CpuDevice::with_isa(Isa::Portable, None)?)),
            reason: "the reference".to_owned(),
        })
    }

    /// Wraps an open GPU.
    pub(crate) fn of_gpu(gpu: Arc<GpuDevice>, reason: &str) -> Device {
        Device { engine: Engine::Gpu(gpu), reason: reason.to_owned() }
    }

    /// Uses a GPU device that the caller has opened, so that a game and its model share one. The
    /// `wgpu` version must be this crate's, which is re-exported as `gpt_runtime::wgpu`.
    ///
    /// The device needs WebGPU's default limits. The feature `SUBGROUP` enables faster kernels, and
    /// `SHADER_F16` enables training in f16. The caller's handlers of uncaptured errors and of a
    /// lost device stay in place. The engine submits work to `queue` and waits for it with
    /// `wgpu::Device::poll`.
    ///
    /// # Errors
    /// Fails if the limits with which the device was opened are too low, or if the adapter has no
    /// compute shaders.
    #[cfg(feature = "gpu")]
    pub fn from_wgpu(
        adapter: wgpu::Adapter,
        device: wgpu::Device,
        queue: wgpu::Queue,
    ) -> Result<Device, Error> {
        let gpu = GpuDevice::from_wgpu(adapter, device, queue)?;
        Ok(Device::of_gpu(Arc::new(gpu), "opened by the caller"))
    }

    /// Opens the device that `options` describe.
    ///
    /// # Errors
    /// Fails if the options contradict each other or the device cannot be opened.
    pub fn open(options: &DeviceOptions) -> Result<Device, Error> {
        now(Device::open_async(options))
    }

    /// Like [`open`](Self::open), for browsers, where a program cannot block and has to `.await`
    /// the GPU. On other systems the future blocks.
    ///
    /// # Errors
    /// See [`open`](Self::open).
    pub async fn open_async(options: &DeviceOptions) -> Result<Device, Error> {
        let named = options.adapter.as_deref();
        match options.kind {
            DeviceKind::Cpu if named.is_some() => Err(Error::Input(
                "an adapter was named, but the device is `cpu`; remove one of them".to_owned(),
            )),
            DeviceKind::Cpu => Device::open_cpu(options.threads, "requested"),
            DeviceKind::Gpu => Device::open_gpu(named, "requested").await,
            DeviceKind::Auto if named.is_some() => {
                Device::open_gpu(named, "requested by name").await
            }
            DeviceKind::Auto => match GpuDevice::open_async(None).await {
                Ok(gpu) if !gpu.is_software() => {
                    Ok(Device::of_gpu(Arc::new(gpu), "the best adapter found"))
                }
                Ok(gpu) => {
                    let reason = format!(
                        "{} is a software renderer, slower than the CPU engine",
                        gpu.name()
                    );
                    Device::open_cpu(options.threads, &reason)
                }
                Err(error) => Device::open_cpu(options.threads, &error.to_string()),
            },
        }
    }

    fn open_cpu(threads: Option<usize>, reason: &str) -> Result<Device, Error> {
        let engine = Engine::Cpu(Arc::new(CpuDevice::new(threads)?));
        Ok(Device { engine, reason: reason.to_owned() })
    }

    async fn open_gpu(adapter: Option<&str>, reason: &str) -> Result<Device, Error> {
        Ok(Device::of_gpu(Arc::new(GpuDevice::open_async(adapter).await?), reason))
    }

    /// Whether this is a GPU.
    pub fn is_gpu(&self) -> bool {
        matches!(self.engine, Engine::Gpu(_))
    }

    /// The adapter and backend of a GPU, or the processor, instruction set and threads of the CPU
    /// engine.
    pub fn name(&self) -> String {
        match &self.engine {
            Engine::Cpu(cpu) => cpu.describe(),
            Engine::Gpu(gpu) => gpu.name().to_owned(),
        }
    }

    /// The reason that the device was chosen, for messages.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// A meter of the device's peak rates.
    ///
    /// # Errors
    /// Fails if the buffer that the meter reads cannot be allocated, or if the GPU fails.
    pub fn meter(&self) -> Result<Meter, Error> {
        match &self.engine {
            Engine::Cpu(cpu) => Ok(Meter(Measurement::Cpu(cpu::CpuMeter::new(cpu.clone())?))),
            Engine::Gpu(gpu) => Ok(Meter(Measurement::Gpu(gpu.peak_rates()?))),
        }
    }

    /// Measures how long the GPU takes for dispatches and submissions that compute next to nothing;
    /// none for the CPU engine. The measurement takes a fraction of a second.
    ///
    /// # Errors
    /// Fails if the GPU fails or loses the result of a dispatch.
    pub fn latency(&self) -> Result<Option<Latency>, Error> {
        match &self.engine {
            Engine::Cpu(_) => Ok(None),
            Engine::Gpu(gpu) => gpu.latency().map(Some),
        }
    }

    /// The adapter on which the device was opened; none for the CPU engine.
    #[cfg(feature = "gpu")]
    pub fn adapter(&self) -> Option<AdapterDescription> {
        match &self.engine {
            Engine::Cpu(_) => None,
            Engine::Gpu(gpu) => Some(gpu.adapter()),
        }
    }

    pub(crate) fn engine(&self) -> EngineRef<'_> {
        match &self.engine {
            Engine::Cpu(cpu) => EngineRef::Cpu(cpu),
            Engine::Gpu(gpu) => EngineRef::Gpu(gpu),
        }
    }
}

pub(crate) enum EngineRef<'a> {
    Cpu(&'a Arc<CpuDevice>),
    Gpu(&'a Arc<GpuDevice>),
}

/// Measures a device's memory bandwidth and peak arithmetic rates.
pub struct Meter(Measurement);

enum Measurement {
    /// Measured in each call, because the speed of a processor varies from minute to minute.
    Cpu(cpu::CpuMeter),
    /// Measured once.
    Gpu(PeakRates),
}

impl Meter {
    /// The peak rates of the device.
    pub fn measure(&self) -> PeakRates {
        match &self.0 {
            Measurement::Cpu(meter) => meter.measure(),
            Measurement::Gpu(limits) => *limits,
        }
    }
}
