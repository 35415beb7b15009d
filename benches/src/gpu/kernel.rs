//! A kernel with everything that it binds.
//!
//! Bindings are read off the shader, because the dynamic form has one more. All buffers of
//! activations have the size of the largest. Several matrices are used in rotation, as a model's
//! layers are: a single one would stay in a cache.

use gpt_runtime::__private::plan::Kernel;
use wgpu::naga::valid::{Capabilities, ValidationFlags, Validator};
use wgpu::naga::{self, AddressSpace, StorageAccess, TypeInner};
use wgpu::util::{BufferInitDescriptor, DeviceExt};
use wgpu::{
    BindGroup, BindGroupDescriptor, BindGroupEntry, Buffer, BufferUsages, ComputePass,
    ComputePipeline, ComputePipelineDescriptor, PipelineCompilationOptions, ShaderModuleDescriptor,
    ShaderRuntimeChecks, ShaderSource,
};

use super::Gpu;
use super::dynamic;
use crate::weights::plain;

/// Bytes of all matrices in the rotation: more than a cache holds.
const ROTATION: u64 = 192 << 20;
/// The largest number of matrices in the rotation.
const MOST: u64 = 12;

/// Sizes of a kernel's inputs.
#[derive(Clone)]
pub struct Sizes {
    /// Uniforms by name.
    pub uniforms: Vec<(&'static str, Vec<u32>)>,
    /// Bytes of each part of the matrix: `weight_0`, ..., or a training kernel's `weight_matrix`.
    pub parts: Vec<u64>,
    /// Bytes of every other buffer.
    pub bytes: u64,
    /// Tokens and targets are smaller than this.
    pub vocab: u32,
    pub groups: [u32; 3],
}

/// A bound variable.
struct Variable {
    name: String,
    group: u32,
    binding: u32,
    space: AddressSpace,
    /// Whether its elements are `u32`.
    of_integers: bool,
}

/// A pipeline and its inputs.
pub struct Bound {
    pipeline: ComputePipeline,
    /// Bind groups by matrix of the rotation, then by group.
    rotation: Vec<Vec<(u32, BindGroup)>>,
    /// The buffers that the kernel writes, with their names.
    pub outputs: Vec<(String, Buffer)>,
    groups: [u32; 3],
}

impl Bound {
    /// The kernel as the runtime runs it.
    pub fn specialised(gpu: &Gpu, kernel: &Kernel, sizes: &Sizes) -> Bound {
        Bound::new(gpu, &kernel.name, gpt_runtime::__private::shaders::link(kernel), sizes)
    }

    /// The dynamic form of the kernel.
    pub fn dynamic(gpu: &Gpu, kernel: &Kernel, sizes: &Sizes) -> Bound {
        let form = dynamic::dynamic(kernel).unwrap_or_else(|error| panic!("{error}"));
        let mut sizes = sizes.clone();
        sizes.uniforms.push(("sizes", form.sizes));
        Bound::new(gpu, &kernel.name, form.wgsl, &sizes)
    }

    fn new(gpu: &Gpu, name: &str, wgsl: String, sizes: &Sizes) -> Bound {
        let variables = variables(name, &wgsl);
        let source =
            ShaderModuleDescriptor { label: Some(name), source: ShaderSource::Wgsl(wgsl.into()) };
        // SAFETY: the shader belongs to a validated plan, or is such a shader with its sizes in a
        // uniform, and the buffers have the sizes that the shader accesses.
        let module = unsafe {
            gpu.device.create_shader_module_trusted(source, ShaderRuntimeChecks::unchecked())
        };
        let pipeline = gpu.device.create_compute_pipeline(&ComputePipelineDescriptor {
            label: Some(name),
            layout: None,
            module: &module,
            entry_point: Some("main"),
            compilation_options: PipelineCompilationOptions {
                constants: &[],
                zero_initialize_workgroup_memory: false,
            },
            cache: None,
        });
        let matrix: u64 = sizes.parts.iter().sum();
        let count = match matrix {
            0 => 1,
            bytes => (ROTATION / bytes).clamp(1, MOST),
        };
        let mut outputs = Vec::new();
        // Activations are shared by the whole rotation.
        let shared: Vec<Option<Buffer>> = variables
            .iter()
            .map(|variable| {
                let shared = part_of(&variable.name).is_none();
                let buffer = shared.then(|| buffer(gpu, variable, sizes))?;
                let written = StorageAccess::STORE;
                if matches!(variable.space, AddressSpace::Storage { access } if access.contains(written))
                {
                    outputs.push((variable.name.clone(), buffer.clone()));
                }
                Some(buffer)
            })
            .collect();
        let groups: Vec<u32> = (0..4).filter(|g| variables.iter().any(|v| v.group == *g)).collect();
        let rotation = (0..count).map(|_| {
            let own: Vec<Buffer> = variables
                .iter()
                .zip(&shared)
                .map(|(v, shared)| shared.clone().unwrap_or_else(|| buffer(gpu, v, sizes)))
                .collect();
            let bind = |group: u32| {
                let entries: Vec<_> = variables
                    .iter()
                    .zip(&own)
                    .filter(|(v, _)| v.group == group)
                    .map(|(v, buffer)| BindGroupEntry {
                        binding: v.binding,
                        resource: buffer.as_entire_binding(),
                    })
                    .collect();
                gpu.device.create_bind_group(&BindGroupDescriptor {
                    label: Some(name),
                    layout: &pipeline.get_bind_group_layout(group),
                    entries: &entries,
                })
            };
            groups.iter().map(|&group| (group, bind(group))).collect()
        });
        Bound {
            rotation: rotation.collect(),
            pipeline: pipeline.clone(),
            outputs,
            groups: sizes.groups,
        }
    }

