//! Attention: over the cache in inference, over whole sequences in training.

use gpt_plan::{BufferId, Grid, Kernel, Mask, Phase, SPLIT_FROM, SPLIT_KEYS, Scores, Spec};
use gpt_shaders::files;

use super::Context;
use super::header::{Files, Header};
use super::matmul::rope;
use super::training::{Tiling, TrainKernels, WORKGROUP};

/// Invocations that decode one query; its keys are divided among them.
const DECODE_WORKGROUP: u32 = 256;
/// Invocations in the variant with small workgroups.
const SMALL_WORKGROUP: u32 = 64;
/// Fewest invocations of a prefill workgroup.
const PREFILL_WORKGROUP: u32 = 64;

/// Queries, or keys, of a workgroup in training. The WGSL has this number built in.
const TRAIN_QUERIES: u32 = 4;

/// The kernel of attention over all keys that a query sees.
pub fn kernel(context: &Context<'_>, scores: &Scores) -> Kernel {
    let spec = context.spec;
    let (workgroup, queries) = match context.phase {
        Phase::Decode => (DECODE_WORKGROUP, 1),
        Phase::Prefill => (columns(spec).max(PREFILL_WORKGROUP), 4),
    };
    let title = context.title(&heads(spec));
    let name = format!("{}_{}", context.name, context.phase_name());
    let keys = files::ATTENTION_ALL_KEYS;
    cached(spec, name, &title, scores, [workgroup, queries], keys)
}

/// The two kernels of split attention, which decodes a token with the keys of a long cache divided
/// over several workgroups: one attends to a split of the keys, the other merges the splits. None
/// if the context has at most [`SPLIT_FROM`] tokens, if the scores differ between layers, or if the
/// attention has a window or is not causal.
pub fn split(model: &str, spec: &Spec) -> Option<[Kernel; 2]> {
    // One pair of kernels serves all layers, and a window is short.
    let scores = spec.scores(0);
    let alike = (0..spec.period().min(spec.layers)).all(|layer| spec.scores(layer) == scores);
    if !alike || !spec.is_causal() || scores.window.is_some() || spec.context <= SPLIT_FROM {
        return None;
    }
    let title = format!("{model}: attention for one token, a split of the keys, {}.", heads(spec));
    let name = "attention_split".to_owned();
    let keys = files::ATTENTION_KEY_SPLIT;
    let split = cached(spec, name, &title, &scores, [DECODE_WORKGROUP, 1], keys);
    let split = Kernel { grid: Grid::Keys(SPLIT_KEYS), ..split };
    let mut header = Header::new(&format!("{model}: attention, the splits merged."));
    sizes(&mut header, spec);
    let doc = "invocations of a workgroup";
    header.size("WORKGROUP_SIZE", columns(spec), doc);
    let files = vec![files::SHARED_PASS, files::ATTENTION_MERGE_SPLITS];
    let merge = Kernel {
        workgroup: columns(spec),
        groups: spec.heads,
        ..header.kernel("attention_merge", files)
    };
    Some([split, merge])
}

/// Invocations side by side on a row of values, one for each column; [`crate::check`] limits a head
/// to 256 columns.
fn columns(spec: &Spec) -> u32 {
    spec.head_dim.next_power_of_two().max(16)
}

fn heads(spec: &Spec) -> String {
    let Spec { heads, kv_heads, head_dim, .. } = spec;
    format!("{heads} query heads, {kv_heads} of keys and values, {head_dim} wide")
}

fn sizes(header: &mut Header, spec: &Spec) {
    header.size("HEAD_DIM", spec.head_dim, "width of a head");
    header.size("HEADS", spec.heads, "query heads");
    header.size("SPLIT_KEYS", SPLIT_KEYS, "keys of a split");
    header.size("Q_WIDTH", spec.q_width(), "width of all query heads");
}

