//! Features: adapter capabilities and preferences that kernels have variants for.

/// A reason for a variant of a kernel: a capability beyond WebGPU's core, or another algorithm that
/// is faster on some adapters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Feature {
    /// Sums and maxima over subgroups of at least eight invocations.
    Subgroups,
    /// Inputs that all invocations share are broadcast within a subgroup of at least eight, instead
    /// of being read from memory by each invocation.
    Broadcasts,
    /// Matrices in read-only storage textures instead of buffers. They fit WebGPU's default limits
    /// (reading them is a WGSL language extension that browsers have). Faster on software adapters.
    Textures,
    /// Double-buffered inputs: one buffer is filled while the other is multiplied. Any adapter can
    /// use them.
    DoubleBuffers,
    /// Workgroups that compute half as many output features. Any adapter runs them.
    SmallTiles,
    /// Workgroups that compute twice as many output features. Any adapter runs them.
    LargeTiles,
    /// Decoding workgroups that compute eight strips of output features, so that an input is read
    /// once for all of them. Any adapter runs them. Faster on software adapters.
    HugeTiles,
    /// Decoding attention with workgroups of 64 invocations instead of 256. Any adapter runs them.
    /// Faster on software adapters.
    SmallGroups,
    /// Dot products of four bytes, for quantised weights: inputs are quantised to bytes. Any
    /// adapter runs them, and most have an instruction for them.
    PackedDot,
    /// Prefill in f16 arithmetic, for f16 weights: inputs are rounded to f16, and so are sums of up
    /// to 32 products.
    F16Arithmetic,
    /// Prefill with cooperative matrices, for f16 weights: subgroups of 32 multiply 16 x 16
    /// matrices, f16 with f32 sums; inputs are rounded to f16. wgpu calls it experimental.
    CooperativeMatrices,
}

impl Feature {
    /// All features.
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

    /// The name for users.
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

    /// Whether WebGPU's core is enough for this feature.
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

    /// Whether results differ by more than the order of sums, since inputs are rounded. Such a
    /// variant is only used on request.
    pub const fn rounds(self) -> bool {
        matches!(self, Feature::PackedDot | Feature::F16Arithmetic | Feature::CooperativeMatrices)
    }
}

/// A set of features.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Features(u16);

impl Features {
    /// No features: the plain kernels.
    pub const NONE: Features = Features(0);
    /// The default: subgroups, which do not round. Which tile is the fastest depends on the
    /// adapter; the compiler's choice is used unless tuning has found a faster one.
    pub const DEFAULT: Features = Features::NONE.with(Feature::Subgroups);
    /// The default of a software adapter (lavapipe, WARP), where reads are the bottleneck,
    /// including those from workgroup memory.
    pub const SOFTWARE: Features = Features::DEFAULT
        .with(Feature::Broadcasts)
        .with(Feature::Textures)
        .with(Feature::HugeTiles)
        .with(Feature::SmallGroups);
    /// All features.
    pub const ALL: Features = Features((1 << Feature::ALL.len()) - 1);

    /// The default of an adapter. `software` says whether it runs on a CPU.
    pub const fn usual(software: bool) -> Features {
        if software { Features::SOFTWARE } else { Features::DEFAULT }
    }

    /// The set with `feature`.
    pub const fn with(self, feature: Feature) -> Features {
        Features(self.0 | 1 << feature as u16)
    }

    /// Whether the set has `feature`.
    pub const fn has(self, feature: Feature) -> bool {
        self.0 & 1 << feature as u16 != 0
    }

    /// The set without `feature`.
    pub const fn without(self, feature: Feature) -> Features {
        Features(self.0 & !(1 << feature as u16))
    }

    /// The intersection of both sets.
    pub const fn and(self, other: Features) -> Features {
        Features(self.0 & other.0)
    }

    /// The features of the set, in the order of [`Feature::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Feature> {
        Feature::ALL.into_iter().filter(move |f| self.has(*f))
    }

    /// The names of the features, separated by commas.
    pub fn names(self) -> String {
        let names: Vec<&str> = self.iter().map(Feature::name).collect();
        names.join(",")
    }

    /// Parses names separated by commas; an empty string is the empty set.
    pub fn parse(names: &str) -> Option<Features> {
        let names = names.split(',').map(str::trim).filter(|n| !n.is_empty());
        names.into_iter().try_fold(Features::NONE, |set, name| {
            let feature = Feature::ALL.into_iter().find(|f| f.name() == name)?;
            Some(set.with(feature))
        })
    }
}
