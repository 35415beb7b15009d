//! Which buffer stands at which binding: group 0 belongs to a session, group 1 to the weights. The files under `shaders/` declare the same.

use gpt_plan::{BufferId, Op};
use wgpu::{BindGroupLayout, BindGroupLayoutEntry, BindingType, BufferBindingType, ShaderStages};

use super::device::GpuDevice;

/// What a session binds for a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// Position and rows; the head has its own.
    Run,
    Tokens,
    /// The residual stream as the step finds it, and where it goes. Two buffers take turns.
    StreamIn,
    StreamOut,
    Buffer(BufferId),
}

/// Group 0 of a step: binding, what is there, whether the step writes it.
pub fn session_slots(op: &Op) -> &'static [(u32, Slot, bool)] {
    use BufferId::{A, H, K, Logits, Q, V};
    use Slot::{Buffer, Run, StreamIn, StreamOut, Tokens};
    match op {
        Op::Embed { .. } => &[(0, Run, false), (2, StreamOut, true), (3, Tokens, false)],
        Op::Qkv { .. } => &[
            (0, Run, false),
            (1, StreamIn, false),
            (2, Buffer(Q), true),
            (3, Buffer(K), true),
            (4, Buffer(V), true),
        ],
        Op::Attention => &[
            (0, Run, false),
            (1, Buffer(Q), false),
            (2, Buffer(A), true),
            (3, Buffer(K), false),
            (4, Buffer(V), false),
        ],
        Op::AttentionOut { .. } => &[
            (0, Run, false),
            (1, StreamIn, false),
            (2, StreamOut, true),
            (3, Buffer(A), false),
        ],
        Op::MlpUp { .. } => &[(0, Run, false), (1, StreamIn, false), (2, Buffer(H), true)],
        Op::MlpDown { .. } => &[
            (0, Run, false),
            (1, StreamIn, false),
            (2, StreamOut, true),
            (3, Buffer(H), false),
        ],
        Op::Head { .. } => &[
            (0, Run, false),
            (1, StreamIn, false),
            (2, Buffer(Logits), true),
        ],
    }
}

/// The binding of the vectors, of the first part of the matrix, and of the table.
pub const VECTORS: u32 = 0;
pub const FIRST_PART: u32 = 1;
pub const TABLE: u32 = 6;

/// Group 1 of a step: how many parts its matrix has, and whether it reads vectors and a table (positions or angles).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WeightSlots {
    pub vectors: bool,
    pub parts: u32,
    pub table: bool,
}

/// Group 0's layout.
pub fn session_layout(device: &GpuDevice, op: &Op) -> BindGroupLayout {
    let entries: Vec<_> = session_slots(op)
        .iter()
        .map(|&(binding, slot, written)| {
            let ty = match (slot, written) {
                (Slot::Run, _) => BufferBindingType::Uniform,
                (_, written) => BufferBindingType::Storage {
                    read_only: !written,
                },
            };
            entry(binding, ty)
        })
        .collect();
    layout(device, &entries)
}

/// Group 1's layout.
pub fn weight_layout(device: &GpuDevice, slots: WeightSlots) -> BindGroupLayout {
    let parts = FIRST_PART..FIRST_PART + slots.parts;
    let bindings = slots.vectors.then_some(VECTORS).into_iter();
    let bindings = bindings.chain(parts).chain(slots.table.then_some(TABLE));
    let entries: Vec<_> = bindings
        .map(|binding| entry(binding, BufferBindingType::Storage { read_only: true }))
        .collect();
    layout(device, &entries)
}

/// A layout of `entries`.
pub fn layout(device: &GpuDevice, entries: &[BindGroupLayoutEntry]) -> BindGroupLayout {
    device.count();
    device
        .device
        .create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: None,
            entries,
        })
}

/// A buffer at `binding`.
pub fn entry(binding: u32, ty: BufferBindingType) -> BindGroupLayoutEntry {
    BindGroupLayoutEntry {
        binding,
        visibility: ShaderStages::COMPUTE,
        ty: BindingType::Buffer {
            ty,
            has_dynamic_offset: false,
            min_binding_size: None,
        },
        count: None,
    }
}
