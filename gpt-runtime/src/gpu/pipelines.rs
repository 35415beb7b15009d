//! Compiles a model's kernels.
//!
//! A driver takes milliseconds to compile a kernel, even if it has the kernel in its cache, and a
//! session needs few of a model's kernels: decoding uses none of the prefill kernels, for example.
//! So kernels are compiled when a kind of pass (prefill, decoding, sampling on the device) runs for
//! the first time. All kernels that are still missing are compiled together, on all cores, and
//! later passes of the kind compile nothing. Nearly every session decodes, so the decoding kernels
//! are compiled while weights are uploaded; with at least [`MANY_CORES`] cores, all kernels are. A
//! trainer compiles all of its kernels when it is created.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use gpt_plan::{Extent, Grid, Kernel, STRIP};
use wgpu::{BindGroup, BindGroupLayout, ComputePass, ComputePipeline};

use super::device::GpuDevice;
use super::layout;
use super::pipeline_cache::PipelineCache;
use super::reports;
use crate::threads;
use crate::wait::BROWSER;

/// From this many cores on, everything is compiled while weights are uploaded. With fewer, that
/// would delay the first pass.
const MANY_CORES: usize = 4;

/// The kind of a kernel's bind groups. Their layouts follow from it and from the bindings that the
/// kernel's WGSL declares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Groups {
    /// A group of a session's buffers, and a group of weights.
    Session {
        /// Bytes of an element of the matrix, if it is a texture.
        texel_bytes: Option<u32>,
        /// The part of the matrix that the kernel multiplies; `None` for the whole matrix.
        strips: Option<Strips>,
    },
    /// A group of uniforms at dynamic offsets, and a group of operands.
    Training,
}

/// A part of a matrix that mixes formats: the rows of one format, in strips of [`STRIP`] rows. The
/// last strip may be shorter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strips {
    /// The first row, and the number of rows.
    pub first_row: u32,
    pub rows: u32,
}

impl Strips {
    fn count(self) -> u32 {
        self.rows.div_ceil(STRIP)
    }

    /// The `override` constants of `shaders/wgsl/matmul/strips/some.wgsl`.
    fn constants(self) -> [(&'static str, f64); 3] {
        [
            ("LAST_STRIP", (self.count() - 1).into()),
            ("FIRST_FEATURE", self.first_row.into()),
            ("END_FEATURE", (self.first_row + self.rows).into()),
        ]
    }
}

/// The kernels of a plan, and the pipelines built from them so far.
pub struct Pipelines {
    device: Arc<GpuDevice>,
    kernels: &'static [Kernel],
    /// First an entry for each kernel, by index (`None` for a kernel that no step uses), then the
    /// entries that [`of_part`](Self::of_part) added.
    pipelines: Vec<Option<(Groups, OnceLock<Pipeline>)>>,
    /// The kernel of each entry that [`of_part`](Self::of_part) added.
    of_parts: Vec<u16>,
}

impl Pipelines {
    /// Prepares pipelines for the kernels in `used`, by index in `kernels`. Nothing is built yet.
    pub fn new(
        device: Arc<GpuDevice>,
        kernels: &'static [Kernel],
        used: impl IntoIterator<Item = (u16, Groups)>,
    ) -> Pipelines {
        let mut pipelines: Vec<_> = kernels.iter().map(|_| None).collect();
        for (kernel, groups) in used {
            pipelines[usize::from(kernel)] = Some((groups, OnceLock::new()));
        }
        Pipelines { device, kernels, pipelines, of_parts: Vec::new() }
    }

    /// Returns the index of the pipeline of `kernel` for the part of a matrix that `groups`
    /// describes. Adds an entry if there is none.
    pub fn of_part(&mut self, kernel: u16, groups: Groups) -> u16 {
        let known = self.pipelines.iter().enumerate().skip(self.kernels.len());
        for ((index, pipeline), of) in known.zip(&self.of_parts) {
            if *of == kernel && pipeline.as_ref().is_some_and(|(known, _)| *known == groups) {
                return index as u16;
            }
        }
        self.of_parts.push(kernel);
        self.pipelines.push(Some((groups, OnceLock::new())));
        (self.pipelines.len() - 1) as u16
    }

