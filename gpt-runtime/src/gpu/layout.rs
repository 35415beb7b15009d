//! Bind group layouts, made from the bindings that a kernel's WGSL declares.

use gpt_plan::{Access, Binding};
use wgpu::{
    BindGroupLayout, BindGroupLayoutEntry, BindingType, BufferBindingType, ShaderStages,
    StorageTextureAccess, TextureViewDimension,
};

use super::device::GpuDevice;
use super::texel;

/// The layout of `bindings`, which belong to one group. A matrix that is a texture has elements
/// of `texel_bytes` bytes.
pub fn group<'a>(
    device: &GpuDevice,
    bindings: impl IntoIterator<Item = &'a Binding>,
    texel_bytes: u32,
) -> BindGroupLayout {
    let bindings = bindings.into_iter();
    let entries = bindings.map(|b| entry(b.binding, b.access, texel_bytes));
    create(device, &entries.collect::<Vec<_>>())
}

/// The layout of group 0 of all training kernels: the uniforms of the pass and of the dispatch,
/// each bound at a dynamic offset.
pub fn training_uniforms(device: &GpuDevice) -> BindGroupLayout {
    let entries = [0, 1].map(|binding| BindGroupLayoutEntry {
        ty: buffer(BufferBindingType::Uniform, true),
        ..entry(binding, Access::Uniform, 0)
    });
    create(device, &entries)
}

/// The entry of one binding.
pub fn entry(binding: u32, access: Access, texel_bytes: u32) -> BindGroupLayoutEntry {
    let storage = |read_only| buffer(BufferBindingType::Storage { read_only }, false);
    BindGroupLayoutEntry {
        binding,
        visibility: ShaderStages::COMPUTE,
        ty: match access {
            Access::Uniform => buffer(BufferBindingType::Uniform, false),
            Access::Read => storage(true),
            Access::ReadWrite => storage(false),
            Access::Texture => BindingType::StorageTexture {
                access: StorageTextureAccess::ReadOnly,
                format: texel::format(texel_bytes),
                view_dimension: TextureViewDimension::D2,
            },
        },
        count: None,
    }
}

/// A layout of `entries`.
pub fn create(device: &GpuDevice, entries: &[BindGroupLayoutEntry]) -> BindGroupLayout {
    device.count();
    device
        .device
        .create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: None, entries })
}

fn buffer(ty: BufferBindingType, has_dynamic_offset: bool) -> BindingType {
    BindingType::Buffer { ty, has_dynamic_offset, min_binding_size: None }
}
