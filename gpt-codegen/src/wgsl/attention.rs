//! Attention: how many invocations, and how they share keys and columns.

use gpt_plan::{Kernel, Mask, Phase};
use gpt_shaders as files;

use super::Context;
use super::header::Header;

/// Invocations that decode one query; keys are split among them.
const DECODE_LANES: u32 = 256;
/// Fewest invocations of a prompt's workgroup.
const PREFILL_LANES: u32 = 64;

pub fn kernel(context: &Context<'_>) -> Kernel {
    let spec = context.spec;
    // Heads are at most 256 wide (`check`), so a workgroup has an invocation for each column.
    let columns = spec.head_dim.next_power_of_two().max(16);
    let (lanes, queries) = match context.phase {
        Phase::Decode => (DECODE_LANES, 1),
        Phase::Prefill => (columns.max(PREFILL_LANES), 4),
    };
    let mut header = Header::new(&context.title(&format!(
        "{} heads of {} on {} of keys and values",
        spec.heads, spec.head_dim, spec.kv_heads
    )));
    header.size("HEAD_DIM", spec.head_dim, "width of a head");
    header.size("Q_WIDTH", spec.q_width(), "width of all query heads");
    header.size("KV_WIDTH", spec.kv_width(), "width of all key heads");
    header.size(
        "GROUP",
        spec.heads / spec.kv_heads,
        "query heads that share a head of keys and values",
    );
    let scale = 1.0 / f64::from(spec.head_dim).sqrt();
    header.number("SCALE", scale, "1 / sqrt(HEAD_DIM)");
    header.size("LANES", lanes, "invocations of a workgroup");
    header.size(
        "COLUMNS",
        columns,
        "invocations side by side on a row of values",
    );
    header.size("SLICES", lanes / columns, "such sets of invocations");
    let mut parts = vec![&files::ENTRY_PLAIN, &files::RUN];
    parts.push(match spec.mask {
        Mask::Causal => &files::ATTENTION_CAUSAL,
        Mask::Bidirectional => &files::ATTENTION_BIDIRECTIONAL,
    });
    parts.push(if queries == 1 {
        &files::ATTENTION_QUERIES_1
    } else {
        &files::ATTENTION_QUERIES_4
    });
    parts.push(if spec.head_dim.is_multiple_of(4) {
        &files::ATTENTION_KEYS_4
    } else {
        &files::ATTENTION_KEYS_1
    });
    parts.push(&files::MAXIMUM_MEMORY);
    parts.push(&files::ATTENTION);
    Kernel {
        name: format!("{}_{}", context.name, context.phase_name()).into(),
        header: header.finish().into(),
        parts: parts.into(),
        workgroup: lanes,
        tile_rows: queries,
        groups: spec.heads,
    }
}
