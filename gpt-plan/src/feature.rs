//! Features: what kernels have variants for, by the names that people use.

/// What kernels have variants for: what an adapter may have beyond WebGPU's core, and other ways to do the same that some adapters gain from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Feature {
    /// Sums and maxima over the invocations of a subgroup, of at least eight.
    Subgroups,
    /// Inputs that are the same for all invocations come from one of a subgroup (of at least eight) to the others, not from memory.
    Broadcasts,
    /// Matrices in storage textures that are only read, not in buffers. WebGPU's default limits have room for them (WGSL calls reading them a language extension, which browsers have);
    /// an adapter that is a processor gains.
    Textures,
    /// Two places for inputs that take turns, so that one is filled while the other is multiplied. Any adapter runs it.
    DoubleBuffers,
    /// Workgroups that make half as many features. Any adapter runs it.
    SmallTiles,
    /// Workgroups that make twice as many. Any adapter runs it.
    LargeTiles,
    /// A token's workgroups make eight strips of features, so that an input that was read serves as many. Any adapter runs it; one that is a processor gains.
    HugeTiles,
    /// Attention of a token by workgroups of 64 invocations instead of 256. Any adapter runs it; one that is a processor gains.
    SmallGroups,
    /// Products of four bytes, for quantised weights: inputs are rounded to bytes. Any adapter runs it, and most have an instruction for it.
    PackedDot,
    /// Products and sums in f16, for prompts through f16 weights: inputs are rounded to f16, sums of up to 32 products, too.
    F16Arithmetic,
    /// Subgroups of 32 that multiply f16 matrices of 16 x 16 and add f32 ones, for the same: inputs are rounded to f16. wgpu calls it experimental.
    CooperativeMatrices,
}

impl Feature {
    /// All of them.
    pub const ALL: [Feature; 11] = [
        Feature::Subgroups,
        Feature::Broadcasts,
        Feature::Textures,
        Feature::DoubleBuffers,
        Feature::SmallTiles,
        Feature::LargeTiles,
        Feature::HugeTiles,
        Feature::SmallGroups,
        Feature::PackedDot,
        Feature::F16Arithmetic,
        Feature::CooperativeMatrices,
    ];

    /// The name that people use.
    pub const fn name(self) -> &'static str {
        match self {
            Feature::Subgroups => "subgroups",
            Feature::Broadcasts => "broadcasts",
            Feature::Textures => "textures",
            Feature::DoubleBuffers => "double_buffers",
            Feature::SmallTiles => "small_tiles",
            Feature::LargeTiles => "large_tiles",
            Feature::HugeTiles => "huge_tiles",
            Feature::SmallGroups => "small_groups",
            Feature::PackedDot => "packed_dot",
            Feature::F16Arithmetic => "f16_arithmetic",
            Feature::CooperativeMatrices => "cooperative_matrices",
        }
    }

    /// Whether it takes nothing that WebGPU's core does not have.
    pub const fn is_core(self) -> bool {
        matches!(
            self,
            Feature::Textures
                | Feature::DoubleBuffers
                | Feature::SmallTiles
                | Feature::LargeTiles
                | Feature::HugeTiles
                | Feature::SmallGroups
                | Feature::PackedDot
        )
    }

    /// Whether results differ by more than the order of sums: inputs of products are rounded. Nobody chooses such a variant for a user.
    pub const fn rounds(self) -> bool {
        matches!(
            self,
            Feature::PackedDot | Feature::F16Arithmetic | Feature::CooperativeMatrices
        )
    }
}

/// A set of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Features(u16);

impl Features {
    /// None: the plain kernels.
    pub const NONE: Features = Features(0);
    /// What is made use of unless somebody asks for something else: what an adapter has, and what does not round. Which tile is fastest is a matter of the adapter,
    /// which a measurement decides, or else the compiler's choice.
    pub const DEFAULT: Features = Features::NONE.with(Feature::Subgroups);
    /// The same for an adapter that is itself a processor (lavapipe, WARP): there reading is what costs, from workgroup memory as from any other.
    pub const SOFTWARE: Features = Features::DEFAULT
        .with(Feature::Broadcasts)
        .with(Feature::Textures)
        .with(Feature::HugeTiles)
        .with(Feature::SmallGroups);
    /// All that there are.
    pub const ALL: Features = Features((1 << Feature::ALL.len()) - 1);

    /// What is made use of unless somebody asks for something else, on an adapter that is itself a processor (`software`) or is none.
    pub const fn usual(software: bool) -> Features {
        if software {
            Features::SOFTWARE
        } else {
            Features::DEFAULT
        }
    }

    /// These, and `feature`.
    pub const fn with(self, feature: Feature) -> Features {
        Features(self.0 | 1 << feature as u16)
    }

    /// Whether `feature` is among them.
    pub const fn has(self, feature: Feature) -> bool {
        self.0 & 1 << feature as u16 != 0
    }

    /// These, but `feature`.
    pub const fn without(self, feature: Feature) -> Features {
        Features(self.0 & !(1 << feature as u16))
    }

    /// Those that are in both.
    pub const fn and(self, other: Features) -> Features {
        Features(self.0 & other.0)
    }

    /// Those that are in it, in the order of [`Feature::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Feature> {
        Feature::ALL.into_iter().filter(move |f| self.has(*f))
    }

    /// Their names, with commas between them.
    pub fn names(self) -> String {
        let names: Vec<&str> = self.iter().map(Feature::name).collect();
        names.join(",")
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
