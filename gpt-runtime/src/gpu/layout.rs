//! Which buffer stands at which binding: group 0 belongs to a session, group 1 to the weights. The files under `shaders/` declare the same.

use gpt_plan::{BufferId, ChoiceOp, Epilogue, Op};
use wgpu::{
    BindGroupLayout, BindGroupLayoutEntry, BindingType, BufferBindingType, ShaderStages,
    StorageTextureAccess, TextureViewDimension,
};

use super::device::GpuDevice;
use super::texture;

/// What a session binds for a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// Position and rows, for all steps but the head, and for the head.
    Run,
    HeadRun,
    /// How tokens are chosen.
    Sampling,
    Tokens,
    /// The residual stream as the step finds it, and where it goes. Two buffers take turns.
    StreamIn,
    StreamOut,
    Buffer(BufferId),
}

/// What stands at a binding, and whether it is written.
pub type SlotEntry = (u32, Slot, bool);

/// Group 0 of a step.
pub fn session_slots(op: &Op) -> &'static [SlotEntry] {
    use BufferId::{A, H, K, Logits, Q, V};
    use Slot::{Buffer, HeadRun, Run, StreamIn, StreamOut, Tokens};
    let projection = match op {
        Op::Embed { .. } => {
            return &[(0, Run, false), (2, StreamOut, true), (3, Tokens, false)];
        }
        Op::Attention { .. } => {
            return &[
                (0, Run, false),
                (1, Buffer(Q), false),
                (2, Buffer(A), true),
                (3, Buffer(K), false),
                (4, Buffer(V), false),
            ];
        }
        Op::Project(projection) => projection,
        _ => unreachable!("no step of a forward pass"),
    };
    match projection.epilogue {
        Epilogue::Heads { .. } => &[
            (0, Run, false),
            (1, StreamIn, false),
            (2, Buffer(Q), true),
            (3, Buffer(K), true),
            (4, Buffer(V), true),
        ],
        Epilogue::Residual { .. } if projection.input.buffer == A => &[
            (0, Run, false),
            (1, StreamIn, false),
            (2, StreamOut, true),
            (3, Buffer(A), false),
        ],
        Epilogue::Residual { .. } => &[
            (0, Run, false),
            (1, StreamIn, false),
            (2, StreamOut, true),
            (3, Buffer(H), false),
        ],
        Epilogue::Activation { .. } => {
            &[(0, Run, false), (1, StreamIn, false), (2, Buffer(H), true)]
        }
        Epilogue::Store { .. } => &[
            (0, HeadRun, false),
            (1, StreamIn, false),
            (2, Buffer(Logits), true),
        ],
    }
}

/// Attention over a part of the keys, in the place of the step's own.
pub const ATTENTION_PART: &[SlotEntry] = &[
    (0, Slot::Run, false),
    (1, Slot::Buffer(BufferId::Q), false),
    (2, Slot::Buffer(BufferId::SplitSums), true),
    (3, Slot::Buffer(BufferId::K), false),
    (4, Slot::Buffer(BufferId::V), false),
];

/// What follows it.
pub const ATTENTION_JOIN: &[SlotEntry] = &[
    (0, Slot::Run, false),
    (1, Slot::Buffer(BufferId::SplitSums), false),
    (2, Slot::Buffer(BufferId::A), true),
];

/// Group 0 of a step that chooses a token. The last one makes the numbers of the next pass.
pub fn choice_slots(op: ChoiceOp) -> &'static [SlotEntry] {
    use BufferId::{Candidates, Histogram, Logits, Sampled, TileMaxima};
    use Slot::{Buffer, HeadRun, Run, Sampling, Tokens};
    match op {
        ChoiceOp::Greatest => &[
            (0, Run, false),
            (1, Sampling, false),
            (2, Buffer(Logits), false),
            (3, Buffer(TileMaxima), true),
            (4, Buffer(Histogram), true),
        ],
        ChoiceOp::Take => &[
            (0, Run, true),
            (1, Sampling, false),
            (3, Buffer(TileMaxima), false),
            (6, Tokens, true),
            (7, Buffer(Sampled), true),
            (8, HeadRun, true),
        ],
        ChoiceOp::Count => &[
            (0, Run, false),
            (1, Sampling, false),
            (2, Buffer(Logits), false),
            (3, Buffer(TileMaxima), false),
            (4, Buffer(Histogram), true),
        ],
        ChoiceOp::Collect => &[
            (0, Run, false),
            (1, Sampling, false),
            (2, Buffer(Logits), false),
            (3, Buffer(TileMaxima), false),
            (4, Buffer(Histogram), true),
            (5, Buffer(Candidates), true),
        ],
        ChoiceOp::Draw => &[
            (0, Run, true),
            (1, Sampling, false),
            (4, Buffer(Histogram), false),
            (5, Buffer(Candidates), false),
            (6, Tokens, true),
            (7, Buffer(Sampled), true),
            (8, HeadRun, true),
        ],
    }
}

/// The binding of the vectors, of the first part of the matrix, and of the table.
pub const VECTORS: u32 = 0;
pub const FIRST_PART: u32 = 1;
pub const TABLE: u32 = 6;

/// How a matrix is bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MatrixSlots {
    /// In so many buffers.
    Parts(u32),
    /// In one texture, whose elements have so many bytes.
    Texture(u32),
}

/// Group 1 of a step: how its matrix is bound, and whether it reads vectors and a table (positions or angles).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WeightSlots {
    pub vectors: bool,
    pub matrix: MatrixSlots,
    pub table: bool,
}

/// Group 0's layout.
pub fn session_layout(device: &GpuDevice, slots: &[SlotEntry]) -> BindGroupLayout {
    let entries: Vec<_> = slots
        .iter()
        .map(|&(binding, slot, written)| {
            let ty = match (slot, written) {
                (Slot::Run | Slot::HeadRun | Slot::Sampling, false) => BufferBindingType::Uniform,
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
    let buffer = |binding| entry(binding, BufferBindingType::Storage { read_only: true });
    let mut entries = Vec::new();
    entries.extend(slots.vectors.then(|| buffer(VECTORS)));
    match slots.matrix {
        MatrixSlots::Parts(parts) => {
            entries.extend((FIRST_PART..).take(parts as usize).map(buffer))
        }
        MatrixSlots::Texture(element_bytes) => {
            entries.push(texture_entry(FIRST_PART, element_bytes));
        }
    }
    entries.extend(slots.table.then(|| buffer(TABLE)));
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

/// A texture at `binding` that is read, whose elements have so many bytes.
pub fn texture_entry(binding: u32, element_bytes: u32) -> BindGroupLayoutEntry {
    BindGroupLayoutEntry {
        ty: BindingType::StorageTexture {
            access: StorageTextureAccess::ReadOnly,
            format: texture::format(element_bytes),
            view_dimension: TextureViewDimension::D2,
        },
        ..entry(binding, BufferBindingType::Storage { read_only: true })
    }
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
