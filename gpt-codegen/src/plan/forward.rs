//! The ops of a forward pass, for both inference and training.
//!
//! A block has two halves, attention and MLP. Each reads the residual stream (here: the stream),
//! computes a branch, and adds it to the stream. The kinds of block place norms differently:
//!
//! - Pre-norm: a half reads the stream through a norm, and adds the branch to the stream itself.
//! - Post-norm: a norm follows each sum. The plan moves this norm to the next half, which reads the
//!   stream through it and adds the branch to the norm's output. The first block has no half before
//!   it, so it reads the embedding without a norm. Its ops differ from those of other layers, so it
//!   has its own section (a list of ops that runs once or for a range of layers).
//! - Sandwich: like pre-norm, and the branch passes through a norm before it is added.
//! - Post-branch: the branch passes through a norm; the half reads the stream without one.
//! - Parallel: both halves read the stream before either adds to it.
//!
//! In a pre-norm or sandwich model the first attention may have no norm before it.
//!
//! In inference, the projection that reads the output of a norm of the stream also computes the
//! norm. In training, which stores the norm's statistics, the norm is a separate op (see
//! `training`). The norms of a branch, of the embedding, and of queries and keys are separate ops
//! in both.

use gpt_plan::{
    Block, BranchSum, BufferId, Epilogue, Heads, LogitMap, NormRef, Op, Projection, Repeat, Site,
    Slot, Spec, Statistics,
};

use super::tensors::{self, Table};
use crate::formula;

/// An op with its name.
#[derive(Clone)]
pub struct Named {
    pub name: String,
    pub op: Op,
}

/// Ops that run together, once or repeatedly. Layers may alternate between kinds, such as full and
/// sliding-window attention.
pub struct Ops {
    pub repeat: Repeat,
    /// The ops of a layer of each kind.
    pub kinds: Vec<Vec<Named>>,
}

impl Ops {
    pub fn new(repeat: Repeat, ops: Vec<Named>) -> Ops {
        Ops { repeat, kinds: vec![ops] }
    }
}

/// The buffers that a pass reads and writes, and those that it stores for a backward pass.
pub struct PassSlots {
    /// The stream that a layer reads.
    input: Slot,
    /// The stream between a layer's halves.
    middle: Slot,
    /// The stream that a layer writes.
    output: Slot,
    /// The stream after the last layer.
    end: Slot,
    /// Queries, keys and values.
    heads: Heads,
    /// The derivative of the activation, for the backward pass.
    slopes: Option<Slot>,
    /// The logarithm of the softmax's denominators, for the backward pass.
    lse: Option<Slot>,
    /// Whether the statistics of norms are stored.
    stores_statistics: bool,
}

impl PassSlots {
    /// The buffers of inference, which updates one stream in place.
    pub const INFERENCE: PassSlots = PassSlots {
        input: BufferId::X.here(),
        middle: BufferId::X.here(),
        output: BufferId::X.here(),
        end: BufferId::X.here(),
        heads: Heads::Cached {
            q: BufferId::Q.here(),
            k: BufferId::K.here(),
            v: BufferId::V.here(),
        },
        slopes: None,
        lse: None,
        stores_statistics: false,
    };

    /// The buffers of training, which stores the stream of each layer.
    pub const TRAINING: PassSlots = PassSlots {
        input: BufferId::X.here(),
        middle: BufferId::Middle.here(),
        output: BufferId::X.next(),
        end: BufferId::X.end(),
        heads: Heads::Fused { qkv: BufferId::Qkv.here() },
        slopes: Some(BufferId::Slopes.here()),
        lse: Some(BufferId::Lse.here()),
        stores_statistics: true,
    };
}

/// The slot of the statistics with which a norm of `x` is computed: the mean and 1 / deviation of
/// each row.
pub fn stats(x: Slot) -> Slot {
    let buffer = match x.buffer {
        BufferId::X => BufferId::StatsX,
        BufferId::Embedded => BufferId::StatsEmbedded,
        BufferId::Middle => BufferId::StatsMiddle,
        BufferId::AttnBranch => BufferId::StatsAttnBranch,
        BufferId::MlpBranch => BufferId::StatsMlpBranch,
        BufferId::HeadHidden => BufferId::StatsHead,
        BufferId::QkvRaw => BufferId::StatsQkv,
        other => unreachable!("{} is not normalised", other.name()),
    };
    Slot { buffer, ..x }
}

fn named(name: impl Into<String>, op: Op) -> Named {
    Named { name: name.into(), op }
}

