//! Where a model runs: the choice between a GPU and the CPU, made once and explained.
//!
//! How a GPU is found and opened is in `gpu::adapter`, how the CPU's instruction set and threads are chosen in `cpu`.

use std::sync::Arc;

use crate::Error;
use crate::cpu::simd::Isa;
use crate::cpu::{self, CpuDevice};
use crate::engine::Limits;
use crate::gpu::GpuDevice;

/// A device, opened. Cheap to clone; models that run on one share it.
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

/// Which kind of device is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceKind {
    /// A GPU if there is a real one, else the CPU.
    #[default]
    Auto,
    /// A GPU, be it emulated in software; an error if there is none.
    Gpu,
    /// The CPU engine.
    Cpu,
}

/// What to open. The default is [`Device::auto`].
#[derive(Clone, Debug, Default)]
pub struct DeviceOptions {
    /// Which kind of device.
    pub kind: DeviceKind,
    /// Part of an adapter's name (any case), where there are several. Implies a GPU.
    pub adapter: Option<String>,
    /// Threads of the CPU engine; the physical cores available to the process if `None`.
    pub threads: Option<usize>,
}

impl Device {
    /// A real GPU if there is one, else the CPU engine. An adapter that is itself software (lavapipe, WARP) ranks below the
    /// CPU engine, which is made for the processor it runs on.
    pub fn auto() -> Result<Device, Error> {
        Device::open(&DeviceOptions::default())
    }

    /// The CPU engine on all physical cores.
    pub fn cpu() -> Result<Device, Error> {
        Device::open(&DeviceOptions {
            kind: DeviceKind::Cpu,
            ..Default::default()
        })
    }

    /// A GPU, or an error that says why there is none. `WGPU_BACKEND` and `WGPU_ADAPTER_NAME` select among several.
    pub fn gpu() -> Result<Device, Error> {
        Device::open(&DeviceOptions {
            kind: DeviceKind::Gpu,
            ..Default::default()
        })
    }

    /// The CPU engine in plain Rust, whatever the processor has: what others are compared with.
    pub(crate) fn portable() -> Result<Device, Error> {
        Ok(Device {
            engine: Engine::Cpu(Arc::new(CpuDevice::with_isa(Isa::Portable, None)?)),
            reason: "the reference".to_owned(),
        })
    }

    /// A GPU that is open.
    pub(crate) fn of_gpu(gpu: Arc<GpuDevice>, reason: &str) -> Device {
        Device {
            engine: Engine::Gpu(gpu),
            reason: reason.to_owned(),
        }
    }

    /// Opens what `options` ask for.
    pub fn open(options: &DeviceOptions) -> Result<Device, Error> {
        let named = options.adapter.as_deref();
        match options.kind {
            DeviceKind::Cpu if named.is_some() => Err(Error::Input(
                "an adapter was named, but the device is `cpu`; leave one of them out".to_owned(),
            )),
            DeviceKind::Cpu => Device::open_cpu(options.threads, "asked for"),
            DeviceKind::Gpu => Device::open_gpu(named, "asked for"),
            DeviceKind::Auto if named.is_some() => Device::open_gpu(named, "its name was given"),
            DeviceKind::Auto => match GpuDevice::open(None) {
                Ok(gpu) if !gpu.is_software() => {
                    Ok(Device::of_gpu(Arc::new(gpu), "the best adapter found"))
                }
                Ok(gpu) => {
                    let reason = format!(
                        "the only adapter, {}, is software and slower than the CPU engine",
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
        Ok(Device {
            engine,
            reason: reason.to_owned(),
        })
    }

    fn open_gpu(adapter: Option<&str>, reason: &str) -> Result<Device, Error> {
        Ok(Device::of_gpu(Arc::new(GpuDevice::open(adapter)?), reason))
    }

    /// Whether this is a GPU.
    pub fn is_gpu(&self) -> bool {
        matches!(self.engine, Engine::Gpu(_))
    }

    /// What it is: adapter and backend, or processor, instruction set and threads.
    pub fn name(&self) -> String {
        match &self.engine {
            Engine::Cpu(cpu) => cpu.describe(),
            Engine::Gpu(gpu) => gpu.name().to_owned(),
        }
    }

    /// Why it was chosen.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// What measures the device's limits.
    ///
    /// # Errors
    /// There is no room for the memory that is read, or a GPU fails.
    pub fn meter(&self) -> Result<Meter, Error> {
        match &self.engine {
            Engine::Cpu(cpu) => Ok(Meter::Cpu(cpu::Meter::new(cpu.clone())?)),
            Engine::Gpu(gpu) => Ok(Meter::Gpu(gpu.limits()?)),
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

/// Measures what a device reads and computes in a second.
pub enum Meter {
    /// Measured again and again, as a processor's speed differs from minute to minute.
    Cpu(cpu::Meter),
    /// Measured once.
    Gpu(Limits),
}

impl Meter {
    /// The device's limits, now.
    pub fn measure(&self) -> Limits {
        match self {
            Meter::Cpu(meter) => meter.measure(),
            Meter::Gpu(limits) => *limits,
        }
    }
}
