//! Every kernel as MSL and HLSL, within the limits of Metal and DX12. `.ci/translate` runs it.
//!
//! The limits are those of the oldest hardware that wgpu supports: Metal's feature set tables
//! (Apple family 3), and DX12 at feature level 11_0 with resource binding tier 1, where a compute
//! shader has 8 unordered access views.

use gpt_plan::Kernel;
use gpt_specs::{Cover, covering, odd};
use gpt_translated::{ENTRY, Parsed, UNCHECKED, built_in, kernels, on_all_cores, with_every_file};
use naga::back::{hlsl, msl};
use naga::{AddressSpace, Module, ResourceBinding, StorageAccess, TypeInner};

const METAL_THREADGROUP_MEMORY: u32 = 32 << 10;
const METAL_BUFFERS: usize = 31;
const METAL_TEXTURES: usize = 31;
const METAL_THREADGROUP_ARGUMENTS: usize = 31;
const METAL_THREADS: u32 = 512;

const DX12_GROUP_MEMORY: u32 = 32 << 10;
const DX12_UAVS: usize = 8;
const DX12_SRVS: usize = 128;
const DX12_CBVS: usize = 14;
const DX12_THREADS: u32 = 1024;

#[test]
fn every_file_on_metal() {
    on_all_cores(&few(), on_metal);
}

#[test]
fn every_file_on_dx12() {
    on_all_cores(&few(), on_dx12);
}

#[test]
#[ignore = "thousands of kernels"]
fn every_kernel_on_metal() {
    on_all_cores(&all(), on_metal);
}

#[test]
#[ignore = "thousands of kernels"]
fn every_kernel_on_dx12() {
    on_all_cores(&all(), on_dx12);
}

/// A few kernels that have every file.
fn few() -> Vec<Kernel> {
    let inference = covering(Cover::Files, |plan| &plan.kernels);
    let training = covering(Cover::Files, |plan| &plan.training.kernels);
    with_every_file(kernels(inference.into_iter().chain(training)))
}

fn all() -> Vec<Kernel> {
    let odd = odd().into_iter().map(|(name, spec)| (name.to_owned(), spec));
    kernels(built_in().into_iter().chain(odd))
}

/// The kind of a binding, as an API counts them.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Uniform,
    Read,
    Write,
    Texture,
}

fn bindings(module: &Module) -> Vec<(ResourceBinding, Kind)> {
    let variables = module.global_variables.iter();
    let bound = variables.filter_map(|(_, variable)| {
        let kind = match variable.space {
            AddressSpace::Uniform => Kind::Uniform,
            AddressSpace::Storage { access } if access.contains(StorageAccess::STORE) => {
                Kind::Write
            }
            AddressSpace::Storage { .. } => Kind::Read,
            _ => {
                let is_image = matches!(module.types[variable.ty].inner, TypeInner::Image { .. });
                assert!(is_image || variable.binding.is_none(), "a binding of another kind");
                Kind::Texture
            }
        };
        Some((variable.binding?, kind))
    });
    bound.collect()
}

fn workgroup_memory(module: &Module) -> u32 {
    let variables = module.global_variables.iter();
    let shared = variables.filter(|(_, variable)| variable.space == AddressSpace::WorkGroup);
    shared.map(|(_, v)| module.types[v.ty].inner.size(module.to_ctx()).next_multiple_of(16)).sum()
}

fn shared_variables(module: &Module) -> usize {
    let variables = module.global_variables.iter();
    variables.filter(|(_, variable)| variable.space == AddressSpace::WorkGroup).count()
}

fn threads(module: &Module) -> u32 {
    module.entry_points.iter().map(|entry| entry.workgroup_size.iter().product()).max().unwrap_or(0)
}

fn within(limits: &[(&str, usize, usize)]) -> Result<(), String> {
    match limits.iter().find(|(_, found, limit)| found > limit) {
        Some((what, found, limit)) => Err(format!("{found} {what}, more than {limit}")),
        None => Ok(()),
    }
}

fn count(text: &str, attribute: &str) -> usize {
    text.matches(&format!("[[{attribute}(")).count()
}

fn on_metal(kernel: &Parsed) -> Result<(), String> {
    if kernel.is_cooperative() {
        return must_fail(write_msl(kernel).err());
    }
    let text = write_msl(kernel)?;
    within(&[
        ("buffers", count(&text, "buffer"), METAL_BUFFERS),
        ("textures", count(&text, "texture"), METAL_TEXTURES),
        ("threadgroup arguments", shared_variables(&kernel.module), METAL_THREADGROUP_ARGUMENTS),
        (
            "bytes of threadgroup memory",
            workgroup_memory(&kernel.module) as usize,
            METAL_THREADGROUP_MEMORY as usize,
        ),
        ("threads", threads(&kernel.module) as usize, METAL_THREADS as usize),
    ])?;
    // naga leaves out bindings that the entry point does not use, and passes the lengths of unsized
    // arrays in an additional buffer.
    let bound = bindings(&kernel.module).len();
    let arguments = count(&text, "buffer") + count(&text, "texture");
    match (1..=bound + 1).contains(&arguments) {
        true => Ok(()),
        false => Err(format!("{bound} bindings, but {arguments} arguments")),
    }
}

