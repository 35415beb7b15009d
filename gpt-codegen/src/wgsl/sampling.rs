//! Sampling of the next token: the tiles of the vocabulary, one for each workgroup, and the bins of
//! a histogram by distance below the greatest logit.

use gpt_plan::{Kernel, SamplingOp, Spec};
use gpt_shaders::files;

use super::header::Header;

/// Invocations of a workgroup. In `sampling/threshold`, each has one of the 256 values of a digit.
const WORKGROUP: u32 = 256;

/// Tokens of a workgroup: enough for its invocations to have reads in flight, few enough for the
/// vocabulary of GPT-2 to occupy 25 workgroups.
const TILE: u32 = 2048;

/// Bins of distances: 16 for each power of two from 2^-16 to 2^16.
const BINS: u32 = 512;

/// The sizes that buffers depend on.
pub struct SamplingSizes {
    /// Workgroups that share the vocabulary.
    pub tiles: u32,
    /// Bins of the histogram of distances below the greatest logit.
    pub bins: u32,
}

impl SamplingSizes {
    /// The sizes for the vocabulary of `spec`.
    pub fn new(spec: &Spec) -> SamplingSizes {
        SamplingSizes { tiles: spec.vocab.div_ceil(TILE), bins: BINS }
    }
}

/// The kernel of a sampling step.
pub fn kernel(model: &str, spec: &Spec, op: SamplingOp) -> Kernel {
    let sizes = SamplingSizes::new(spec);
    let mut header =
        Header::new(&format!("{model}: {}, sampling from {} tokens.", op.name(), spec.vocab));
    header.size("VOCAB", spec.vocab, "tokens");
    header.size("WORKGROUP_SIZE", WORKGROUP, "invocations of a workgroup");
    header.size("TILE", TILE, "tokens of a workgroup");
    header.size("TILES", sizes.tiles, "workgroups");
    header.size("BINS", sizes.bins, "bins of distances");
    header.size("BIN_BITS", 19, "bits of a distance within a bin");
    header.size("FIRST_BIN", (127 - 16) << 4, "the leading bits of 2^-16");
    // The weights of all tokens add up to less than 2^32.
    let bits = (u32::MAX / spec.vocab).ilog2().min(20);
    header.number("UNIT", f64::from(1u32 << bits), "units of the weight at the beginning of a bin");
    let mut files = vec![
        files::SHARED_ENTRY_PLAIN,
        files::SAMPLING_OPTIONS,
        files::SAMPLING_ORDER,
        files::SAMPLING_BEST,
    ];
    match op {
        SamplingOp::Greatest => {
            files.extend([files::SHARED_PASS, files::SAMPLING_NOISE, files::SAMPLING_GREATEST])
        }
        SamplingOp::Take => files.extend([
            files::SAMPLING_ADVANCE,
            files::SAMPLING_TILE_MAXIMA,
            files::SAMPLING_TAKE,
        ]),
        SamplingOp::Count => files.extend([
            files::SHARED_PASS,
            files::SAMPLING_TILE_MAXIMA,
            files::SAMPLING_BINS,
            files::SAMPLING_COUNT,
        ]),
        SamplingOp::Collect => files.extend([
            files::SHARED_PASS,
            files::SAMPLING_TILE_MAXIMA,
            files::SAMPLING_BINS,
            files::SAMPLING_CUTS,
            files::SAMPLING_COLLECT,
        ]),
        SamplingOp::Draw => files.extend([
            files::SAMPLING_ADVANCE,
            files::SAMPLING_NOISE,
            files::SAMPLING_BINS,
            files::SAMPLING_CUTS,
            files::SAMPLING_THRESHOLD,
            files::SAMPLING_DRAW,
        ]),
    }
    Kernel {
        workgroup: WORKGROUP,
        groups: match op {
            SamplingOp::Take | SamplingOp::Draw => 1,
            SamplingOp::Greatest | SamplingOp::Count | SamplingOp::Collect => sizes.tiles,
        },
        ..header.kernel(op.name(), files)
    }
}
