//! The ops of a forward pass, for both inference and training.
//!
//! A block has two halves, attention and MLP. Each reads the stream through a norm, computes, and
//! adds to the stream. In a pre-norm block the residual is the stream itself. In a post-norm block
//! it is the norm's output; the norm at the end of a block is applied by the next block when it
//! reads the stream. The first post-norm block reads the embedding without a norm, so it is a
//! section of its own.
//!
//! A norm is the prologue of the projection that reads its output. In training, which stores the
//! norm's statistics, it is a separate op (see `training`).

use gpt_plan::{
    Block, BufferId, Epilogue, Heads, LogitMap, NormRef, Op, Projection, Repeat, Site, Slot, Spec,
};

use super::tensors::{self, Table};
use crate::formula;

/// An op with its name.
#[derive(Clone)]
pub struct Named {
    pub name: String,
    pub op: Op,
}

/// Ops that run together, once or repeatedly. Layers of `kinds.len()` kinds alternate.
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
    heads: Heads,
    slopes: Option<Slot>,
    lse: Option<Slot>,
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
    };
}

fn named(name: impl Into<String>, op: Op) -> Named {
    Named { name: name.into(), op }
}

/// The ops from tokens to logits: the embedding, the sections of layers, the head.
pub fn forward(spec: &Spec, table: &Table, slots: &PassSlots) -> Vec<Ops> {
    let embed = Op::Embed {
        table: table.token_embedding,
        positions: table.positions,
        scale: spec.embedding_scale.unwrap_or(1.0),
        out: slots.input,
    };
    let head = Op::Project(Projection {
        input: slots.end,
        norm: Some(table.final_norm),
        weight: table.head,
        bias: None,
        epilogue: Epilogue::Store { out: BufferId::Logits.here(), map: logit_map(spec) },
    });
    let mut sections = vec![Ops::new(Repeat::Once, vec![named("embed", embed)])];
    for (from, to, is_bare) in layers(spec) {
        let kinds = (from..to.min(from.saturating_add(spec.period())))
            .map(|layer| block(spec, table, slots, layer, is_bare))
            .collect();
        let repeat = Repeat::Layers { from, to };
        sections.push(Ops { repeat, kinds });
    }
    sections.push(Ops::new(Repeat::Once, vec![named("head", head)]));
    number(&mut sections);
    sections
}

/// The function from a product of the head to a logit.
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

/// Gives ops of one name that differ, as those of different kinds of layers do, different names:
/// `attention`, `attention_2`. Kernels have the names of their ops.
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

/// The ranges of layers with the same ops, and whether they read the stream without a norm.
fn layers(spec: &Spec) -> Vec<(u32, u32, bool)> {
    match spec.block {
        Block::PreNorm => vec![(0, spec.layers, false)],
        Block::PostNorm if spec.layers == 1 => vec![(0, 1, true)],
        Block::PostNorm => vec![(0, 1, true), (1, spec.layers, false)],
    }
}

/// One half of a block: the stream that it reads, through a norm, and the one that it writes.
struct Half {
    stream: Slot,
    norm: Option<NormRef>,
    /// Whether the residual is the norm's output.
    post: bool,
    /// The factor of the branch.
    scale: f64,
    out: Slot,
}

impl Half {
    /// The projection that reads the stream.
    fn read(&self, layer: tensors::Projection, epilogue: Epilogue) -> Op {
        Op::Project(Projection {
            input: self.stream,
            norm: self.norm,
            weight: layer.weight,
            bias: layer.bias,
            epilogue,
        })
    }

    /// The projection of `input` that adds to the stream.
    fn add(&self, layer: tensors::Projection, input: Slot, site: Site) -> Op {
        Op::Project(Projection {
            input,
            norm: None,
            weight: layer.weight,
            bias: layer.bias,
            epilogue: Epilogue::Residual {
                residual: self.stream,
                norm: self.norm.filter(|_| self.post),
                scale: self.scale,
                out: self.out,
                site,
            },
        })
    }
}

/// The ops of `layer`.
fn block(spec: &Spec, table: &Table, slots: &PassSlots, layer: u32, is_bare: bool) -> Vec<Named> {
    let (a, h) = (BufferId::A.here(), BufferId::H.here());
    let post = spec.block == Block::PostNorm;
    let attention = Half {
        stream: slots.input,
        norm: (!is_bare).then_some(table.attn_norm),
        post,
        scale: spec.residual_scale.unwrap_or(1.0),
        out: slots.middle,
    };
    let mlp =
        Half { stream: slots.middle, norm: Some(table.mlp_norm), out: slots.output, ..attention };
    // A missing norm changes two ops, which therefore have their own kernels and names.
    let suffix = if is_bare { "_first" } else { "" };
    vec![
        named(
            format!("qkv{suffix}"),
            attention.read(
                table.qkv,
                Epilogue::Heads { heads: slots.heads, rotary: spec.rotary_table(layer) },
            ),
        ),
        named(
            "attention",
            Op::Attention {
                heads: slots.heads,
                scores: spec.scores(layer),
                out: a,
                lse: slots.lse,
            },
        ),
        named(
            format!("attention_out{suffix}"),
            attention.add(table.attn_out, a, Site::AttentionOut),
        ),
        named(
            "mlp_up",
            mlp.read(
                table.mlp_up,
                Epilogue::Activation { gated: spec.mlp.gated, out: h, slopes: slots.slopes },
            ),
        ),
        named("mlp_down", mlp.add(table.mlp_down, h, Site::MlpDown)),
    ]
}
