//! The bindings of a kernel, as its WGSL declares them.
//!
//! A binding is written once, as a global variable of a WGSL file. The variable's name says which
//! operand of the step it is; [`Operand::named`] is the only table of these names. The compiler
//! reads the declarations of a kernel's files into [`Kernel::bindings`](crate::Kernel::bindings)
//! and naga confirms the list, so an engine builds layouts and bind groups from the plan alone.

use serde::Serialize;

/// One binding of a kernel.
#[derive(Clone, Copy, Debug, Serialize, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Binding {
    /// `@group`: 0 for a session or a training pass, 1 for weights and, in training, for all
    /// operands of the step.
    pub group: u32,
    /// `@binding`.
    pub binding: u32,
    /// The operand that is bound.
    pub operand: Operand,
    /// How the kernel accesses it.
    pub access: Access,
}

impl Binding {
    /// A binding; the form in which the macro writes one.
    pub const fn new(group: u32, binding: u32, operand: Operand, access: Access) -> Binding {
        Binding { group, binding, operand, access }
    }

    /// Whether the kernel writes it.
    pub fn is_written(&self) -> bool {
        self.access == Access::ReadWrite
    }
}

/// How a kernel accesses a binding.
#[derive(Clone, Copy, Debug, Serialize, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Access {
    /// A uniform buffer.
    Uniform,
    /// A storage buffer that is read.
    Read,
    /// A storage buffer that is written, and possibly read.
    ReadWrite,
    /// A storage texture that is read.
    Texture,
}

/// `bindings` with the matrix as one storage texture, which takes the place of all its parts.
pub fn with_texture(bindings: &[Binding]) -> Vec<Binding> {
    let rest = |b: &&Binding| !matches!(b.operand, Operand::Weight(1..));
    let bindings = bindings.iter().filter(rest);
    let texture = |b: &Binding| match b.operand {
        Operand::Weight(_) => Binding { access: Access::Texture, ..*b },
        _ => *b,
    };
    bindings.map(texture).collect()
}

