//! Variants: WGSL files that replace others on a GPU with a feature (`gpt_plan::Feature`).
//!
//! A kernel is a list of WGSL files. A variant of a file defines the same functions, so it can
//! replace the file in any kernel. The kernels of a plan are plain ones, which every adapter (a GPU
//! with its driver) runs, except those of training in f16. [`variant`] replaces their files
//! according to every row of [`VARIANTS`] that applies. No other code selects variants.

use std::sync::LazyLock;

use gpt_plan::{Feature, Features, Format, Kernel, with_texture};

use crate::{files as f, packed_weights_file, weights_file};

/// A row of the table. It applies to kernels that have all files of `requires` and the first of
/// every pair of `replaces`, and none of `excludes`.
#[derive(Clone, Debug)]
pub struct Variant {
    /// The feature that an adapter needs.
    pub feature: Feature,
    /// Extensions of WGSL that are enabled.
    pub enables: &'static [&'static str],
    /// Files that the kernel must have, and that stay.
    pub requires: Vec<&'static str>,
    /// Pairs of files: the second replaces the first.
    pub replaces: Vec<(&'static str, &'static str)>,
    /// Files that are appended.
    pub adds: Vec<&'static str>,
    /// Files that the kernel must not have.
    pub excludes: Vec<&'static str>,
}

impl Variant {
    fn new(feature: Feature) -> Variant {
        Variant {
            feature,
            enables: &[],
            requires: Vec::new(),
            replaces: Vec::new(),
            adds: Vec::new(),
            excludes: Vec::new(),
        }
    }

    fn replace(mut self, plain: &'static str, file: &'static str) -> Variant {
        self.replaces.push((plain, file));
        self
    }

    /// Replaces `file` by an empty file.
    fn drop(self, file: &'static str) -> Variant {
        self.replace(file, f::SHARED_NONE)
    }

    /// Uses the entry point that computes an invocation's index from its subgroup.
    fn subgroups(self) -> Variant {
        self.replace(f::SHARED_ENTRY_PLAIN, f::SHARED_ENTRY_SUBGROUPS)
    }

    fn require(mut self, file: &'static str) -> Variant {
        self.requires.push(file);
        self
    }

    fn exclude(mut self, file: &'static str) -> Variant {
        self.excludes.push(file);
        self
    }

    fn add(mut self, file: &'static str) -> Variant {
        self.adds.push(file);
        self
    }

    fn enable(mut self, names: &'static [&'static str]) -> Variant {
        self.enables = names;
        self
    }

    /// Whether the row applies to a plain kernel.
    pub fn applies(&self, plain: &Kernel) -> bool {
        let has = |file: &&'static str| plain.files.contains(file);
        self.requires.iter().all(has)
            && self.replaces.iter().all(|(plain, _)| has(plain))
            && !self.excludes.iter().any(has)
    }
}