    /// Records `n` dispatches that wait for each other, as in a model.
    pub fn record(&self, pass: &mut ComputePass<'_>, n: u64) {
        pass.set_pipeline(&self.pipeline);
        for groups in self.rotation.iter().cycle().take(n as usize) {
            for (group, bound) in groups {
                pass.set_bind_group(*group, bound, &[]);
            }
            let [x, y, z] = self.groups;
            pass.dispatch_workgroups(x, y, z);
        }
    }
}

/// The index of the part of the matrix that the variable `name` holds, if it holds one.
fn part_of(name: &str) -> Option<usize> {
    match name {
        "weight_matrix" | "second_weight_matrix" => Some(0),
        _ => name.strip_prefix("weight_")?.parse().ok(),
    }
}

/// The variables that the entry point of a shader uses.
fn variables(name: &str, wgsl: &str) -> Vec<Variable> {
    let module = naga::front::wgsl::parse_str(wgsl)
        .unwrap_or_else(|error| panic!("{name}: {}", error.emit_to_string(wgsl)));
    let info = Validator::new(ValidationFlags::all(), Capabilities::all())
        .validate(&module)
        .unwrap_or_else(|error| panic!("{name}: {}", error.emit_to_string(wgsl)));
    let used = info.get_entry_point(0);
    let bound = module.global_variables.iter().filter_map(|(handle, variable)| {
        let at = variable.binding.as_ref()?;
        let of_integers = match module.types[variable.ty].inner {
            TypeInner::Array { base, .. } => {
                matches!(module.types[base].inner, TypeInner::Scalar(naga::Scalar::U32))
            }
            _ => false,
        };
        (!used[handle].is_empty()).then(|| Variable {
            name: variable.name.clone().unwrap_or_default(),
            group: at.group,
            binding: at.binding,
            space: variable.space,
            of_integers,
        })
    });
    bound.collect()
}

/// A buffer for `variable` with pseudorandom content.
fn buffer(gpu: &Gpu, variable: &Variable, sizes: &Sizes) -> Buffer {
    let name = &*variable.name;
    let (content, usage): (Vec<u32>, _) = match variable.space {
        AddressSpace::Uniform => {
            let found = sizes.uniforms.iter().find(|(of, _)| *of == name);
            let (_, words) = found.unwrap_or_else(|| panic!("the uniform {name} has no value"));
            let mut words = words.clone();
            words.resize(words.len().next_multiple_of(4), 0);
            (words, BufferUsages::UNIFORM)
        }
        _ => {
            let bytes = match part_of(name) {
                Some(part) => sizes.parts[part],
                None => sizes.bytes,
            };
            let matrix = part_of(name).is_some();
            let words = (0..bytes.div_ceil(4)).map(|i| {
                let word = plain((i as u32).wrapping_add(variable.binding << 28));
                match name {
                    _ if variable.of_integers && !matrix => word % sizes.vocab,
                    // Averages of squares are positive.
                    "second_moments" => word & 0x7fff_ffff,
                    _ => word,
                }
            });
            (words.collect(), BufferUsages::STORAGE | BufferUsages::COPY_SRC)
        }
    };
    gpu.device.create_buffer_init(&BufferInitDescriptor {
        label: Some(name),
        contents: bytemuck::cast_slice(&content),
        usage,
    })
}