    /// The kernel of the pipeline with this index.
    pub fn kernel(&self, pipeline: u16) -> &'static Kernel {
        let index = usize::from(pipeline);
        let of_part = index.checked_sub(self.kernels.len());
        &self.kernels[of_part.map_or(index, |part| usize::from(self.of_parts[part]))]
    }

    /// Builds pipelines while weights are uploaded: only for the kernels `first`, or all of them if
    /// the machine has many cores.
    pub fn start(&self, first: impl IntoIterator<Item = u16>) {
        match cores() < MANY_CORES {
            true => self.prepare(first),
            false => self.prepare_all(),
        }
    }

    /// Builds all pipelines.
    pub fn prepare_all(&self) {
        let kernels = 0..self.pipelines.len() as u16;
        self.prepare(kernels.filter(|&k| self.pipelines[usize::from(k)].is_some()));
    }

    /// Builds those pipelines of `kernels` that are missing, on all cores, because a driver
    /// compiles a pipeline on one core.
    pub fn prepare(&self, kernels: impl IntoIterator<Item = u16>) {
        let missing: BTreeSet<u16> =
            kernels.into_iter().filter(|&kernel| self.entry(kernel).1.get().is_none()).collect();
        if missing.is_empty() {
            return;
        }
        let missing: Vec<u16> = missing.into_iter().collect();
        let next = AtomicUsize::new(0);
        let build = || {
            while let Some(&kernel) = missing.get(next.fetch_add(1, Ordering::Relaxed)) {
                self.get(kernel);
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..cores().min(missing.len()) {
                threads::spawn(scope, build);
            }
            build();
        });
        self.device.save_pipelines();
    }

    /// Returns the pipeline of a kernel, and builds it first if it is missing. If the build fails,
    /// `GpuDevice::check` returns the error.
    pub fn get(&self, kernel: u16) -> &Pipeline {
        let (groups, pipeline) = self.entry(kernel);
        pipeline.get_or_init(|| self.build(self.kernel(kernel), *groups))
    }

    fn entry(&self, kernel: u16) -> &(Groups, OnceLock<Pipeline>) {
        self.pipelines[usize::from(kernel)].as_ref().expect("a kernel that a step uses")
    }

