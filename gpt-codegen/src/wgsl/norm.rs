//! Norms: the prologue of a projection; the norms of the embedding, of a branch, and of queries and
//! keys; and the forward and backward kernels of training.

use gpt_plan::{
    BranchSum, BufferId, Grid, Kernel, Norm, NormKind, NormRef, QkGroups, Spec, vector_offset,
};
use gpt_shaders::files;

use super::Context;
use super::header::{Files, Header};
use super::matmul::rope;
use super::training::{Tiling, TrainKernels, WORKGROUP, summed};

/// Adds the statistics of a norm.
fn statistics(norm: Norm, header: &mut Header, files: &mut Files) {
    header.number("EPSILON", norm.eps, "added before the square root");
    files.push(match norm.kind {
        NormKind::Layer => files::NORM_LAYER,
        NormKind::Rms => files::NORM_RMS,
    });
}

/// Adds the norm, if any, that a projection applies to its input.
pub fn prologue(
    context: &Context<'_>,
    norm: Option<NormRef>,
    header: &mut Header,
    files: &mut Files,
) {
    let Some(norm) = norm else {
        files.push(files::NORM_NONE);
        return;
    };
    statistics(context.spec.norm_of(norm.role), header, files);
    files.push(files::NORM_TILE);
    packed(context, norm, header, files);
}

/// Adds the parameters of a norm, which inference reads from a block of vectors.
fn packed(context: &Context<'_>, norm: NormRef, header: &mut Header, files: &mut Files) {
    let at = |id| vector_offset(context.tensors, id);
    files.push(match norm.gamma {
        Some(gamma) => {
            header.size("GAMMA", at(gamma), "offset of the norm's scale");
            files::NORM_GAMMA_PACKED
        }
        None => files::NORM_GAMMA_NONE,
    });
    files.push(match norm.beta {
        Some(beta) => {
            header.size("BETA", at(beta), "offset of the norm's shift");
            files::NORM_BETA_PACKED
        }
        None => files::NORM_BETA_NONE,
    });
}

/// The files of a kernel whose workgroups normalise a row each.
fn row_files() -> Files {
    vec![
        files::SHARED_ENTRY_PLAIN,
        files::SHARED_SUM_SCRATCH,
        files::SHARED_SUM_MEMORY,
        files::NORM_ROW,
    ]
}

/// The kernel of a norm that is not a prologue: of the embedding, or of a branch that is added to
/// the stream.
pub fn rows_kernel(context: &Context<'_>, norm: NormRef, sum: Option<BranchSum>) -> Kernel {
    let spec = context.spec;
    let what = if sum.is_some() { "added to the stream" } else { "the stream" };
    let mut header = Header::new(&context.title(what));
    header.size("EMBED", spec.embed, "width of the residual stream");
    let tiling = rows(spec.embed, 1);
    header.size("WORKGROUP_SIZE", tiling.workgroup, "invocations of a workgroup");
    let mut files = row_files();
    inference(context, norm, &mut header, &mut files);
    files.push(match sum {
        Some(sum) => {
            header.number("BRANCH_SCALE", sum.scale, "factor of the branch");
            files::NORM_STREAM_SUM
        }
        None => files::NORM_NO_SUM,
    });
    files.push(files::NORM_ROWS);
    tiling.kernel(header.kernel(kernel_name(context), files))
}

/// The kernel of the norms of queries and keys.
pub fn heads(context: &Context<'_>, norm: NormRef, rotary: Option<u16>) -> Kernel {
    let spec = context.spec;
    let groups = spec.qk_groups().expect("the spec has a norm of heads");
    let mut header = Header::new(&context.title("normalised and rotated"));
    let tiling = head_sizes(spec, &groups, &mut header);
    let mut files = row_files();
    inference(context, norm, &mut header, &mut files);
    rope(spec, rotary, &mut header, &mut files);
    files.extend([parameter(&groups), files::NORM_HEADS_CACHED, files::NORM_HEADS_FORWARD]);
    tiling.kernel(header.kernel(kernel_name(context), files))
}

