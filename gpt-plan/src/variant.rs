//! Variants: files that take the place of others where an adapter has more than WebGPU's core.
//!
//! A variant is a file with the same functions as another, so a kernel needs not know that there is one: [`VARIANTS`] says which file stands in for which where
//! an adapter has a feature, and [`Kernel::variant`] makes the exchange, for every row of the table that applies. The kernel of a plan is the plain one,
//! which every adapter runs. Nothing of this takes room in a program but the files.

use gpt_shaders::{self as files, Source};

use crate::Kernel;

/// What an adapter may have beyond WebGPU's core, as far as kernels make use of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Feature {
    /// Sums and maxima over the invocations of a subgroup, of at least eight.
    Subgroups,
    /// Subgroups of 32 that multiply f16 matrices of 16 x 16 and add f32 ones. wgpu calls it experimental.
    CooperativeMatrices,
}

impl Feature {
    /// All of them.
    pub const ALL: [Feature; 2] = [Feature::Subgroups, Feature::CooperativeMatrices];

    /// The name that people use.
    pub const fn name(self) -> &'static str {
        match self {
            Feature::Subgroups => "subgroups",
            Feature::CooperativeMatrices => "cooperative_matrices",
        }
    }
}

/// A set of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Features(u8);

impl Features {
    /// None: the plain kernels.
    pub const NONE: Features = Features(0);
    /// What is made use of unless somebody asks for something else. Cooperative matrices are not: they round inputs to f16, and no adapter that has them was at
    /// hand to run them on.
    pub const DEFAULT: Features = Features::NONE.with(Feature::Subgroups);
    /// All that there are.
    pub const ALL: Features = Features((1 << Feature::ALL.len()) - 1);

    /// These, and `feature`.
    pub const fn with(self, feature: Feature) -> Features {
        Features(self.0 | 1 << feature as u8)
    }

    /// Whether `feature` is among them.
    pub const fn has(self, feature: Feature) -> bool {
        self.0 & 1 << feature as u8 != 0
    }

    /// Those that are in both.
    pub const fn and(self, other: Features) -> Features {
        Features(self.0 & other.0)
    }

    /// Those that are in it, in the order of [`Feature::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Feature> {
        Feature::ALL.into_iter().filter(move |f| self.has(*f))
    }

    /// From names with commas between them; empty for none.
    pub fn parse(names: &str) -> Option<Features> {
        let names = names.split(',').map(str::trim).filter(|n| !n.is_empty());
        names.into_iter().try_fold(Features::NONE, |set, name| {
            let feature = Feature::ALL.into_iter().find(|f| f.name() == name)?;
            Some(set.with(feature))
        })
    }
}

/// A row of the table.
#[derive(Debug)]
pub struct Variant {
    /// What it takes.
    pub feature: Feature,
    /// Extensions of WGSL that have to be enabled.
    pub enables: &'static [&'static str],
    /// Pairs of files: where a kernel has all of the first, the second take their places. A file that takes its own place is a condition.
    pub files: &'static [(&'static Source, &'static Source)],
}

/// Which files take the place of which. The only place where a variant is chosen.
pub static VARIANTS: [Variant; 3] = [
    // A norm's sums in decoding: one barrier each instead of two.
    Variant {
        feature: Feature::Subgroups,
        enables: &[],
        files: &[
            (&files::ENTRY_PLAIN, &files::ENTRY_SUBGROUPS),
            (&files::SUM_MEMORY, &files::SUM_SUBGROUPS),
        ],
    },
    // Attention's maximum: the same, for each group of keys.
    Variant {
        feature: Feature::Subgroups,
        enables: &[],
        files: &[
            (&files::ENTRY_PLAIN, &files::ENTRY_SUBGROUPS),
            (&files::MAXIMUM_MEMORY, &files::MAXIMUM_SUBGROUPS),
        ],
    },
    // A prompt through matrices that are stored as f16.
    Variant {
        feature: Feature::CooperativeMatrices,
        enables: &["f16", "wgpu_cooperative_matrix"],
        files: &[
            (&files::ENTRY_PLAIN, &files::ENTRY_SUBGROUPS),
            (&files::TILE_PREFILL, &files::TILE_PREFILL_COOPERATIVE),
            (&files::WEIGHT_F16, &files::WEIGHT_F16),
        ],
    },
];

impl Kernel {
    /// This kernel as an adapter with `features` runs it, if that differs from the plain one.
    pub fn variant(&self, features: Features) -> Option<Kernel> {
        let mut parts = self.parts.to_vec();
        let mut header = String::new();
        let mut taken = Features::NONE;
        for variant in VARIANTS.iter().filter(|v| features.has(v.feature)) {
            // Two rows may ask for the same exchange, so it is the plain kernel that counts.
            let at = |(plain, _): &(&'static Source, _)| self.parts.iter().position(|p| p == plain);
            let Some(places) = variant.files.iter().map(at).collect::<Option<Vec<_>>>() else {
                continue;
            };
            for (place, (_, file)) in places.into_iter().zip(variant.files) {
                parts[place] = file;
            }
            header.extend(
                variant
                    .enables
                    .iter()
                    .map(|name| format!("enable {name};\n")),
            );
            taken = taken.with(variant.feature);
        }
        let names: Vec<&str> = taken.iter().map(Feature::name).collect();
        (taken != Features::NONE).then(|| Kernel {
            name: format!("{}.{}", self.name, names.join(".")).into(),
            header: (header + &self.header).into(),
            parts: parts.into(),
            ..self.clone()
        })
    }
}
