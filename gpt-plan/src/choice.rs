//! How a GPU chooses the next token: steps after the head, one dispatch each.
//!
//! They read the logits of one row and leave a token where the next pass finds it, so that many tokens can be submitted at once. What temperature, top-k,
//! top-p and min-p are is told at run time; the kernels, like the model's, have its sizes as literals.

/// Tokens that end a text on the GPU at once. Whoever asks for more gets them, but passes go on until the host has seen the token.
pub const MAX_STOPS: usize = 16;

/// A step of the choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChoiceOp {
    /// Of each tile of the vocabulary the greatest logit, with noise if nothing is to be cut.
    Greatest,
    /// The greatest of these is the token.
    Take,
    /// How many tokens there are at which distance below the greatest, and of what weight.
    Count,
    /// Lists the tokens that the cuts may leave.
    Collect,
    /// Cuts them exactly, and draws one.
    Draw,
}

impl ChoiceOp {
    /// All steps, in the order of [`Plan::choice`](crate::Plan::choice).
    pub const ALL: [ChoiceOp; 5] = [
        ChoiceOp::Greatest,
        ChoiceOp::Take,
        ChoiceOp::Count,
        ChoiceOp::Collect,
        ChoiceOp::Draw,
    ];

    /// What runs if nothing is cut: the likeliest token is taken, or one of all is drawn.
    pub const WHOLE: &[ChoiceOp] = &[ChoiceOp::Greatest, ChoiceOp::Take];

    /// What runs under top-k, top-p or min-p.
    pub const CUT: &[ChoiceOp] = &[
        ChoiceOp::Greatest,
        ChoiceOp::Count,
        ChoiceOp::Collect,
        ChoiceOp::Draw,
    ];

    /// Name for people, and of the kernel.
    pub const fn name(self) -> &'static str {
        match self {
            ChoiceOp::Greatest => "greatest",
            ChoiceOp::Take => "take",
            ChoiceOp::Count => "count",
            ChoiceOp::Collect => "collect",
            ChoiceOp::Draw => "draw",
        }
    }
}