/// Adds the files of a norm of inference that is not a prologue.
fn inference(context: &Context<'_>, norm: NormRef, header: &mut Header, files: &mut Files) {
    files.push(files::SHARED_PASS);
    if norm.gamma.is_some() {
        files.push(files::SHARED_VECTORS);
    }
    statistics(context.spec.norm_of(norm.role), header, files);
    packed(context, norm, header, files);
}

fn kernel_name(context: &Context<'_>) -> String {
    format!("{}_{}", context.name, context.phase_name())
}

/// A tiling with a workgroup for each of `groups` groups of a row's elements, at most `width` wide.
/// Narrow groups have few invocations, because invocations wait for each other.
pub(super) fn rows(width: u32, groups: u32) -> Tiling {
    let quads = (width / 4).next_power_of_two();
    Tiling { grid: Grid::Rows, workgroup: quads.clamp(16, WORKGROUP), rows: 1, groups }
}

/// Adds the sizes of kernels on the heads of queries, keys and values.
fn head_sizes(spec: &Spec, groups: &QkGroups, header: &mut Header) -> Tiling {
    header.size("HEAD_DIM", spec.head_dim, "width of a head");
    header.size("Q_WIDTH", spec.q_width(), "width of all query heads");
    header.size("KV_WIDTH", spec.kv_width(), "width of all key heads");
    header.size("Q_GROUPS", groups.q, "groups of queries that are normalised");
    header.size("K_GROUPS", groups.k, "groups of keys");
    header.size("Q_GROUP", groups.q_width, "width of a group of queries");
    header.size("K_GROUP", groups.k_width, "width of a group of keys");
    // The values are copied in groups of the keys' width.
    let tiling = rows(groups.q_width.max(groups.k_width), groups.q + 2 * groups.k);
    header.size("WORKGROUP_SIZE", tiling.workgroup, "invocations of a workgroup");
    tiling
}

/// The file that maps elements of queries and keys to parameters of their norm.
fn parameter(groups: &QkGroups) -> &'static str {
    if groups.shared { files::NORM_HEADS_SHARED } else { files::NORM_HEADS_OWN }
}

fn centered(norm: Norm, header: &mut Header) {
    let centered = f64::from(u8::from(norm.kind == NormKind::Layer));
    header.number("CENTERED", centered, "1 if the norm subtracts the mean");
}