/// All variants. If two rows replace a file differently, the first that applies wins.
pub static VARIANTS: LazyLock<Vec<Variant>> = LazyLock::new(|| {
    use Feature as F;
    let mut rows = vec![
        // The sum over a workgroup, for norms and the loss: one barrier instead of two.
        Variant::new(F::Subgroups)
            .subgroups()
            .replace(f::SHARED_SUM_MEMORY, f::SHARED_SUM_SUBGROUPS),
        // The maximum over a workgroup, for attention and the loss: one barrier instead of two.
        Variant::new(F::Subgroups)
            .subgroups()
            .replace(f::SHARED_MAXIMUM_MEMORY, f::SHARED_MAXIMUM_SUBGROUPS),
        // The best token of a workgroup in sampling: one barrier instead of nine.
        Variant::new(F::Subgroups)
            .subgroups()
            .replace(f::SAMPLING_BEST, f::SAMPLING_BEST_SUBGROUPS),
    ];

    // Prefill with f16 weights.
    for tile in [f::MATMUL_TILE_N_8, f::MATMUL_TILE_N_4] {
        rows.push(
            Variant::new(F::CooperativeMatrices)
                .enable(&["f16", "wgpu_cooperative_matrix"])
                .subgroups()
                .require(f::MATMUL_WEIGHTS_F16)
                .replace(tile, f::MATMUL_TILE_N_8)
                .replace(f::MATMUL_TILE_PREFILL_SUMS, f::MATMUL_TILE_PREFILL_COOPERATIVE_SUMS)
                .drop(f::MATMUL_SUMS)
                .drop(f::MATMUL_ROW_BROADCAST_MEMORY)
                .drop(f::MATMUL_TILE_PREFILL_BLOCK)
                .replace(f::MATMUL_TILE_PREFILL_SINGLE, f::MATMUL_TILE_PREFILL_COOPERATIVE),
        );
    }
    rows.push(
        Variant::new(F::F16Arithmetic)
            .enable(&["f16"])
            .require(f::MATMUL_WEIGHTS_F16)
            .drop(f::MATMUL_ROW_BROADCAST_MEMORY)
            .drop(f::MATMUL_TILE_PREFILL_BLOCK)
            .replace(f::MATMUL_TILE_PREFILL_SINGLE, f::MATMUL_TILE_PREFILL_F16),
    );

    // Prefill and decoding with quantised weights.
    let prefill = Variant::new(F::PackedDot)
        .drop(f::MATMUL_ROW_BROADCAST_MEMORY)
        .drop(f::MATMUL_TILE_PREFILL_BLOCK)
        .replace(f::MATMUL_TILE_PREFILL_SINGLE, f::MATMUL_TILE_PREFILL_PACKED);
    let decode = Variant::new(F::PackedDot)
        .drop(f::SHARED_READ_MEMORY)
        .replace(f::MATMUL_TILE_DECODE, f::MATMUL_TILE_DECODE_PACKED);
    for tile in [prefill, decode] {
        for format in Format::ALL {
            let Some(packed) = packed_weights_file(format) else {
                continue;
            };
            let row = tile.clone().replace(weights_file(format), packed);
            rows.push(row.add(f::MATMUL_TILE_QUANTIZE_INPUTS));
        }
    }

    rows.extend([
        // In prefill and training, a subgroup shares the input rows that it has read.
        Variant::new(F::Broadcasts)
            .subgroups()
            .replace(f::MATMUL_ROW_BROADCAST_MEMORY, f::MATMUL_ROW_BROADCAST_SUBGROUPS),
        // In decoding and attention, a subgroup shares what it has read from workgroup memory.
        Variant::new(F::Broadcasts)
            .subgroups()
            .replace(f::SHARED_READ_MEMORY, f::SHARED_READ_SUBGROUPS),
        Variant::new(F::SmallGroups)
            .replace(f::SHARED_WORKGROUP_SIZE_256, f::SHARED_WORKGROUP_SIZE_64),
        Variant::new(F::DoubleBuffers)
            .replace(f::MATMUL_TILE_PREFILL_SINGLE, f::MATMUL_TILE_PREFILL_DOUBLE),
        Variant::new(F::DoubleBuffers)
            .replace(f::MATMUL_GEMM_SINGLE_BUFFER, f::MATMUL_GEMM_DOUBLE_BUFFER),
    ]);

    // A texture takes one binding, however many buffers the matrix would take.
    for (count, all) in (1..).zip(ALL_BUFFERS) {
        let row = Variant::new(F::Textures).replace(all, f::MATMUL_WEIGHTS_TEXTURE);
        rows.push(BUFFERS.into_iter().take(count).fold(row, Variant::drop));
    }

    // Tile sizes, in strips (32 rows of a matrix). With several of these features, the first row
    // wins: huge tiles before small ones, and small ones before large ones. A tile of a gated MLP
    // needs strips of both the gate and the up projection: at least two in decoding, eight in
    // prefill.
    let decode = f::MATMUL_TILE_DECODE;
    let prefill = f::MATMUL_TILE_PREFILL;
    for (feature, tile, from, to) in [
        (F::HugeTiles, decode, 1, 8),
        (F::HugeTiles, decode, 2, 8),
        (F::HugeTiles, decode, 4, 8),
        (F::SmallTiles, decode, 4, 2),
        (F::SmallTiles, decode, 2, 1),
        (F::SmallTiles, prefill, 8, 4),
        (F::LargeTiles, decode, 1, 2),
        (F::LargeTiles, decode, 2, 4),
        (F::LargeTiles, prefill, 4, 8),
        (F::LargeTiles, prefill, 8, 16),
    ] {
        let file = |strips| tile_n_file(strips).expect("a power of two up to 16");
        let row = Variant::new(feature).require(tile).replace(file(from), file(to));
        let splits_halves = matches!((tile == decode, to), (true, 1) | (false, 4));
        rows.push(if splits_halves { row.exclude(f::MATMUL_EPILOGUE_GATED) } else { row });
    }
    rows
});

/// The files that read one part each. A matrix that is larger than a binding is stored in parts.
const BUFFERS: [&str; 5] = [
    f::MATMUL_WEIGHTS_BUFFERS_PART_0,
    f::MATMUL_WEIGHTS_BUFFERS_PART_1,
    f::MATMUL_WEIGHTS_BUFFERS_PART_2,
    f::MATMUL_WEIGHTS_BUFFERS_PART_3,
    f::MATMUL_WEIGHTS_BUFFERS_PART_4,
];