/// The ops from tokens to logits: the embedding, the sections of layers, the head.
pub fn forward(spec: &Spec, table: &Table, slots: &PassSlots) -> Vec<Ops> {
    let embedded = BufferId::Embedded.here();
    let embed = Op::Embed {
        table: table.token_embedding,
        positions: table.positions,
        types: table.token_types,
        scale: spec.embedding_scale.unwrap_or(1.0),
        out: if table.embedding_norm.is_some() { embedded } else { slots.input },
    };
    let mut first = vec![named("embed", embed)];
    if let Some(norm) = table.embedding_norm {
        let norm = Op::Norm {
            norm,
            x: embedded,
            sum: None,
            stats: slots.stores_statistics.then(|| stats(embedded)),
            out: slots.input,
            statistics: Statistics::Compute,
        };
        first.push(named("embedding_norm", norm));
    }
    let mut sections = vec![Ops::new(Repeat::Once, first)];
    for (from, to, is_bare) in layers(spec) {
        let kinds = (from..to.min(from.saturating_add(spec.period())))
            .map(|layer| block(spec, table, slots, layer, is_bare))
            .collect();
        let repeat = Repeat::Layers { from, to };
        sections.push(Ops { repeat, kinds });
    }
    sections.push(Ops::new(Repeat::Once, head(spec, table, slots)));
    number(&mut sections);
    sections
}

/// The ops from the stream to the logits.
fn head(spec: &Spec, table: &Table, slots: &PassSlots) -> Vec<Named> {
    let mut ops = Vec::new();
    let (mut input, mut norm) = (slots.end, table.final_norm);
    if let Some((tensors::Projection { weight, bias }, own)) = table.head_dense {
        let out = BufferId::HeadHidden.here();
        let slopes = slots.slopes.map(|_| BufferId::HeadSlopes.here());
        let epilogue = Epilogue::Activation { gated: false, out, slopes };
        let dense = Projection { input, norm: Some(norm), weight, bias, epilogue };
        ops.push(named("head_dense", Op::Project(dense)));
        (input, norm) = (out, own);
    }
    let head = Projection {
        input,
        norm: Some(norm),
        weight: table.head,
        bias: table.head_bias,
        epilogue: Epilogue::Store { out: BufferId::Logits.here(), map: logit_map(spec) },
    };
    ops.push(named("head", Op::Project(head)));
    ops
}

/// The function that turns the head's product into a logit by scaling or soft-capping it; none if
/// the product is the logit.
fn logit_map(spec: &Spec) -> Option<LogitMap> {
    // The derivative of tanh is 1 - tanh^2.
    let (value, slope) = match (spec.logit_scale, spec.logit_softcap) {
        (None, None) => return None,
        (Some(scale), None) => (format!("{scale:?} * product"), format!("{scale:?}")),
        (None, Some(cap)) => (
            format!("{cap:?} * tanh(product / {cap:?})"),
            format!("1.0 - powi(logit / {cap:?}, 2)"),
        ),
        (Some(scale), Some(cap)) => (
            format!("{cap:?} * tanh({scale:?} * product / {cap:?})"),
            format!("{scale:?} * (1.0 - powi(logit / {cap:?}, 2))"),
        ),
    };
    let (value, slope) = (format!("|product| {value}"), format!("|logit| {slope}"));
    Some(LogitMap { value: formula::of(&value), slope: formula::of(&slope) })
}

/// Renames ops so that different ops have different names, because kernels are named after ops.
/// If layers of different kinds have different ops of one name, they become `attention` and
/// `attention_2`.
fn number(sections: &mut [Ops]) {
    let mut seen: Vec<(String, Named)> = Vec::new();
    for own in sections.iter_mut().flat_map(|s| s.kinds.iter_mut().flatten()) {
        let named = seen.iter().filter(|(name, _)| *name == own.name);
        let (mut count, mut equal) = (0, None);
        for (_, other) in named {
            count += 1;
            if other.op == own.op {
                equal = Some(other.name.clone());
            }
        }
        match equal {
            Some(name) => own.name = name,
            None => {
                let name = own.name.clone();
                if count > 0 {
                    own.name = format!("{name}_{}", count + 1);
                }
                seen.push((name, own.clone()));
            }
        }
    }
}

/// The ranges of layers with the same ops, and whether their attention reads the stream without a
/// norm.
fn layers(spec: &Spec) -> Vec<(u32, u32, bool)> {
    match spec.block {
        _ if first_is_bare(spec) && spec.layers == 1 => vec![(0, 1, true)],
        _ if first_is_bare(spec) => vec![(0, 1, true), (1, spec.layers, false)],
        Block::PostBranch => vec![(0, spec.layers, true)],
        Block::PostNorm => unreachable!("its first layer is bare"),
        Block::PreNorm | Block::Sandwich | Block::Parallel { .. } => vec![(0, spec.layers, false)],
    }
}

/// Whether the attention of the first layer reads the stream without a norm, unlike that of other
/// layers.
fn first_is_bare(spec: &Spec) -> bool {
    spec.block == Block::PostNorm || spec.first_attn_bare
}

/// One half of a block: the stream that it reads, and how it adds its branch to the stream.
struct Half<'a> {
    slots: &'a PassSlots,
    /// The stream that it reads, through `norm`.
    input: Slot,
    norm: Option<NormRef>,
    /// The stream to which it adds, and its norm.
    residual: Slot,
    residual_norm: Option<NormRef>,
    /// The norm of the branch, with the name of the norm's op and the buffer of the branch.
    branch_norm: Option<(NormRef, &'static str, Slot)>,
    /// The factor of the branch before it is added.
    scale: f64,
    out: Slot,
}

