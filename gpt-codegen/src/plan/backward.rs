//! The backward rule of each op, and the backward pass that follows from them.
//!
//! [`backward`] processes the ops of a section in reverse. The gradient of the stream is in `DX`,
//! updated in place. A residual connection adds the rows of a slot, its source, to a branch. In the
//! backward pass it passes the gradient to the source unchanged, so `DX` then holds one term of the
//! source's gradient. Every other op that reads the source adds its own term: a norm with
//! [`Op::NormInput`], a projection with [`Op::Add`].

use gpt_plan::{
    BranchSum, BufferId, Epilogue, Heads, Op, Positions, Projection, Site, Slot, Spec, Statistics,
};

use super::forward::Named;

const DX: Slot = BufferId::DX.here();
const NORMED: Slot = BufferId::Normed.here();
/// The gradient of a norm's output. Between such uses, the slot holds the gradient of a value to
/// which the forward pass then applies dropout and a factor: a branch or the embedding.
const D_NORMED: Slot = BufferId::DNormed.here();
const D_BRANCH: Slot = BufferId::DBranch.here();
const D_QKV: Slot = BufferId::DQkv.here();
const D_QKV_RAW: Slot = BufferId::DQkvRaw.here();

/// The backward ops of `ops`, which a forward pass runs in this order. With `renormalise`, later
/// ops have overwritten the normed input of a projection, and the backward pass applies the norm
/// again, with the stored statistics.
pub fn backward(spec: &Spec, ops: &[Named], renormalise: bool) -> Vec<Named> {
    let mut pass =
        Backward { spec, stream: None, is_normed_pending: false, normed: None, ops: Vec::new() };
    for (i, Named { name, op }) in ops.iter().enumerate().rev() {
        match op {
            Op::Embed { table, positions, types, scale, out } => {
                let d = if out.buffer == BufferId::Embedded { D_BRANCH } else { DX };
                let dx = pass.through_dropout(name, d, Site::Embedding, 1.0);
                let learned = spec.positions == Positions::Learned;
                let op = Op::EmbedBackward {
                    table: *table,
                    // A computed table has no gradient.
                    positions: positions.filter(|_| learned),
                    types: *types,
                    scale: *scale,
                    dx,
                };
                pass.push(format!("{name}_weight"), op);
            }
            Op::Norm { sum: None, .. } => pass.norm(name, op),
            Op::Norm { sum: Some(sum), .. } => pass.branch_norm(name, op, *sum),
            Op::Project(projection) => {
                let norm = ops[..i].iter().rfind(|named| is_norm(&named.op));
                pass.project(name, projection, norm.filter(|_| renormalise));
            }
            Op::NormHeads { norm, x, stats: Some(stats), .. } => {
                let (norm, x, stats, dy) = (*norm, *x, *stats, D_QKV);
                if norm.gamma.is_some() {
                    let op = Op::NormHeadsWeight { norm, x, stats, dy };
                    pass.push(format!("{name}_weight"), op);
                }
                let op = Op::NormHeadsInput { norm, x, stats, dy, out: D_QKV_RAW };
                pass.push(format!("{name}_input"), op);
            }
            Op::Attention { heads: Heads::Fused { qkv }, scores, out, lse: Some(lse) } => {
                let op = Op::AttentionBackward {
                    qkv: *qkv,
                    scores: *scores,
                    rotary: rotary(&ops[..i], *qkv),
                    out: *out,
                    lse: *lse,
                    dout: BufferId::DA.here(),
                    delta: BufferId::Delta.here(),
                    dqkv: D_QKV,
                };
                pass.push(format!("{name}_input"), op);
            }
            // The forward op has already replaced the logits by their gradient.
            Op::CrossEntropy { .. } => {}
            _ => unreachable!("{name} is not a forward op of training"),
        }
    }
    pass.ops
}

/// The `rotary` of the op that wrote `qkv`: the index of its table of angles.
fn rotary(ops: &[Named], qkv: Slot) -> Option<u16> {
    ops.iter().rev().find_map(|named| match &named.op {
        Op::Project(Projection { epilogue: Epilogue::Heads { heads, rotary }, .. })
        | Op::NormHeads { heads, rotary, .. }
            if *heads == (Heads::Fused { qkv }) =>
        {
            Some(*rotary)
        }
        _ => None,
    })?
}

/// Whether the op is the norm that a projection reads.
fn is_norm(op: &Op) -> bool {
    matches!(op, Op::Norm { sum: None, out: NORMED, .. })
}

struct Backward<'a> {
    spec: &'a Spec,
    /// The slot whose gradient `DX` holds, at least in part. None before the first op of the
    /// section, and once `DX` holds the gradient of an activation's input.
    stream: Option<Slot>,
    /// Whether `D_NORMED` holds a gradient of a norm's output.
    is_normed_pending: bool,
    /// The op whose output is in `Normed`.
    normed: Option<Op>,
    ops: Vec<Named>,
}