/// The files that read a matrix of one to five parts.
const ALL_BUFFERS: [&str; 5] = [
    f::MATMUL_WEIGHTS_BUFFERS_ALL_1,
    f::MATMUL_WEIGHTS_BUFFERS_ALL_2,
    f::MATMUL_WEIGHTS_BUFFERS_ALL_3,
    f::MATMUL_WEIGHTS_BUFFERS_ALL_4,
    f::MATMUL_WEIGHTS_BUFFERS_ALL_5,
];

/// The files for a matrix in `count` buffers, one to five.
pub fn buffers(count: usize) -> impl Iterator<Item = &'static str> {
    BUFFERS.into_iter().take(count).chain([ALL_BUFFERS[count - 1]])
}

/// The files that set the width of a workgroup's tile, in strips of a matrix.
const TILE_N: [(&str, u32); 5] = [
    (f::MATMUL_TILE_N_1, 1),
    (f::MATMUL_TILE_N_2, 2),
    (f::MATMUL_TILE_N_4, 4),
    (f::MATMUL_TILE_N_8, 8),
    (f::MATMUL_TILE_N_16, 16),
];

/// The number of strips of a matrix that a workgroup of the kernel multiplies; none if the kernel
/// is not a projection of inference.
pub fn tile_n(kernel: &Kernel) -> Option<u32> {
    let own = |(file, _): &&(&'static str, u32)| kernel.files.contains(file);
    TILE_N.iter().find(own).map(|(_, strips)| *strips)
}

/// The file that assigns `strips` strips to a workgroup; none unless `strips` is a power of two up
/// to 16.
pub fn tile_n_file(strips: u32) -> Option<&'static str> {
    let of = TILE_N.iter().find(|(_, has)| *has == strips);
    of.map(|(file, _)| *file)
}

/// `kernel`, a projection, for a part of a matrix that mixes formats. The constants `LAST_STRIP` (a
/// strip is 32 rows), `FIRST_FEATURE` and `END_FEATURE` of its pipeline select the part.
pub fn some_strips(kernel: &Kernel) -> Kernel {
    let own = |file: &&'static str| match *file == f::MATMUL_STRIPS_ALL {
        true => f::MATMUL_STRIPS_SOME,
        false => *file,
    };
    Kernel {
        name: format!("{}.some_strips", kernel.name).into(),
        files: kernel.files.iter().map(own).collect::<Vec<_>>().into(),
        ..kernel.clone()
    }
}

/// The variant of `plain` for an adapter with `features`; none if the adapter runs `plain` itself.
pub fn variant(plain: &Kernel, features: Features) -> Option<Kernel> {
    let mut files = plain.files.to_vec();
    let mut opening = String::new();
    let mut used = Features::NONE;
    let rows = VARIANTS.iter().filter(|row| features.has(row.feature));
    for row in rows.filter(|row| row.applies(plain)) {
        // A row applies as a whole, and only if no earlier row has replaced one of its files
        // differently.
        let place = |(from, to): &(&'static str, &'static str)| {
            let place = plain.files.iter().position(|file| file == from)?;
            let free = from == to || files[place] == *from || files[place] == *to;
            free.then_some(place)
        };
        let Some(places) = row.replaces.iter().map(place).collect::<Option<Vec<_>>>() else {
            continue;
        };
        for (place, (from, to)) in places.into_iter().zip(&row.replaces) {
            if from != to {
                files[place] = to;
            }
        }
        files.extend(&row.adds);
        opening.extend(row.enables.iter().map(|name| format!("enable {name};\n")));
        used = used.with(row.feature);
    }
    if used == Features::NONE {
        return None;
    }
    let names: Vec<&str> = used.iter().map(Feature::name).collect();
    let mut kernel = Kernel {
        name: format!("{}.{}", plain.name, names.join(".")).into(),
        opening: (opening + &plain.opening).into(),
        files: files.into(),
        ..plain.clone()
    };
    if kernel.files.contains(&f::MATMUL_WEIGHTS_TEXTURE) {
        kernel.bindings = with_texture(&kernel.bindings).into();
    }
    if kernel.files.contains(&f::SHARED_WORKGROUP_SIZE_64) {
        kernel.workgroup = 64;
    }
    if let (Some(before), Some(after)) = (tile_n(plain), tile_n(&kernel)) {
        kernel.groups = plain.strips.div_ceil(after);
        if plain.tile_rows > 1 {
            kernel.workgroup = plain.workgroup * after / before;
        }
    }
    Some(kernel)
}