/// The sizes that inference and training share.
fn head_sizes(header: &mut Header, spec: &Spec, scores: &Scores) {
    header.size("KV_WIDTH", spec.kv_width(), "width of all key heads");
    let group = spec.heads / spec.kv_heads;
    header.size("GROUP", group, "query heads that share a key head");
    let doc = match spec.attention_scale {
        None => "1 / sqrt(HEAD_DIM)",
        Some(_) => "factor of the products of queries and keys",
    };
    header.number("SCALE", scores.scale, doc);
    if let Some(window) = scores.window {
        let doc = "the distance below which a query attends to a key";
        header.size("WINDOW", window, doc);
    }
    if let Some(softcap) = scores.softcap {
        header.number("SOFTCAP", softcap, "bound of the scores");
    }
    if scores.alibi.is_some() {
        header.function("alibi_slope", "The slope of a head.", &slopes(spec, scores));
    }
}

/// A WGSL function that returns the ALiBi slope of a head.
fn slopes(spec: &Spec, scores: &Scores) -> String {
    let cases: String = (0..spec.heads)
        .map(|head| {
            let slope = scores.slope(head, spec.heads) as f32;
            format!("        case {head}u: {{ return {slope:?}; }}\n")
        })
        .collect();
    format!(
        "fn alibi_slope(head: u32) -> f32 {{\n    switch head {{\n{cases}        default: {{ return \
         0.0; }}\n    }}\n}}"
    )
}

/// The files that say which keys a query sees and how a product becomes a score.
fn score_files(scores: &Scores) -> [&'static str; 3] {
    let mask = match (scores.mask, scores.window) {
        (Mask::Causal, None) => files::ATTENTION_MASK_CAUSAL,
        (Mask::Causal, Some(_)) => files::ATTENTION_MASK_CAUSAL_WINDOW,
        (Mask::Bidirectional, None) => files::ATTENTION_MASK_BIDIRECTIONAL,
        (Mask::Bidirectional, Some(_)) => files::ATTENTION_MASK_BIDIRECTIONAL_WINDOW,
    };
    let score = match scores.softcap {
        None => files::ATTENTION_SCORE_PLAIN,
        Some(_) => files::ATTENTION_SCORE_SOFTCAP,
    };
    let bias = match scores.alibi {
        None => files::ATTENTION_BIAS_NONE,
        Some(_) => files::ATTENTION_BIAS_ALIBI,
    };
    [mask, score, bias]
}

/// The kernel over the cache; `keys` is the file that gives a workgroup its keys.
fn cached(
    spec: &Spec,
    name: String,
    title: &str,
    scores: &Scores,
    [workgroup, queries]: [u32; 2],
    keys: &'static str,
) -> Kernel {
    let columns = columns(spec);
    let mut header = Header::new(title);
    sizes(&mut header, spec);
    head_sizes(&mut header, spec, scores);
    let doc = "invocations side by side on a row of values";
    header.size("COLUMNS", columns, doc);
    let mut files = vec![files::SHARED_ENTRY_PLAIN, files::SHARED_PASS];
    if workgroup == DECODE_WORKGROUP && columns <= SMALL_WORKGROUP {
        files.push(files::SHARED_WORKGROUP_SIZE_256);
    } else {
        header.size("WORKGROUP_SIZE", workgroup, "invocations of a workgroup");
    }
    files.extend(score_files(scores));
    files.extend([
        if queries == 1 { files::ATTENTION_QUERIES_1 } else { files::ATTENTION_QUERIES_4 },
        if spec.head_dim.is_multiple_of(4) {
            files::ATTENTION_KEYS_4
        } else {
            files::ATTENTION_KEYS_1
        },
        keys,
        files::SHARED_MAXIMUM_MEMORY,
        files::SHARED_READ_MEMORY,
        files::ATTENTION_CACHED,
    ]);
    Kernel { workgroup, tile_rows: queries, groups: spec.heads, ..header.kernel(name, files) }
}

