//! Kernels: WGSL written for one model.

use serde::{Serialize, Serializer};

use crate::{Binding, Extent, Grid, List, Str};

/// The two kinds of forward pass.
#[derive(Clone, Copy, Debug, Serialize, PartialEq, Eq, Hash)]
pub enum Phase {
    /// One token.
    Decode,
    /// Many tokens at once.
    Prefill,
}

/// A compute shader for one model, in the plain form that every adapter runs. `gpt-shaders` links
/// its files, and replaces some of them by variants.
#[derive(Clone, Debug, Serialize, PartialEq)]
pub struct Kernel {
    /// Unique in the plan: `qkv_decode_f32`.
    pub name: Str,
    /// The first lines of the WGSL that the compiler generates: a title, extensions, and sizes that
    /// depend on the format of a matrix.
    pub opening: Str,
    /// The rest of the generated WGSL: sizes, aliases, a closure's activation. Kernels that differ
    /// only in the format of a matrix have equal headers, so a program stores each header once.
    pub header: Str,
    /// The files that follow the header, by their names in `gpt-shaders`: `norm/layer`.
    #[serde(serialize_with = "files")]
    pub files: List<&'static str>,
    /// Invocations of a workgroup, for `gpt inspect`; the WGSL has the same literal.
    pub workgroup: u32,
    /// Rows (tokens) that one workgroup handles.
    pub tile_rows: u32,
    /// Workgroups along x: one for each tile of output features, or for each head.
    pub groups: u32,
    /// Strips of the matrix, which are divided among the workgroups; 0 for a kernel that does not
    /// tile by strips.
    pub strips: u32,
    /// How workgroups cover the work of a dispatch.
    pub grid: Grid,
    /// The bindings that the files declare, sorted by group and binding.
    #[serde(serialize_with = "bindings")]
    pub bindings: List<Binding>,
}

impl Kernel {
    /// A kernel with one workgroup of one invocation for each row, without bindings or opening.
    pub fn new(name: impl Into<Str>, header: impl Into<Str>, files: Vec<&'static str>) -> Kernel {
        Kernel {
            name: name.into(),
            opening: "".into(),
            header: header.into(),
            files: files.into(),
            workgroup: 1,
            tile_rows: 1,
            groups: 1,
            strips: 0,
            grid: Grid::Rows,
            bindings: List::Borrowed(&[]),
        }
    }

    /// Workgroups along x, y and z of a dispatch.
    pub fn workgroups(&self, extent: &Extent) -> [u32; 3] {
        self.grid.workgroups(self.groups, self.tile_rows, extent)
    }

    /// The lines that the compiler generates.
    pub fn generated(&self) -> impl Iterator<Item = &str> {
        self.opening.lines().chain(self.header.lines())
    }

    /// The bindings of `group`.
    pub fn group(&self, group: u32) -> impl Iterator<Item = &Binding> {
        self.bindings.iter().filter(move |b| b.group == group)
    }
}

/// Serializes names of files as variants of an enum `File`, because their Rust type is `&str`, and
/// other text in a plan is a [`Str`].
fn files<S: Serializer>(names: &[&'static str], serializer: S) -> Result<S::Ok, S::Error> {
    struct File(&'static str);
    impl Serialize for File {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_unit_variant("File", 0, self.0)
        }
    }
    serializer.collect_seq(names.iter().map(|name| File(name)))
}

/// Serializes bindings as a newtype `Bindings`. Most kernels have the same list as another kernel,
/// so a static plan stores each list once.
fn bindings<S: Serializer>(list: &[Binding], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_newtype_struct("Bindings", list)
}