impl Backward<'_> {
    fn push(&mut self, name: String, op: Op) {
        self.ops.push(Named { name, op });
    }

    /// Passes the gradient of a sum on to its residual. Returns the slot with the gradient of the
    /// branch.
    fn through_sum(&mut self, name: &str, sum: BranchSum, out: Slot) -> Slot {
        assert!(
            self.stream.is_none_or(|stream| stream == out),
            "{name} does not write the slot whose gradient is known"
        );
        self.stream = Some(sum.residual);
        self.through_dropout(name, DX, sum.site, sum.scale)
    }

    /// Passes `dy` back through a multiplication by `scale` and the dropout of `site`, and returns
    /// the slot with the result. Without either, that is `dy` itself. Otherwise an op is added that
    /// writes the result to `D_NORMED`; later ops read it before [`project`](Self::project) stores
    /// the gradient of a normed input there.
    fn through_dropout(&mut self, name: &str, dy: Slot, site: Site, scale: f64) -> Slot {
        if self.spec.dropout == 0.0 && scale == 1.0 {
            return dy;
        }
        assert!(!self.is_normed_pending, "{name} overwrites the gradient of a norm's output");
        let op = Op::DropoutBackward { site, scale, dy, out: D_NORMED };
        self.push(format!("{name}_dropout"), op);
        D_NORMED
    }

    /// `dW = dyᵀ x`, `dx = dy W`. `norm` is the norm to apply again to get `x`.
    fn project(&mut self, name: &str, projection: &Projection, norm: Option<&Named>) {
        let Projection { input, weight, bias, .. } = *projection;
        let dy = match projection.epilogue {
            // `CrossEntropy` has multiplied the gradient of the logits by the derivative of their
            // soft cap or scale.
            Epilogue::Store { out, .. } => match out.buffer {
                BufferId::Logits => out,
                BufferId::QkvRaw => D_QKV_RAW,
                _ => D_BRANCH,
            },
            Epilogue::Heads { .. } => D_QKV,
            // A norm reads this activation. If a projection reads one, its `ProjectInput`
            // multiplies by the slopes.
            Epilogue::Activation { slopes: Some(slopes), out, .. } if self.stream == Some(out) => {
                self.stream = None;
                let op = Op::Multiply { a: DX, b: slopes, out: DX };
                self.push(format!("{name}_slopes"), op);
                DX
            }
            Epilogue::Activation { .. } => BufferId::DUp.here(),
            Epilogue::Residual { residual, site, scale, out, .. } => {
                self.through_sum(name, BranchSum { residual, scale, site }, out)
            }
        };
        if let (true, Some(Named { name, op })) = (input == NORMED, norm)
            && self.normed.as_ref() != Some(op)
        {
            self.normed = Some(op.clone());
            let mut op = op.clone();
            if let Op::Norm { statistics, .. } = &mut op {
                *statistics = Statistics::Stored;
            }
            self.push(format!("{name}_recompute"), op);
        }
        let op = Op::ProjectWeight { weight, bias, dy, input };
        self.push(format!("{name}_weight"), op);
        let (slopes, out) = match input.buffer {
            BufferId::H => (Some(BufferId::Slopes.here()), BufferId::DUp.here()),
            BufferId::A => (None, BufferId::DA.here()),
            // Another projection has read the same rows.
            BufferId::Normed if self.is_normed_pending => (None, D_BRANCH),
            _ => (None, D_NORMED),
        };
        let op = Op::ProjectInput { weight, dy, slopes, out };
        self.push(format!("{name}_input"), op);
        let sum = match input.buffer {
            BufferId::H | BufferId::A => return,
            BufferId::Normed if out == D_BRANCH => Op::Add { a: D_NORMED, b: out, out: D_NORMED },
            BufferId::Normed => {
                self.is_normed_pending = true;
                return;
            }
            _ => {
                assert_eq!(self.stream, Some(input), "{name} and its sum read different streams");
                Op::Add { a: DX, b: out, out: DX }
            }
        };
        self.push(format!("{name}_residual"), sum);
    }

    /// `dγ = Σ dy n` with `n` the normalised `x`, `dβ = Σ dy`, and `dx`, which is added to the
    /// gradient of the stream if a residual connection also reads `x`.
    fn norm(&mut self, name: &str, op: &Op) {
        let Op::Norm { norm, x, stats: Some(stats), out, .. } = *op else {
            unreachable!("training stores statistics");
        };
        if out != NORMED {
            // The norm of the embedding: the stream is its output.
            if norm.gamma.is_some() {
                self.push(format!("{name}_weight"), Op::NormWeight { norm, x, stats, dy: DX });
            }
            let op = Op::NormInput { norm, x, stats, dy: DX, residual: None, out: D_BRANCH };
            return self.push(format!("{name}_input"), op);
        }
        // The flag may be false already: the projection that reads the output of the last norm is
        // in the loss, a separate section.
        self.is_normed_pending = false;
        if self.stream == Some(out) {
            let op = Op::Add { a: D_NORMED, b: DX, out: D_NORMED };
            self.push(format!("{name}_residual"), op);
        }
        let residual = self.stream.filter(|stream| *stream == x).map(|_| DX);
        if norm.gamma.is_some() {
            let op = Op::NormWeight { norm, x, stats, dy: D_NORMED };
            self.push(format!("{name}_weight"), op);
        }
        let op = Op::NormInput { norm, x, stats, dy: D_NORMED, residual, out: DX };
        self.push(format!("{name}_input"), op);
        self.stream = Some(x);
    }

    /// Like [`norm`](Self::norm), for the norm of a branch that is added to the stream.
    fn branch_norm(&mut self, name: &str, op: &Op, sum: BranchSum) {
        let Op::Norm { norm, x, stats: Some(stats), out, .. } = *op else {
            unreachable!("training stores statistics");
        };
        let dy = self.through_sum(name, sum, out);
        if norm.gamma.is_some() {
            self.push(format!("{name}_weight"), Op::NormWeight { norm, x, stats, dy });
        }
        let op = Op::NormInput { norm, x, stats, dy, residual: None, out: D_BRANCH };
        self.push(format!("{name}_input"), op);
    }
}
