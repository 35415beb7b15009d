//! Kernels: WGSL written for one model, and the formats of the matrices they read.

use crate::{Binding, Extent, Grid, List, Str};

/// How a matrix is stored, in a file (after conversion) and in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Format {
    F32,
    /// IEEE half precision.
    F16,
    /// The upper half of an f32.
    Bf16,
    /// Blocks of 32 along a row: an f16 scale `d` and 32 signed bytes, `w = d q` (GGUF's Q8_0).
    Q8,
    /// Blocks of 32 along a row: f16 `d` and `m`, and 32 nibbles, `w = d q + m` (GGUF's Q4_1; Q4_0 is the case `m = -8 d`).
    Q4,
}

impl Format {
    /// All formats, in the order of [`KernelChoice::ByFormat`](crate::KernelChoice::ByFormat).
    pub const ALL: [Format; 5] = [
        Format::F32,
        Format::F16,
        Format::Bf16,
        Format::Q8,
        Format::Q4,
    ];

    /// The name used on the command line and in kernel names.
    pub const fn name(self) -> &'static str {
        match self {
            Format::F32 => "f32",
            Format::F16 => "f16",
            Format::Bf16 => "bf16",
            Format::Q8 => "q8",
            Format::Q4 => "q4",
        }
    }

    /// Elements of a row that share one block; a row is padded to whole blocks.
    pub const fn block(self) -> usize {
        match self {
            Format::F32 | Format::F16 | Format::Bf16 => 1,
            Format::Q8 | Format::Q4 => 32,
        }
    }

    /// Bytes of one block as the host keeps it.
    pub const fn block_bytes(self) -> usize {
        match self {
            Format::F32 => 4,
            Format::F16 | Format::Bf16 => 2,
            Format::Q8 => 34,
            Format::Q4 => 20,
        }
    }

    /// Bytes of a row of `columns` elements as the host keeps it.
    pub const fn row_bytes(self, columns: usize) -> usize {
        columns.div_ceil(self.block()) * self.block_bytes()
    }
}

/// The two ways a forward pass is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// One token.
    Decode,
    /// Many tokens at once.
    Prefill,
}

/// One compute shader, written for this model: the plain one, for every adapter; see [`Kernel::variant`] for others.
#[derive(Clone, Debug, PartialEq)]
pub struct Kernel {
    /// Unique in the plan: `qkv_decode_f32`.
    pub name: Str,
    /// What the compiler wrote: sizes, aliases, the activation. It replaces the example parameters of every part.
    pub header: Str,
    /// The files of `gpt-shaders` that follow it.
    pub parts: List<&'static gpt_shaders::Source>,
    /// Invocations of a workgroup, for `gpt inspect`; the WGSL holds the same literals.
    pub workgroup: u32,
    /// Rows (tokens) that one workgroup handles.
    pub tile_rows: u32,
    /// Workgroups along x: the tiles of output features, or heads.
    pub groups: u32,
    /// Strips of the matrix that they share, where a file says how many each has ([`Kernel::strips_file`]); 0 else.
    pub strips: u32,
    /// How workgroups cover the work of a dispatch.
    pub grid: Grid,
    /// The bindings that its files declare, by group and binding.
    pub bindings: List<Binding>,
}

impl Kernel {
    /// Workgroups along x, y and z of a dispatch.
    pub fn workgroups(&self, extent: &Extent) -> [u32; 3] {
        self.grid.workgroups(self.groups, self.tile_rows, extent)
    }

    /// The bindings of `group`.
    pub fn group(&self, group: u32) -> impl Iterator<Item = &Binding> {
        self.bindings.iter().filter(move |b| b.group == group)
    }

    /// The whole shader: the header, then each file under its name.
    pub fn wgsl(&self) -> String {
        let mut text = String::from(&*self.header);
        for part in self.parts.iter() {
            text.extend(Kernel::sections(part).iter().map(|s| &**s));
        }
        text
    }

    /// What stands in a shader for a file: its name, its opening comment, its code.
    pub fn sections(part: &'static gpt_shaders::Source) -> [Str; 3] {
        let title = format!("\n// ---- {} ----\n\n", part.name);
        let essay = match part.essay() {
            "" => String::new(),
            essay => format!("{essay}\n"),
        };
        [title.into(), essay.into(), part.body().into()]
    }
}
