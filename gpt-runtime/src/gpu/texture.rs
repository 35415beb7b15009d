//! Matrices as textures: the elements are in the same order as in a buffer, one in each texel, with
//! [`TEXTURE_WIDTH`] texels in a row.
//!
//! A matrix is packed and uploaded a few panels at a time, so that a packed copy of the whole
//! matrix is never in the host's memory. The panels of each upload fill whole rows of texels.

use gpt_plan::{MatrixLayout, TEXTURE_WIDTH};
use wgpu::{
    Extent3d, Origin3d, TexelCopyBufferLayout, TexelCopyTextureInfo, Texture, TextureDescriptor,
    TextureDimension, TextureUsages,
};

use super::device::GpuDevice;
use super::staging::Sender;
use super::texel;
use crate::Error;
use crate::weights::HostTensor;

/// The approximate number of bytes that are uploaded at a time, small enough that a cache still
/// holds them when they are copied.
pub const UPLOAD_BYTES: u64 = 4 << 20;

/// Uploads `tensor` as a texture called `name`, about `upload_bytes` at a time. `packing` is the
/// layout, which has [rows of texels](MatrixLayout::texture_rows), and the halves.
///
/// # Errors
/// Fails if the device is out of memory.
pub fn upload(
    sender: &mut Sender<'_>,
    name: &str,
    tensor: &HostTensor<'_>,
    packing: (&MatrixLayout, u32),
    upload_bytes: u64,
) -> Result<Texture, Error> {
    let layout = packing.0;
    let rows = layout.texture_rows().expect("a layout of a texture");
    let texture = create(sender.device, name, layout.element_bytes, rows)?;
    let row_bytes = TEXTURE_WIDTH * layout.element_bytes;
    let step = panels_of(upload_bytes, layout);
    let mut y = 0;
    for start in (0..layout.panels).step_by(step as usize) {
        let panels = start..(start + step).min(layout.panels);
        y += sender.send(tensor, packing, panels, |device, packed| {
            packed.resize(packed.len().next_multiple_of(row_bytes as usize), 0);
            let height = packed.len() as u32 / row_bytes;
            device.queue.write_texture(
                TexelCopyTextureInfo {
                    origin: Origin3d { x: 0, y, z: 0 },
                    ..texture.as_image_copy()
                },
                packed,
                TexelCopyBufferLayout {
                    offset: 0,
                    bytes_per_row: Some(row_bytes),
                    rows_per_image: None,
                },
                Extent3d { width: TEXTURE_WIDTH, height, depth_or_array_layers: 1 },
            );
            Ok(height)
        })?;
    }
    Ok(texture)
}

/// Creates a texture of `rows` rows of texels, all zero.
///
/// # Errors
/// Fails if the device is out of memory.
pub fn create(
    device: &GpuDevice,
    name: &str,
    element_bytes: u32,
    rows: u32,
) -> Result<Texture, Error> {
    device.count();
    let create = || {
        device.device.create_texture(&TextureDescriptor {
            label: Some(name),
            size: Extent3d { width: TEXTURE_WIDTH, height: rows, depth_or_array_layers: 1 },
            mip_level_count: 1,
            sample_count: 1,
            dimension: TextureDimension::D2,
            format: texel::format(element_bytes),
            usage: match cfg!(test) {
                true => texel::USAGE | TextureUsages::COPY_SRC,
                false => texel::USAGE,
            },
            view_formats: &[],
        })
    };
    let texture = device.within_memory(create).ok_or_else(|| {
        let bytes = u64::from(TEXTURE_WIDTH * element_bytes) * u64::from(rows);
        device.cannot_hold(name, bytes, "it is out of memory")
    })?;
    device.check()?;
    Ok(texture)
}

/// The number of panels of about `bytes` bytes that fill whole rows of texels.
fn panels_of(bytes: u64, layout: &MatrixLayout) -> u32 {
    let least = TEXTURE_WIDTH / gcd(layout.panel_length, TEXTURE_WIDTH);
    let times = bytes / (u64::from(least) * layout.panel_bytes()).max(1);
    least * times.max(1) as u32
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use gpt_plan::Format;
    use wgpu::BufferUsages;

    use crate::gpu::pack::Packer;
    use crate::gpu::testing;

    use super::*;

    /// Elements have the same order in a texture as in a buffer, however few are uploaded at a
    /// time.
    #[test]
    fn chunks_make_a_whole() {
        let Some(device) = testing::device() else {
            return;
        };
        // 2,560 panels of 40 elements; 1,024 of them fill five rows of texels.
        let (rows, columns) = (20_470, 20);
        let data: Vec<u8> = (0..rows * columns).flat_map(|i| (i as f32).to_le_bytes()).collect();
        let tensor = HostTensor { format: Format::F32, rows, columns, data: Cow::Borrowed(&data) };
        let layout = MatrixLayout::new(Format::F32, rows as u64, columns as u64).unwrap();
        assert_eq!((layout.panels, layout.panel_length), (2_560, 40));
        let height = layout.texture_rows().unwrap();
        let bytes = u64::from(height) * 16 * u64::from(TEXTURE_WIDTH);
        let texture = upload(&mut Sender::new(&device), "some", &tensor, (&layout, 1), 1).unwrap();
        let usage = BufferUsages::COPY_DST | BufferUsages::MAP_READ;
        let copy = device.buffer("a copy", bytes, usage).unwrap();
        let mut encoder = device.encoder();
        encoder.copy_texture_to_buffer(
            texture.as_image_copy(),
            wgpu::TexelCopyBufferInfo {
                buffer: &copy,
                layout: TexelCopyBufferLayout {
                    offset: 0,
                    bytes_per_row: Some(16 * TEXTURE_WIDTH),
                    rows_per_image: None,
                },
            },
            texture.size(),
        );
        device.submit(encoder);
        let mut found = Vec::new();
        let read = |bytes: &[u8]| found.extend_from_slice(bytes);
        device.read(&copy, bytes, read).unwrap();
        let mut packer = Packer::new();
        let mut expected = packer.pack(&tensor, &layout, 1, 0..layout.panels).clone();
        expected.resize(bytes as usize, 0);
        assert!(found == expected);
    }
}
