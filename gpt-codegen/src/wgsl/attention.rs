//! Attention: how many invocations, and how they share keys and columns.

use gpt_plan::{ATTENTION_PART, Grid, Kernel, Mask, Phase, SPLIT_FROM, Spec};
use gpt_shaders::{self as files, Source};

use super::Context;
use super::bindings::bindings;
use super::header::Header;

/// Invocations that decode one query; keys are split among them.
const DECODE_LANES: u32 = 256;
/// Of the variant that has few.
const SMALL_LANES: u32 = 64;
/// Fewest invocations of a prompt's workgroup.
const PREFILL_LANES: u32 = 64;

/// The kernel of all keys.
pub fn kernel(context: &Context<'_>) -> Kernel {
    let spec = context.spec;
    let (lanes, queries) = match context.phase {
        Phase::Decode => (DECODE_LANES, 1),
        Phase::Prefill => (columns(spec).max(PREFILL_LANES), 4),
    };
    let title = context.title(&heads(spec));
    let name = format!("{}_{}", context.name, context.phase_name());
    over(spec, name, &title, lanes, queries, &files::ATTENTION_WHOLE)
}

/// The kernels of attention in parts, where a token may see so many keys: that of a part, and that which puts them together.
pub fn split(model: &str, spec: &Spec) -> Option<[Kernel; 2]> {
    if spec.mask != Mask::Causal || spec.context <= SPLIT_FROM {
        return None;
    }
    let title = format!(
        "{model}: attention for one token, a part of the keys, {}.",
        heads(spec)
    );
    let name = "attention_part".to_owned();
    let part = over(spec, name, &title, DECODE_LANES, 1, &files::ATTENTION_PART);
    let part = Kernel {
        grid: Grid::Keys(ATTENTION_PART),
        ..part
    };
    let mut header = Header::new(&format!("{model}: what attention's parts gathered."));
    sizes(&mut header, spec);
    header.size("LANES", columns(spec), "invocations of a workgroup");
    let parts = vec![&files::RUN, &files::ATTENTION_JOIN];
    let join = Kernel {
        name: "attention_join".into(),
        header: header.finish().into(),
        grid: Grid::Rows,
        bindings: bindings(&parts),
        parts: parts.into(),
        workgroup: columns(spec),
        tile_rows: 1,
        groups: spec.heads,
        strips: 0,
    };
    Some([part, join])
}

/// Invocations side by side on a row of values: a workgroup has one for each column, as heads are at most 256 wide (`check`).
fn columns(spec: &Spec) -> u32 {
    spec.head_dim.next_power_of_two().max(16)
}

fn heads(spec: &Spec) -> String {
    format!(
        "{} heads of {} on {} of keys and values",
        spec.heads, spec.head_dim, spec.kv_heads
    )
}

fn sizes(header: &mut Header, spec: &Spec) {
    header.size("HEAD_DIM", spec.head_dim, "width of a head");
    header.size("HEADS", spec.heads, "query heads");
    header.size("PART", ATTENTION_PART, "keys of a part");
    header.size("Q_WIDTH", spec.q_width(), "width of all query heads");
}

/// The kernel over the keys that `reach` gives a workgroup.
fn over(
    spec: &Spec,
    name: String,
    title: &str,
    lanes: u32,
    queries: u32,
    reach: &'static Source,
) -> Kernel {
    let columns = columns(spec);
    let mut header = Header::new(title);
    sizes(&mut header, spec);
    header.size("KV_WIDTH", spec.kv_width(), "width of all key heads");
    header.size(
        "GROUP",
        spec.heads / spec.kv_heads,
        "query heads that share a head of keys and values",
    );
    let scale = 1.0 / f64::from(spec.head_dim).sqrt();
    header.number("SCALE", scale, "1 / sqrt(HEAD_DIM)");
    header.size(
        "COLUMNS",
        columns,
        "invocations side by side on a row of values",
    );
    let mut parts = vec![&files::ENTRY_PLAIN, &files::RUN];
    if lanes == DECODE_LANES && columns <= SMALL_LANES {
        parts.push(&files::LANES_256);
    } else {
        header.size("LANES", lanes, "invocations of a workgroup");
    }
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
    parts.push(reach);
    parts.extend([&files::MAXIMUM_MEMORY, &files::EIGHT_MEMORY]);
    parts.push(&files::ATTENTION);
    Kernel {
        name: name.into(),
        header: header.finish().into(),
        grid: Grid::Rows,
        bindings: bindings(&parts),
        parts: parts.into(),
        workgroup: lanes,
        tile_rows: queries,
        groups: spec.heads,
        strips: 0,
    }
}
