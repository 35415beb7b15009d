//! Variants: files that take the place of others where an adapter has more than WebGPU's core.
//!
//! A variant is a file with the same functions as another, so a kernel needs not know that there is one: [`VARIANTS`] says which file stands in for which where
//! an adapter has a feature, and [`Kernel::variant`] makes the exchange, for every row of the table that applies. The kernel of a plan is the plain one,
//! which every adapter runs. Nothing of this takes room in a program but the files.

use gpt_shaders::{self as files, Source};

use crate::{Feature, Features, Kernel, with_texture};

/// A row of the table.
#[derive(Debug)]
pub struct Variant {
    /// What it takes.
    pub feature: Feature,
    /// Extensions of WGSL that have to be enabled.
    pub enables: &'static [&'static str],
    /// Pairs of files: where a kernel has all of the first, the second take their places. A file that takes its own place is a condition.
    pub files: &'static [(&'static Source, &'static Source)],
    /// Files that come beside them.
    pub adds: &'static [&'static Source],
    /// Kernels that have one of these have no such variant.
    pub without: &'static [&'static Source],
}

const PLAIN: Variant = Variant {
    feature: Feature::Subgroups,
    enables: &[],
    files: &[],
    adds: &[],
    without: &[],
};

/// Which files take the place of which: the only place where a variant is chosen. Where two rows want the same place, the first has it.
pub static VARIANTS: [Variant; 29] = [
    // A norm's sums in decoding: one barrier each instead of two.
    Variant {
        files: &[
            (&files::ENTRY_PLAIN, &files::ENTRY_SUBGROUPS),
            (&files::SUM_MEMORY, &files::SUM_SUBGROUPS),
        ],
        ..PLAIN
    },
    // Attention's maximum: the same, for each group of keys.
    Variant {
        files: &[
            (&files::ENTRY_PLAIN, &files::ENTRY_SUBGROUPS),
            (&files::MAXIMUM_MEMORY, &files::MAXIMUM_SUBGROUPS),
        ],
        ..PLAIN
    },
    // A prompt through f16 weights, by workgroups of eight strips.
    Variant {
        feature: Feature::CooperativeMatrices,
        enables: &["f16", "wgpu_cooperative_matrix"],
        files: &[
            (&files::ENTRY_PLAIN, &files::ENTRY_SUBGROUPS),
            (&files::STRIPS_8, &files::STRIPS_8),
            (
                &files::TILE_PREFILL_SUMS,
                &files::TILE_PREFILL_COOPERATIVE_SUMS,
            ),
            (&files::HOLD_PLAIN, &files::HOLD_NONE),
            (
                &files::TILE_PREFILL_SINGLE,
                &files::TILE_PREFILL_COOPERATIVE,
            ),
            (&files::WEIGHT_F16, &files::WEIGHT_F16),
        ],
        ..PLAIN
    },
    Variant {
        feature: Feature::CooperativeMatrices,
        enables: &["f16", "wgpu_cooperative_matrix"],
        files: &[
            (&files::ENTRY_PLAIN, &files::ENTRY_SUBGROUPS),
            (&files::STRIPS_4, &files::STRIPS_8),
            (
                &files::TILE_PREFILL_SUMS,
                &files::TILE_PREFILL_COOPERATIVE_SUMS,
            ),
            (&files::HOLD_PLAIN, &files::HOLD_NONE),
            (
                &files::TILE_PREFILL_SINGLE,
                &files::TILE_PREFILL_COOPERATIVE,
            ),
            (&files::WEIGHT_F16, &files::WEIGHT_F16),
        ],
        ..PLAIN
    },
    Variant {
        feature: Feature::F16Arithmetic,
        enables: &["f16"],
        files: &[
            (&files::HOLD_PLAIN, &files::HOLD_NONE),
            (&files::TILE_PREFILL_SINGLE, &files::TILE_PREFILL_F16),
            (&files::WEIGHT_F16, &files::WEIGHT_F16),
        ],
        ..PLAIN
    },
    // Quantised matrices, for a prompt and for a token.
    Variant {
        feature: Feature::PackedDot,
        files: &[
            (&files::HOLD_PLAIN, &files::HOLD_NONE),
            (&files::TILE_PREFILL_SINGLE, &files::TILE_PREFILL_PACKED),
            (&files::WEIGHT_Q8, &files::WEIGHT_PACKED_Q8),
        ],
        adds: &[&files::BYTES],
        ..PLAIN
    },
    Variant {
        feature: Feature::PackedDot,
        files: &[
            (&files::HOLD_PLAIN, &files::HOLD_NONE),
            (&files::TILE_PREFILL_SINGLE, &files::TILE_PREFILL_PACKED),
            (&files::WEIGHT_Q4, &files::WEIGHT_PACKED_Q4),
        ],
        adds: &[&files::BYTES],
        ..PLAIN
    },
    Variant {
        feature: Feature::PackedDot,
        files: &[
            (&files::EIGHT_MEMORY, &files::HOLD_NONE),
            (&files::TILE_DECODE, &files::TILE_DECODE_PACKED),
            (&files::WEIGHT_Q8, &files::WEIGHT_PACKED_Q8),
        ],
        adds: &[&files::BYTES],
        ..PLAIN
    },
    Variant {
        feature: Feature::PackedDot,
        files: &[
            (&files::EIGHT_MEMORY, &files::HOLD_NONE),
            (&files::TILE_DECODE, &files::TILE_DECODE_PACKED),
            (&files::WEIGHT_Q4, &files::WEIGHT_PACKED_Q4),
        ],
        adds: &[&files::BYTES],
        ..PLAIN
    },
    // Inputs of a prompt, and rows of training's products.
    Variant {
        feature: Feature::Broadcasts,
        files: &[
            (&files::ENTRY_PLAIN, &files::ENTRY_SUBGROUPS),
            (&files::HOLD_PLAIN, &files::HOLD_BROADCAST),
        ],
        ..PLAIN
    },
    // What decoding and attention read of workgroup memory.
    Variant {
        feature: Feature::Broadcasts,
        files: &[
            (&files::ENTRY_PLAIN, &files::ENTRY_SUBGROUPS),
            (&files::EIGHT_MEMORY, &files::EIGHT_NEIGHBOURS),
        ],
        ..PLAIN
    },
    Variant {
        feature: Feature::SmallGroups,
        files: &[(&files::LANES_256, &files::LANES_64)],
        ..PLAIN
    },
    Variant {
        feature: Feature::DoubleBuffers,
        files: &[(&files::TILE_PREFILL_SINGLE, &files::TILE_PREFILL_DOUBLE)],
        ..PLAIN
    },
    Variant {
        feature: Feature::DoubleBuffers,
        files: &[(&files::TRAIN_PRODUCT_SINGLE, &files::TRAIN_PRODUCT_DOUBLE)],
        ..PLAIN
    },
    // However many bindings a matrix would have, as a texture it has one.
    Variant {
        feature: Feature::Textures,
        files: &[(&files::MATRIX_PARTS_1, &files::MATRIX_TEXTURE)],
        ..PLAIN
    },
    Variant {
        feature: Feature::Textures,
        files: &[(&files::MATRIX_PARTS_2, &files::MATRIX_TEXTURE)],
        ..PLAIN
    },
    Variant {
        feature: Feature::Textures,
        files: &[(&files::MATRIX_PARTS_3, &files::MATRIX_TEXTURE)],
        ..PLAIN
    },
    Variant {
        feature: Feature::Textures,
        files: &[(&files::MATRIX_PARTS_4, &files::MATRIX_TEXTURE)],
        ..PLAIN
    },
    Variant {
        feature: Feature::Textures,
        files: &[(&files::MATRIX_PARTS_5, &files::MATRIX_TEXTURE)],
        ..PLAIN
    },
    // Strips of a workgroup. The most come first, as they are asked for where as many as possible are wanted. The two halves of a gated MLP need strips of both in a turn: two in decoding, eight in a prompt.
    Variant {
        feature: Feature::HugeTiles,
        files: &[
            (&files::TILE_DECODE, &files::TILE_DECODE),
            (&files::STRIPS_1, &files::STRIPS_8),
        ],
        ..PLAIN
    },
    Variant {
        feature: Feature::HugeTiles,
        files: &[
            (&files::TILE_DECODE, &files::TILE_DECODE),
            (&files::STRIPS_2, &files::STRIPS_8),
        ],
        ..PLAIN
    },
    Variant {
        feature: Feature::HugeTiles,
        files: &[
            (&files::TILE_DECODE, &files::TILE_DECODE),
            (&files::STRIPS_4, &files::STRIPS_8),
        ],
        ..PLAIN
    },
    Variant {
        feature: Feature::SmallTiles,
        files: &[
            (&files::TILE_DECODE, &files::TILE_DECODE),
            (&files::STRIPS_4, &files::STRIPS_2),
        ],
        ..PLAIN
    },
    Variant {
        feature: Feature::SmallTiles,
        files: &[
            (&files::TILE_DECODE, &files::TILE_DECODE),
            (&files::STRIPS_2, &files::STRIPS_1),
        ],
        without: &[&files::FINISH_GATED],
        ..PLAIN
    },
    Variant {
        feature: Feature::SmallTiles,
        files: &[
            (&files::TILE_PREFILL, &files::TILE_PREFILL),
            (&files::STRIPS_8, &files::STRIPS_4),
        ],
        without: &[&files::FINISH_GATED],
        ..PLAIN
    },
    Variant {
        feature: Feature::LargeTiles,
        files: &[
            (&files::TILE_DECODE, &files::TILE_DECODE),
            (&files::STRIPS_1, &files::STRIPS_2),
        ],
        ..PLAIN
    },
    Variant {
        feature: Feature::LargeTiles,
        files: &[
            (&files::TILE_DECODE, &files::TILE_DECODE),
            (&files::STRIPS_2, &files::STRIPS_4),
        ],
        ..PLAIN
    },
    Variant {
        feature: Feature::LargeTiles,
        files: &[
            (&files::TILE_PREFILL, &files::TILE_PREFILL),
            (&files::STRIPS_4, &files::STRIPS_8),
        ],
        ..PLAIN
    },
    Variant {
        feature: Feature::LargeTiles,
        files: &[
            (&files::TILE_PREFILL, &files::TILE_PREFILL),
            (&files::STRIPS_8, &files::STRIPS_16),
        ],
        ..PLAIN
    },
];