macro_rules! operands {
    ($($(#[$doc:meta])* $operand:ident = $($name:literal)|+,)*) => {
        /// An operand of a kernel. Which buffer it is depends on the step that runs the kernel.
        #[derive(Clone, Copy, Debug, Serialize, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Operand {
            $($(#[$doc])* $operand,)*
            /// A part of the step's matrix (`weight_0`, ...). Part 0 also stands for the whole
            /// matrix as a texture (`weight_texture`), and for the slice of it that a training
            /// kernel reads (`weight_matrix`, `table`).
            Weight(u32),
        }

        impl Operand {
            /// The operand that a WGSL variable called `name` declares.
            pub fn named(name: &str) -> Option<Operand> {
                Some(match name {
                    $($($name)|+ => Operand::$operand,)*
                    "table" | "weight_texture" | "weight_matrix" => Operand::Weight(0),
                    _ => Operand::Weight(name.strip_prefix("weight_")?.parse().ok()?),
                })
            }
        }
    };
}

operands! {
    /// Position and rows of the pass.
    PassUniform = "pass_uniform",
    /// Position and rows of the head in the next pass, which sampling writes.
    HeadPassUniform = "head_pass_uniform",
    /// Options of sampling.
    Sampling = "sampling",
    /// In training, the rows of a matrix and the dropout site that a dispatch works on.
    StepUniform = "step_uniform",
    /// Hyperparameters of an optimizer step.
    Update = "update",
    /// The range of parameters that a dispatch of the optimizer works on.
    ParameterRange = "region",

    /// Input of the step: the residual stream, or the rows that a training step reads.
    X = "x",
    /// Input of a projection that also reads the residual stream.
    Activations = "activations",
    /// Output of the step: the residual stream, or the rows that a training step writes.
    Out = "out",
    /// Tokens of the pass.
    Tokens = "tokens",
    /// Target of each token.
    Targets = "targets",
    /// Queries.
    Q = "q",
    /// Keys of the layer's cache.
    KCache = "k_cache",
    /// Values of the layer's cache.
    VCache = "v_cache",
    /// Queries, keys and values in training.
    Qkv = "qkv",
    /// Output of the attention.
    A = "a",
    /// Partial results of attention, each over a share of the keys.
    SplitSums = "split_sums",
    /// Log-sum-exp of each query's scores.
    Lse = "lse",
    /// Output of the MLP's activation.
    H = "h",
    /// Derivative of the activation at each input.
    Slopes = "slopes",
    /// Mean and reciprocal deviation of each row.
    Stats = "stats",
    /// The residual that a projection's output is added to.
    Residual = "residual",
    /// Output of a projection that stores its product: logits, or rows before their norm.
    Product = "product",
    /// Logits.
    Logits = "logits",
    /// Loss of each row.
    Losses = "losses",

    /// Greatest logit of each tile of the vocabulary.
    TileMaxima = "tile_maxima",
    /// Histogram of the logits below the greatest one.
    Histogram = "histogram",
    /// Candidates for the next token.
    Candidates = "candidates",
    /// Tokens that were sampled.
    Sampled = "sampled",

    /// Gradient of the step's output.
    Dy = "dy" | "dx",
    /// Gradient of the attention's output.
    Da = "da",
    /// Row sums of the attention's output times its gradient.
    Delta = "delta",
    /// Gradient of queries, keys and values.
    DQkv = "d_qkv",
    /// Gradient of the MLP's first projection.
    DUp = "d_up",

    /// The block of all vectors of a layer, or of the model.
    Vectors = "vectors",
    /// Scale of a norm.
    Gamma = "gamma_vector",
    /// Shift of a norm.
    Beta = "beta_vector",
    /// Bias of a projection.
    Bias = "bias_vector",
    /// Embedding of positions.
    Positions = "positions",
    /// Embedding of token types.
    TokenTypes = "token_types",
    /// Rotary angles, as sine and cosine.
    Angles = "angles",
    /// The second half of a gated matrix.
    SecondWeight = "second_weight_matrix",

    /// Gradient of the matrix slice.
    DWeight = "d_weight" | "d_table",
    /// Gradient of a norm's scale.
    DGamma = "d_gamma",
    /// Gradient of a norm's shift.
    DBeta = "d_beta",
    /// Gradient of a bias.
    DBias = "d_bias",
    /// Gradient of the embedding of positions.
    DPositions = "d_positions",

    /// A flat buffer of gradients.
    Gradients = "gradients",
    /// A flat buffer of parameters.
    Parameters = "parameters",
    /// A flat buffer of AdamW's first moments.
    FirstMoments = "first_moments",
    /// A flat buffer of AdamW's second moments.
    SecondMoments = "second_moments",
    /// Sums of squares of the gradients.
    SquareSums = "square_sums",
}

/// How the workgroups of a dispatch cover its work. `groups` and `tile_rows` are the kernel's.
#[derive(Clone, Copy, Debug, Serialize, PartialEq, Eq, Hash)]
pub enum Grid {
    /// `groups` along x, the pass's rows along y, `tile_rows` each.
    Rows,
    /// `groups` (heads) along x, a sequence's tokens along y, `tile_rows` each, sequences along z.
    Sequences,
    /// `groups` along x, a sequence's tokens along y, `tile_rows` each.
    Tokens,
    /// `groups` along x, `tile_rows` along y, whatever the pass.
    Fixed,
    /// Rows of the matrix slice along x, this many each; the pass's rows along y, `tile_rows` each.
    Features(u32),
    /// `groups` along x, rows of the matrix slice along y, `tile_rows` each.
    WeightRows,
    /// Elements of the range along x, this many each.
    Elements(u32),
    /// `groups` (heads) along x, shares of this many keys along z.
    Keys(u32),
}

/// The extent of the work of a dispatch, for [`Grid::workgroups`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// Rows of the pass.
    pub rows: u32,
    /// Tokens of a sequence.
    pub tokens: u32,
    /// Keys that the last row attends to.
    pub keys: u32,
    /// Rows of the matrix slice, or elements of the range of parameters.
    pub slice: u32,
}

impl Grid {
    /// Workgroups along x, y and z.
    pub fn workgroups(self, groups: u32, tile_rows: u32, extent: &Extent) -> [u32; 3] {
        let tiles = |rows: u32| rows.div_ceil(tile_rows);
        match self {
            Grid::Rows => [groups, tiles(extent.rows), 1],
            Grid::Sequences => {
                let sequences = extent.rows / extent.tokens;
                [groups, tiles(extent.tokens), sequences]
            }
            Grid::Tokens => [groups, tiles(extent.tokens), 1],
            Grid::Fixed => [groups, tile_rows, 1],
            Grid::Features(each) => [extent.slice.div_ceil(each), tiles(extent.rows), 1],
            Grid::WeightRows => [groups, tiles(extent.slice), 1],
            Grid::Elements(each) => [extent.slice.div_ceil(each), 1, 1],
            Grid::Keys(each) => [groups, 1, extent.keys.div_ceil(each)],
        }
    }
}
