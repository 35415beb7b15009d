//! Kernels on a GPU, one by one: pipelines as the runtime builds them, buffers of the right sizes,
//! and a clock.
//!
//! The device is a separate one, as benchmarks need timestamps. `kernel` binds what a shader
//! declares, `dynamic` derives the form whose sizes are known at run time only, `forms` compares
//! the two. `inference` and `training` have the inputs of the kernels of a plan.

mod dynamic;
mod forms;
pub mod inference;
mod kernel;
pub mod training;

use std::time::{Duration, Instant};

use wgpu::{
    Buffer, BufferDescriptor, BufferUsages, CommandEncoder, ComputePassDescriptor,
    ComputePassTimestampWrites, DeviceDescriptor, Features, Instance, InstanceDescriptor, MapMode,
    PollType, QuerySet, QuerySetDescriptor, QueryType, Queue,
};

pub use inference::Job;
pub use kernel::Sizes;

/// A GPU and its clock.
pub struct Gpu {
    device: wgpu::Device,
    queue: Queue,
    name: String,
    software: bool,
    clock: Option<Clock>,
}

/// Two timestamps, and the buffers to read them.
struct Clock {
    queries: QuerySet,
    resolved: Buffer,
    read: Buffer,
    /// Nanoseconds of a tick.
    period: f64,
}

impl Gpu {
    /// Opens the adapter that the runtime would open.
    ///
    /// # Errors
    /// Fails if no adapter is found, or if the driver refuses to open it.
    pub fn open() -> Result<Gpu, String> {
        let known = gpt_runtime::adapters();
        let wanted = std::env::var("WGPU_ADAPTER_NAME").unwrap_or_default();
        let chosen = known
            .iter()
            .filter(|a| a.name.to_lowercase().contains(&wanted.to_lowercase()))
            .find(|a| a.lacks.is_none())
            .ok_or("no adapter was found")?;
        let descriptor = InstanceDescriptor::new_without_display_handle_from_env();
        let instance = Instance::new(descriptor);
        let adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::all()));
        let adapter = adapters
            .into_iter()
            .find(|a| a.get_info().name == chosen.name)
            .ok_or("the adapter is gone")?;
        let optional = Features::SHADER_F16 | Features::SUBGROUP | Features::TIMESTAMP_QUERY;
        let features = adapter.features() & optional;
        let descriptor = DeviceDescriptor {
            label: Some("benches"),
            required_features: features,
            required_limits: adapter.limits(),
            ..Default::default()
        };
        let (device, queue) = pollster::block_on(adapter.request_device(&descriptor))
            .map_err(|error| format!("{} cannot be opened: {error}", chosen.name))?;
        let clock = features
            .contains(Features::TIMESTAMP_QUERY)
            .then(|| Clock::new(&device, f64::from(queue.get_timestamp_period())));
        Ok(Gpu {
            device,
            queue,
            name: format!("{} ({})", chosen.name, chosen.backend),
            software: chosen.kind == "software",
            clock,
        })
    }

    /// The GPU, if there is one. Prints on standard error which one it is, or why there is none.
    pub fn if_any() -> Option<Gpu> {
        match Gpu::open() {
            Ok(gpu) => {
                let how = match gpu.clock {
                    Some(_) => "by timestamps",
                    None => "by the wall clock, as there are no timestamps",
                };
                eprintln!("the GPU is {}, timed {how}", gpu.name);
                Some(gpu)
            }
            Err(error) => {
                eprintln!("the GPU is left out: {error}");
                None
            }
        }
    }

    /// Rows of a prompt for measurements, fewer on a software adapter.
    pub fn prompt_rows(&self) -> u32 {
        if self.software { 16 } else { 512 }
    }

    /// The batch for measurements of training.
    pub fn batch(&self) -> training::Shape {
        let (sequences, tokens) = if self.software { (1, 64) } else { (8, 1024) };
        training::Shape { sequences, tokens }
    }

    /// The time that the device takes for a pass that `record` records.
    fn time(&self, record: impl FnOnce(&mut wgpu::ComputePass<'_>)) -> Duration {
        let mut encoder = self.device.create_command_encoder(&Default::default());
        {
            let writes = self.clock.as_ref().map(|clock| ComputePassTimestampWrites {
                query_set: &clock.queries,
                beginning_of_pass_write_index: Some(0),
                end_of_pass_write_index: Some(1),
            });
            let mut pass = encoder.begin_compute_pass(&ComputePassDescriptor {
                label: None,
                timestamp_writes: writes,
            });
            record(&mut pass);
        }
        if let Some(clock) = &self.clock {
            clock.resolve(&mut encoder);
        }
        let start = Instant::now();
        self.queue.submit([encoder.finish()]);
        self.wait();
        match &self.clock {
            Some(clock) => clock.elapsed(self),
            None => start.elapsed(),
        }
    }

    fn wait(&self) {
        self.device.poll(PollType::wait_indefinitely()).expect("the device responds");
    }

    /// The first `bytes` bytes of a mappable buffer.
    fn read(&self, buffer: &Buffer, bytes: u64) -> Vec<u8> {
        buffer.map_async(MapMode::Read, ..bytes, |_| {});
        self.wait();
        let view = buffer.get_mapped_range(..bytes).expect("it was mapped");
        let content = view.to_vec();
        drop(view);
        buffer.unmap();
        content
    }

    fn buffer(&self, bytes: u64, usage: BufferUsages) -> Buffer {
        self.device.create_buffer(&BufferDescriptor {
            label: None,
            size: bytes.max(16).next_multiple_of(16),
            usage,
            mapped_at_creation: false,
        })
    }
}

impl Clock {
    fn new(device: &wgpu::Device, period: f64) -> Clock {
        let buffer = |usage| {
            device.create_buffer(&BufferDescriptor {
                label: Some("timestamps"),
                size: 16,
                usage,
                mapped_at_creation: false,
            })
        };
        Clock {
            queries: device.create_query_set(&QuerySetDescriptor {
                label: Some("timestamps"),
                ty: QueryType::Timestamp,
                count: 2,
            }),
            resolved: buffer(BufferUsages::QUERY_RESOLVE | BufferUsages::COPY_SRC),
            read: buffer(BufferUsages::MAP_READ | BufferUsages::COPY_DST),
            period,
        }
    }

    fn resolve(&self, encoder: &mut CommandEncoder) {
        encoder.resolve_query_set(&self.queries, 0..2, &self.resolved, 0);
        encoder.copy_buffer_to_buffer(&self.resolved, 0, &self.read, 0, 16);
    }

    fn elapsed(&self, gpu: &Gpu) -> Duration {
        let ticks = gpu.read(&self.read, 16);
        let tick = |i: usize| u64::from_le_bytes(*ticks[8 * i..].first_chunk().expect("two"));
        let nanoseconds = tick(1).saturating_sub(tick(0)) as f64 * self.period;
        Duration::from_nanos(nanoseconds as u64)
    }
}