impl Half<'_> {
    /// The projection that reads the stream.
    fn read(&self, layer: tensors::Projection, epilogue: Epilogue) -> Op {
        Op::Project(Projection {
            input: self.input,
            norm: self.norm,
            weight: layer.weight,
            bias: layer.bias,
            epilogue,
        })
    }

    /// The ops that add the projection of `input` to the stream.
    fn add(&self, name: String, layer: tensors::Projection, input: Slot, site: Site) -> Vec<Named> {
        let project = |epilogue| {
            let (weight, bias) = (layer.weight, layer.bias);
            Op::Project(Projection { input, norm: None, weight, bias, epilogue })
        };
        let (residual, scale, out) = (self.residual, self.scale, self.out);
        let Some((norm, norm_name, branch)) = self.branch_norm else {
            let norm = self.residual_norm;
            let epilogue = Epilogue::Residual { residual, norm, scale, out, site };
            return vec![named(name, project(epilogue))];
        };
        let norm = Op::Norm {
            norm,
            x: branch,
            sum: Some(BranchSum { residual, scale, site }),
            stats: self.slots.stores_statistics.then(|| stats(branch)),
            out,
            statistics: Statistics::Compute,
        };
        let store = Epilogue::Store { out: branch, map: None };
        vec![named(name, project(store)), named(norm_name, norm)]
    }
}

/// The ops of `layer`.
fn block(spec: &Spec, table: &Table, slots: &PassSlots, layer: u32, is_bare: bool) -> Vec<Named> {
    let (a, h) = (BufferId::A.here(), BufferId::H.here());
    let post = spec.block == Block::PostNorm;
    let scale = spec.residual_scale.unwrap_or(1.0);
    let attn_norm = table.attn_norm.filter(|_| !is_bare);
    let attn_branch = BufferId::AttnBranch.here();
    let attention = Half {
        slots,
        input: slots.input,
        norm: attn_norm,
        residual: slots.input,
        residual_norm: attn_norm.filter(|_| post),
        branch_norm: table.attn_branch_norm.map(|norm| (norm, "attn_branch_norm", attn_branch)),
        scale,
        out: slots.middle,
    };
    let mlp_branch = BufferId::MlpBranch.here();
    let mlp = Half {
        slots,
        // Parallel halves read the same stream.
        input: if spec.block.is_parallel() { slots.input } else { slots.middle },
        norm: table.mlp_norm,
        residual: slots.middle,
        residual_norm: table.mlp_norm.filter(|_| post),
        branch_norm: table.mlp_branch_norm.map(|norm| (norm, "mlp_branch_norm", mlp_branch)),
        scale,
        out: slots.output,
    };
    // In a first layer without a norm, `qkv` has a separate kernel and name. In a post-norm block
    // so does `attention_out`, because in other layers it applies a norm to the residual.
    let suffix = if is_bare && first_is_bare(spec) { "_first" } else { "" };
    let qkv = heads(spec, table, slots, layer, &attention, suffix);
    let suffix = if post { suffix } else { "" };
    let attend =
        Op::Attention { heads: slots.heads, scores: spec.scores(layer), out: a, lse: slots.lse };
    let attention_out =
        attention.add(format!("attention_out{suffix}"), table.attn_out, a, Site::AttentionOut);
    let activation = Epilogue::Activation { gated: spec.mlp.gated, out: h, slopes: slots.slopes };
    let mlp_up = named("mlp_up", mlp.read(table.mlp_up, activation));
    let mlp_down = mlp.add("mlp_down".to_owned(), table.mlp_down, h, Site::MlpDown);
    let mut ops = qkv;
    if spec.block.is_parallel() {
        // `mlp_up` reads the stream before `attention_out` changes it.
        ops.extend([mlp_up, named("attention", attend)]);
        ops.extend(attention_out);
    } else {
        ops.push(named("attention", attend));
        ops.extend(attention_out);
        ops.push(mlp_up);
    }
    ops.extend(mlp_down);
    ops
}

/// The ops that compute queries, keys and values.
fn heads(
    spec: &Spec,
    table: &Table,
    slots: &PassSlots,
    layer: u32,
    attention: &Half<'_>,
    suffix: &str,
) -> Vec<Named> {
    let (heads, rotary) = (slots.heads, spec.rotary_table(layer));
    let name = format!("qkv{suffix}");
    let Some(norm) = table.qk_norm else {
        let op = attention.read(table.qkv, Epilogue::Heads { heads, rotary });
        return vec![named(name, op)];
    };
    let raw = BufferId::QkvRaw.here();
    let store = attention.read(table.qkv, Epilogue::Store { out: raw, map: None });
    let stats = slots.stores_statistics.then(|| stats(raw));
    let norm = Op::NormHeads { norm, x: raw, stats, heads, rotary };
    vec![named(name, store), named("qk_norm", norm)]
}