impl TrainKernels<'_> {
    /// The kernel of the forward pass.
    pub(super) fn attention(&mut self, scores: &Scores) -> u16 {
        let mut files = self.score_and_dropout_files(scores);
        files.extend(self.read_files(false));
        files.extend([
            files::SHARED_MAXIMUM_MEMORY,
            files::SHARED_READ_MEMORY,
            files::ATTENTION_TILE,
            files::ATTENTION_FORWARD,
        ]);
        let (header, tiling) = self.heads("attention", scores, self.spec.heads);
        self.add("attention", header, files, tiling)
    }

    /// The kernels of the backward pass: delta, the gradient of queries, and that of keys and
    /// values.
    pub(super) fn attention_backward(&mut self, scores: &Scores, rotary: Option<u16>) -> Vec<u16> {
        let spec = self.spec;
        let (header, tiling) = self.heads("delta, which softmax's gradient subtracts", scores, 1);
        let by_row = Tiling { grid: Grid::Rows, rows: 1, ..tiling };
        let delta = vec![files::ATTENTION_BACKWARD_DELTA];
        let delta = self.add("attention_delta", header, delta, by_row);
        let files = |kernel, header: &mut Header| {
            let mut files = self.score_and_dropout_files(scores);
            rope(spec, rotary, header, &mut files);
            files.extend(self.read_files(true));
            files.extend([files::SHARED_READ_MEMORY, files::ATTENTION_TILE, kernel]);
            files
        };
        let (mut header, tiling) = self.heads("the gradient of queries", scores, spec.heads);
        let queries = files(files::ATTENTION_BACKWARD_QUERIES, &mut header);
        let (mut keys_header, keys_tiling) =
            self.heads("the gradient of keys and values", scores, spec.kv_heads);
        let keys = files(files::ATTENTION_BACKWARD_KEYS, &mut keys_header);
        let queries = self.add("attention_queries", header, queries, tiling);
        let keys = self.add("attention_keys", keys_header, keys, keys_tiling);
        vec![delta, queries, keys]
    }

    /// The first files of the kernels that compute scores.
    fn score_and_dropout_files(&self, scores: &Scores) -> Files {
        let mut files = vec![files::SHARED_ENTRY_PLAIN, files::SHARED_TRAIN_PASS];
        files.extend(score_files(scores));
        files.push(self.dropout_file());
        files
    }

    /// The files that read rows of queries, keys and values and, if `gradient` is true, of the
    /// output's gradient.
    fn read_files(&self, gradient: bool) -> Files {
        let (qkv, da, shared) = if self.spec.head_dim.is_multiple_of(4) {
            (files::ATTENTION_QKV_QUADS, files::ATTENTION_DA_QUADS, None)
        } else {
            let shared = Some(files::ATTENTION_SINGLE);
            (files::ATTENTION_QKV_SINGLE, files::ATTENTION_DA_SINGLE, shared)
        };
        let da = gradient.then_some(da);
        [qkv].into_iter().chain(da).chain(shared).collect()
    }

    fn heads(&self, what: &str, scores: &Scores, groups: u32) -> (Header, Tiling) {
        let spec = self.spec;
        // [`crate::check`] limits a head to 256 columns, so the 64 invocations of a workgroup
        // suffice for one row, four columns each. A row has at least eight of them, so that
        // eight neighbours are always on one row: they read its weights together (`shared_read`).
        let row_invocations = spec.head_dim.div_ceil(4).next_power_of_two().max(8);
        let mut header = self.header(what);
        header.size("HEAD_DIM", spec.head_dim, "width of a head");
        header.size("HEADS", spec.heads, "query heads");
        header.size("Q_WIDTH", spec.q_width(), "width of all query heads");
        head_sizes(&mut header, spec, scores);
        let stride = |name| self.buffer(name).stride;
        header.size("QKV_STRIDE", stride(BufferId::Qkv), "stride of a row");
        let doc = "stride of a row of the output";
        header.size("A_STRIDE", stride(BufferId::A), doc);
        header.size("WORKGROUP_SIZE", WORKGROUP, "invocations of a workgroup");
        let doc = "invocations side by side on a row of a head";
        header.size("ROW_INVOCATIONS", row_invocations, doc);
        let tiling =
            Tiling { grid: Grid::Sequences, workgroup: WORKGROUP, rows: TRAIN_QUERIES, groups };
        (header, tiling)
    }
}