    fn build(&self, plain: &Kernel, groups: Groups) -> Pipeline {
        let device = &self.device;
        let (texel_bytes, strips) = match groups {
            Groups::Session { texel_bytes, strips } => (texel_bytes, strips),
            Groups::Training => (None, None),
        };
        let mut variant = device.variant(plain, texel_bytes.is_some());
        if let Some(strips) = strips {
            let mut kernel = gpt_shaders::some_strips(variant.as_ref().unwrap_or(plain));
            let of_a_group = gpt_shaders::tile_n(&kernel).expect("a projection has tiles");
            kernel.groups = strips.count().div_ceil(of_a_group);
            variant = Some(kernel);
        }
        let kernel = variant.as_ref().unwrap_or(plain);
        let group = |number| layout::group(device, kernel.group(number), texel_bytes.unwrap_or(0));
        let layouts = match groups {
            Groups::Training => vec![layout::training_uniforms(device), group(1)],
            Groups::Session { .. } => {
                let last = kernel.bindings.last().map_or(0, |b| b.group);
                (0..=last).map(group).collect()
            }
        };
        let constants = strips.map(Strips::constants);
        device.pipeline(kernel, &layouts, constants.as_ref().map_or(&[], |all| all))
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// A compiled kernel, and its grid.
pub struct Pipeline {
    inner: ComputePipeline,
    grid: Grid,
    /// Workgroups along x.
    workgroups_x: u32,
    tile_rows: u32,
    /// See [`reports`].
    reports: Option<BindGroup>,
}

impl Pipeline {
    /// Records a dispatch of this extent. The bind groups must have been set.
    pub fn dispatch(&self, pass: &mut ComputePass<'_>, extent: &Extent) {
        let [x, y, z] = self.grid.workgroups(self.workgroups_x, self.tile_rows, extent);
        pass.set_pipeline(&self.inner);
        if let Some(group) = &self.reports {
            pass.set_bind_group(reports::GROUP, group, &[]);
        }
        pass.dispatch_workgroups(x, y, z);
    }
}

impl GpuDevice {
    /// The variant of `kernel` that runs on this device, if it is not the plain one. With
    /// `texture`, its matrix is a texture.
    pub(super) fn variant(&self, kernel: &Kernel, texture: bool) -> Option<Kernel> {
        gpt_shaders::variant(kernel, self.features_of(kernel, texture))
    }

    /// Builds the pipeline of `kernel`. `groups` are the layouts of its bind groups, and
    /// `constants` the values of its `override` constants.
    pub(super) fn pipeline(
        &self,
        kernel: &Kernel,
        groups: &[BindGroupLayout],
        constants: &[(&str, f64)],
    ) -> Pipeline {
        self.count();
        let label = Some(&*kernel.name);
        let mut text = match BROWSER {
            true => gpt_shaders::link_for_web(kernel),
            false => gpt_shaders::link(kernel),
        };
        let mut checks = wgpu::ShaderRuntimeChecks::unchecked();
        let mut layouts: Vec<_> = groups.iter().map(Some).collect();
        let reports = self.reports.as_ref().map(|reports| {
            let (rewritten, layout, group) = reports.rewrite(&text);
            (text, checks) = (rewritten, wgpu::ShaderRuntimeChecks::checked());
            layouts.resize(reports::GROUP as usize, None);
            layouts.push(Some(layout));
            group
        });
        let source =
            wgpu::ShaderModuleDescriptor { label, source: wgpu::ShaderSource::Wgsl(text.into()) };
        // SAFETY: rewritten shaders are checked. The others are generated by `gpt-codegen` for a
        // plan, or are a measurement of `roofline` or `latency`. Every index is bounded by a
        // literal size of the plan or measurement, or by a number that a session or trainer keeps
        // within its buffers (rows, positions, tokens, slices of matrices). Every loop counts up to
        // such a size, and no divisor is zero.
        let module = unsafe { self.device.create_shader_module_trusted(source, checks) };
        let layout = self.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label,
            bind_group_layouts: &layouts,
            immediate_size: 0,
        });
        let inner = self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label,
            layout: Some(&layout),
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants,
                // Every kernel writes workgroup memory before it reads it.
                zero_initialize_workgroup_memory: false,
            },
            cache: self.cache.as_ref().map(PipelineCache::inner),
        });
        Pipeline {
            inner,
            grid: kernel.grid,
            workgroups_x: kernel.groups,
            tile_rows: kernel.tile_rows,
            reports,
        }
    }
}

#[cfg(test)]
mod tests {
    use gpt_plan::SamplingOp;

    use super::*;
    use crate::gpu::testing;

    #[test]
    fn a_kernel_is_built_once_when_it_is_first_needed() {
        let Some(device) = testing::device() else {
            return;
        };
        let device = Arc::new(device);
        let plan = crate::weights::testing::llama();
        let sampling = SamplingOp::ALL.map(|op| plan.sampling[op as usize]);
        let groups = Groups::Session { texel_bytes: None, strips: None };
        let used = sampling.map(|kernel| (kernel, groups));
        let pipelines = Pipelines::new(device.clone(), &plan.kernels, used);
        let before = device.created();
        // The device counts two objects for each of these kernels: the pipeline and the layout of
        // its only bind group.
        let built = || (device.created() - before) as f64 / 2.0;
        let [first, second, third, ..] = sampling;
        pipelines.prepare([first, second, first]);
        assert_eq!(built(), 2.0);
        pipelines.prepare([second, first]);
        assert_eq!(built(), 2.0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| pipelines.get(third));
            }
        });
        assert_eq!(built(), 3.0);
        pipelines.start(sampling);
        assert_eq!(built(), sampling.len() as f64);
        device.check().unwrap();
    }
}