/// How many strips each of these files gives a workgroup.
const STRIPS: [(&Source, u32); 5] = [
    (&files::STRIPS_1, 1),
    (&files::STRIPS_2, 2),
    (&files::STRIPS_4, 4),
    (&files::STRIPS_8, 8),
    (&files::STRIPS_16, 16),
];

impl Kernel {
    /// Strips of a matrix that one of its workgroups multiplies, if it multiplies any.
    pub fn strips_of_group(&self) -> Option<u32> {
        let own = |(file, _): &&(&Source, u32)| self.parts.iter().any(|part| part == file);
        STRIPS.iter().find(own).map(|(_, strips)| *strips)
    }

    /// The file that gives a workgroup `strips` strips; there is one for powers of two up to 16.
    pub fn strips_file(strips: u32) -> Option<&'static Source> {
        let of = STRIPS.iter().find(|(_, has)| *has == strips);
        of.map(|(file, _)| *file)
    }

    /// This kernel as an adapter with `features` runs it, if that differs from the plain one.
    pub fn variant(&self, features: Features) -> Option<Kernel> {
        let mut parts = self.parts.to_vec();
        let mut header = String::new();
        let mut taken = Features::NONE;
        for variant in VARIANTS.iter().filter(|v| features.has(v.feature)) {
            // It is the plain kernel that has to have all of the files, and nobody else may have taken their places, or for the same file.
            let at = |(plain, file): &(&'static Source, &'static Source)| {
                let place = self.parts.iter().position(|part| part == plain)?;
                (plain == file || parts[place] == *plain || parts[place] == *file).then_some(place)
            };
            let Some(places) = variant.files.iter().map(at).collect::<Option<Vec<_>>>() else {
                continue;
            };
            if self.parts.iter().any(|part| variant.without.contains(part)) {
                continue;
            }
            for (place, (plain, file)) in places.into_iter().zip(variant.files) {
                if plain != file {
                    parts[place] = file;
                }
            }
            parts.extend(variant.adds);
            header.extend(
                variant
                    .enables
                    .iter()
                    .map(|name| format!("enable {name};\n")),
            );
            taken = taken.with(variant.feature);
        }
        if taken == Features::NONE {
            return None;
        }
        let names: Vec<&str> = taken.iter().map(Feature::name).collect();
        let mut kernel = Kernel {
            name: format!("{}.{}", self.name, names.join(".")).into(),
            header: (header + &self.header).into(),
            parts: parts.into(),
            ..self.clone()
        };
        if kernel.parts.contains(&&files::MATRIX_TEXTURE) {
            kernel.bindings = with_texture(&kernel.bindings).into();
        }
        if kernel.parts.contains(&&files::LANES_64) {
            kernel.workgroup = 64;
        }
        if let (Some(plain), Some(own)) = (self.strips_of_group(), kernel.strips_of_group()) {
            kernel.groups = self.strips.div_ceil(own);
            if self.tile_rows > 1 {
                kernel.workgroup = self.workgroup * own / plain;
            }
        }
        Some(kernel)
    }
}
