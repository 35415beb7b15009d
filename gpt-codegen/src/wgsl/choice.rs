//! The choice of the next token: how the vocabulary is shared out, and how finely tokens are sorted by their distance below the greatest logit.

use gpt_plan::{ChoiceOp, Grid, Kernel, Spec};
use gpt_shaders as files;

use super::bindings::bindings;
use super::header::Header;

/// Invocations of a workgroup; `sample/threshold.wgsl` has a digit for each.
const LANES: u32 = 256;

/// Tokens that a workgroup looks at: enough for its invocations to have reads under way, few enough for GPT-2's vocabulary to keep 25 workgroups busy.
const TILE: u32 = 2048;

/// Distances that are told apart before single tokens are: 16 to each power of two, from 2^-16 to 2^16.
const BINS: u32 = 512;

/// What buffers need to know of it.
pub struct ChoiceSizes {
    /// Workgroups that share the vocabulary.
    pub tiles: u32,
    pub bins: u32,
}

impl ChoiceSizes {
    pub fn new(spec: &Spec) -> ChoiceSizes {
        ChoiceSizes {
            tiles: spec.vocab.div_ceil(TILE),
            bins: BINS,
        }
    }
}

/// The kernel of a step.
pub fn kernel(model: &str, spec: &Spec, op: ChoiceOp) -> Kernel {
    let sizes = ChoiceSizes::new(spec);
    let mut header = Header::new(&format!(
        "{model}: {}, for the choice among {} tokens.",
        op.name(),
        spec.vocab
    ));
    header.size("VOCAB", spec.vocab, "tokens");
    header.size("LANES", LANES, "invocations of a workgroup");
    header.size("TILE", TILE, "tokens that a workgroup looks at");
    header.size("TILES", sizes.tiles, "such workgroups");
    header.size("BINS", sizes.bins, "distances that are told apart");
    header.size("BIN_BITS", 19, "bits of a distance that are not");
    header.size("FIRST_BIN", (127 - 16) << 4, "the bits above, of 2^-16");
    // The weights of all tokens have to add up to less than 2^32.
    let bits = (u32::MAX / spec.vocab).ilog2().min(20);
    header.number(
        "UNIT",
        f64::from(1u32 << bits),
        "a bin's greatest weight, in which the others are counted",
    );
    let mut parts = vec![
        &files::SAMPLE_OPTIONS,
        &files::SAMPLE_ORDER,
        &files::SAMPLE_BEST,
    ];
    match op {
        ChoiceOp::Greatest => {
            parts.extend([&files::RUN, &files::SAMPLE_NOISE, &files::SAMPLE_GREATEST])
        }
        ChoiceOp::Take => parts.extend([
            &files::SAMPLE_ADVANCE,
            &files::SAMPLE_TOPS,
            &files::SAMPLE_TAKE,
        ]),
        ChoiceOp::Count => parts.extend([
            &files::RUN,
            &files::SAMPLE_TOPS,
            &files::SAMPLE_BINS,
            &files::SAMPLE_COUNT,
        ]),
        ChoiceOp::Collect => parts.extend([
            &files::RUN,
            &files::SAMPLE_TOPS,
            &files::SAMPLE_BINS,
            &files::SAMPLE_CUTS,
            &files::SAMPLE_COLLECT,
        ]),
        ChoiceOp::Draw => parts.extend([
            &files::SAMPLE_ADVANCE,
            &files::SAMPLE_NOISE,
            &files::SAMPLE_BINS,
            &files::SAMPLE_CUTS,
            &files::SAMPLE_THRESHOLD,
            &files::SAMPLE_DRAW,
        ]),
    }
    Kernel {
        name: op.name().into(),
        header: header.finish().into(),
        grid: Grid::Rows,
        bindings: bindings(&parts),
        parts: parts.into(),
        workgroup: LANES,
        tile_rows: 1,
        strips: 0,
        groups: match op {
            ChoiceOp::Take | ChoiceOp::Draw => 1,
            ChoiceOp::Greatest | ChoiceOp::Count | ChoiceOp::Collect => sizes.tiles,
        },
    }
}