impl TrainKernels<'_> {
    /// A norm of the forward pass, which saves its statistics. With `sum`, it is added to the
    /// stream.
    pub(super) fn norm(&mut self, norm: NormRef, sum: Option<BranchSum>) -> u16 {
        let mut header = self.rows("a norm");
        let mut files = row_files();
        statistics(self.spec.norm_of(norm.role), &mut header, &mut files);
        files.push(files::NORM_STATISTICS_COMPUTED);
        files.extend([gamma(norm), beta(norm)]);
        let name = match sum {
            None => {
                files.push(files::NORM_NO_SUM);
                "norm"
            }
            Some(sum) => {
                header.number("BRANCH_SCALE", sum.scale, "factor of the branch");
                files.extend([files::SHARED_TRAIN_PASS, self.dropout_file(), files::NORM_SUM]);
                "branch_norm"
            }
        };
        files.push(files::NORM_FORWARD);
        self.add(name, header, files, self.row())
    }

    /// The norms of queries and keys in the forward pass.
    pub(super) fn norm_heads(&mut self, norm: NormRef, rotary: Option<u16>) -> u16 {
        let (groups, mut header, tiling) = self.heads_header("queries and keys, normalised");
        let mut files = row_files();
        files.push(files::SHARED_TRAIN_PASS);
        statistics(self.spec.norm_of(norm.role), &mut header, &mut files);
        files.extend([gamma(norm), beta(norm)]);
        rope(self.spec, rotary, &mut header, &mut files);
        files.extend([parameter(&groups), files::NORM_HEADS_FUSED, files::NORM_HEADS_FORWARD]);
        self.add("norm_heads", header, files, tiling)
    }

    /// The gradient of queries and keys before their norm.
    pub(super) fn norm_heads_input(&mut self, norm: NormRef) -> u16 {
        let (groups, mut header, tiling) = self.heads_header("the gradient of queries and keys");
        centered(self.spec.norm_of(norm.role), &mut header);
        let mut files = row_files();
        files.extend([gamma(norm), parameter(&groups), files::NORM_HEADS_BACKWARD_INPUT]);
        self.add("norm_heads_input", header, files, tiling)
    }

    /// The gradients of the scale and shift of the norm of queries and keys.
    pub(super) fn norm_heads_weight(&mut self, norm: NormRef) -> u16 {
        let what = "the gradients of the norm of queries and keys";
        let (groups, mut header, _) = self.heads_header(what);
        header.size("WIDTH", groups.parameters, "columns");
        let (q, k) = match groups.shared {
            true => (groups.q_width, groups.k_width),
            false => (self.spec.q_width(), self.spec.kv_width()),
        };
        header.size("Q_PARAMETERS", q, "parameters of queries");
        header.size("K_PARAMETERS", k, "parameters of keys");
        let files = vec![
            files::SHARED_TRAIN_PASS,
            shift(norm),
            files::NORM_HEADS_BACKWARD_WEIGHT,
            files::SHARED_COLUMN_SUMS,
        ];
        self.add("norm_heads_weight", header, files, summed(groups.parameters))
    }

    /// The header of a kernel on queries, keys and values before their norm.
    fn heads_header(&self, what: &str) -> (QkGroups, Header, Tiling) {
        let groups = self.spec.qk_groups().expect("the spec has a norm of heads");
        let mut header = self.header(what);
        let tiling = head_sizes(self.spec, &groups, &mut header);
        let stride = self.buffer(BufferId::QkvRaw).stride;
        header.size("QKV_STRIDE", stride, "stride of a row");
        (groups, header, tiling)
    }

    /// A norm that the backward pass computes again, from its saved statistics.
    pub(super) fn norm_recompute(&mut self, norm: NormRef) -> u16 {
        let header = self.rows("a norm, recomputed");
        let files = vec![
            files::SHARED_ENTRY_PLAIN,
            files::NORM_STATISTICS_SAVED,
            gamma(norm),
            beta(norm),
            files::NORM_NO_SUM,
            files::NORM_FORWARD,
        ];
        self.add("norm_recompute", header, files, self.row())
    }

    /// The gradient of a norm's input. With `residual`, a residual connection's gradient is added.
    pub(super) fn norm_input(&mut self, norm: NormRef, residual: bool) -> u16 {
        let mut header = self.rows("the gradient of a norm's input");
        centered(self.spec.norm_of(norm.role), &mut header);
        let (name, file) = match residual {
            true => ("norm_input_residual", files::NORM_BACKWARD_RESIDUAL),
            false => ("norm_input", files::NORM_BACKWARD_NO_RESIDUAL),
        };
        let files = vec![
            files::SHARED_ENTRY_PLAIN,
            files::SHARED_SUM_SCRATCH,
            files::SHARED_SUM_MEMORY,
            file,
            gamma(norm),
            files::NORM_BACKWARD_INPUT,
        ];
        self.add(name, header, files, self.row())
    }

    /// The gradients of a norm's scale and shift.
    pub(super) fn norm_weight(&mut self, norm: NormRef) -> u16 {
        let mut header = self.rows("the gradients of a norm's scale and shift");
        header.size("WIDTH", self.spec.embed, "columns");
        let files = vec![
            files::SHARED_TRAIN_PASS,
            shift(norm),
            files::NORM_BACKWARD_WEIGHT,
            files::SHARED_COLUMN_SUMS,
        ];
        self.add("norm_weight", header, files, summed(self.spec.embed))
    }
}

fn shift(norm: NormRef) -> &'static str {
    match norm.beta {
        Some(_) => files::NORM_BACKWARD_SHIFT,
        None => files::NORM_BACKWARD_NO_SHIFT,
    }
}

fn gamma(norm: NormRef) -> &'static str {
    match norm.gamma {
        Some(_) => files::NORM_GAMMA_TENSOR,
        None => files::NORM_GAMMA_NONE,
    }
}

fn beta(norm: NormRef) -> &'static str {
    match norm.beta {
        Some(_) => files::NORM_BETA_TENSOR,
        None => files::NORM_BETA_NONE,
    }
}