/// Writes MSL as wgpu's Metal backend does: buffers and textures are numbered in the order of their
/// bindings.
fn write_msl(kernel: &Parsed) -> Result<String, String> {
    let mut bound = bindings(&kernel.module);
    bound.sort_by_key(|(binding, _)| (binding.group, binding.binding));
    let (mut buffers, mut textures) = (0, 0);
    let mut resources = msl::EntryPointResources::default();
    for (binding, kind) in bound {
        let mut target = msl::BindTarget { mutable: kind == Kind::Write, ..Default::default() };
        let (slot, used) = match kind {
            Kind::Texture => (&mut target.texture, &mut textures),
            _ => (&mut target.buffer, &mut buffers),
        };
        *slot = Some(*used);
        *used += 1;
        resources.resources.insert(binding, target);
    }
    resources.sizes_buffer = Some(buffers);
    let options = msl::Options {
        // The oldest version that has what kernels use: macOS 10.15 and iOS 13.
        lang_version: (2, 2),
        per_entry_point_map: [(ENTRY.1.to_owned(), resources)].into(),
        fake_missing_bindings: false,
        bounds_check_policies: UNCHECKED,
        zero_initialize_workgroup_memory: false,
        force_loop_bounding: false,
        emit_int_div_checks: false,
        ..msl::Options::default()
    };
    let entry = msl::PipelineOptions {
        entry_point: Some((ENTRY.0, ENTRY.1.to_owned())),
        ..msl::PipelineOptions::default()
    };
    let written = msl::write_string(&kernel.module, &kernel.info, &options, &entry);
    let (text, info) = written.map_err(|error| error.to_string())?;
    for name in info.entry_point_names {
        name.map_err(|error| error.to_string())?;
    }
    Ok(text)
}

/// Only Vulkan has cooperative matrices of 16 x 16. If naga writes them for another API, they need
/// a test there.
fn must_fail(error: Option<String>) -> Result<(), String> {
    match error {
        Some(_) => Ok(()),
        None => Err("cooperative matrices are translated now: test them".to_owned()),
    }
}

fn on_dx12(kernel: &Parsed) -> Result<(), String> {
    if kernel.is_cooperative() {
        return must_fail(write_hlsl(kernel).err());
    }
    let text = write_hlsl(kernel)?;
    let bound = bindings(&kernel.module);
    let of = |kinds: &[Kind]| bound.iter().filter(|(_, kind)| kinds.contains(kind)).count();
    within(&[
        ("unordered access views", of(&[Kind::Write]), DX12_UAVS),
        ("shader resource views", of(&[Kind::Read, Kind::Texture]), DX12_SRVS),
        ("constant buffers", of(&[Kind::Uniform]), DX12_CBVS),
        (
            "bytes of group memory",
            workgroup_memory(&kernel.module) as usize,
            DX12_GROUP_MEMORY as usize,
        ),
        ("threads", threads(&kernel.module) as usize, DX12_THREADS as usize),
    ])?;
    // A register for each binding: `register(u0, space1)`.
    let registers = text.matches(": register(").count();
    match registers == bound.len() {
        true => Ok(()),
        false => Err(format!("{} bindings, but {registers} registers", bound.len())),
    }
}

/// Writes HLSL: plain kernels in the shader model of FXC, which every Windows has, and kernels with
/// subgroups or f16 in that of DXC.
fn write_hlsl(kernel: &Parsed) -> Result<String, String> {
    let has = |feature| kernel.name.contains(feature);
    let shader_model = match (has("f16_arithmetic"), has("subgroups") || has("broadcasts")) {
        (true, _) => hlsl::ShaderModel::V6_2,
        (false, true) => hlsl::ShaderModel::V6_0,
        (false, false) => hlsl::ShaderModel::V5_1,
    };
    let options = hlsl::Options {
        shader_model,
        zero_initialize_workgroup_memory: false,
        restrict_indexing: false,
        force_loop_bounding: false,
        ..hlsl::Options::default()
    };
    let entry = hlsl::PipelineOptions { entry_point: Some((ENTRY.0, ENTRY.1.to_owned())) };
    let mut text = String::new();
    let mut writer = hlsl::Writer::new(&mut text, &options, &entry);
    let written = writer.write(&kernel.module, &kernel.info, None);
    for name in written.map_err(|error| error.to_string())?.entry_point_names {
        name.map_err(|error| error.to_string())?;
    }
    Ok(text)
}
