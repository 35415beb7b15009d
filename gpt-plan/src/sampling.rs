//! Sampling of the next token on a GPU: steps after the head, one dispatch each.
//!
//! The steps read the logits of one row and write the token as input of the next pass, so that the
//! host can submit many tokens at once. Temperature, top-k, top-p and min-p are set at run time;
//! the sizes of the model are literals in the kernels.

/// The largest number of stop tokens that the GPU checks. At any other stop token, passes continue
/// until the host has read it.
pub const MAX_STOPS: usize = 16;

/// A sampling step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SamplingOp {
    /// Finds the greatest logit of each tile of the vocabulary, with Gumbel noise if no cut
    /// applies.
    Greatest,
    /// Takes the greatest logit of all tiles.
    Take,
    /// Builds a histogram of the tokens by distance below the greatest logit, with their weights.
    Count,
    /// Lists the tokens that the cuts may keep.
    Collect,
    /// Applies the cuts to the list exactly, and draws a token.
    Draw,
}

impl SamplingOp {
    /// All steps, in the order of [`Plan::sampling`](crate::Plan::sampling).
    pub const ALL: [SamplingOp; 5] = [
        SamplingOp::Greatest,
        SamplingOp::Take,
        SamplingOp::Count,
        SamplingOp::Collect,
        SamplingOp::Draw,
    ];

    /// The steps without cuts: they take the likeliest token, or draw from all tokens.
    pub const FULL_VOCABULARY: &[SamplingOp] = &[SamplingOp::Greatest, SamplingOp::Take];

    /// The steps with a cut: top-k, top-p or min-p.
    pub const TRUNCATED: &[SamplingOp] =
        &[SamplingOp::Greatest, SamplingOp::Count, SamplingOp::Collect, SamplingOp::Draw];

    /// The name for users, and of the kernel.
    pub const fn name(self) -> &'static str {
        match self {
            SamplingOp::Greatest => "greatest",
            SamplingOp::Take => "take",
            SamplingOp::Count => "count",
            SamplingOp::Collect => "collect",
            SamplingOp::Draw => "draw",
        }
    }
}
