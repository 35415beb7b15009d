//! The backward rule of each op, and the backward pass that follows from them.
//!
//! [`backward`] processes the ops of a section in reverse. The gradient of the stream is in `DX`,
//! updated in place. The source of a residual connection is the slot whose rows it adds to a
//! projection. The connection passes the gradient on to its source unchanged. Where another op also
//! read the source, the gradients of both are added: by [`Op::NormInput`] if that op is a norm, by
//! [`Op::Add`] if it is a projection.

use gpt_plan::{
    BufferId, Epilogue, Heads, Op, Positions, Projection, Site, Slot, Spec, Statistics,
};

use super::forward::Named;

const DX: Slot = BufferId::DX.here();
const NORMED: Slot = BufferId::Normed.here();
/// The gradient of a norm's output. While there is none, it holds the gradient of the values before
/// a dropout.
const D_NORMED: Slot = BufferId::DNormed.here();

/// The backward ops of `ops`, which a forward pass runs in this order. With `renormalise`, later
/// ops have overwritten the normed input of a projection, and the backward pass applies the norm
/// again, with the stored statistics.
pub fn backward(spec: &Spec, ops: &[Named], renormalise: bool) -> Vec<Named> {
    let mut pass = Backward { spec, residual: None, ops: Vec::new() };
    for (i, Named { name, op }) in ops.iter().enumerate().rev() {
        match op {
            Op::Embed { table, positions, scale, .. } => {
                let dx = pass.through_dropout(name, Site::Embedding, 1.0);
                let learned = spec.positions == Positions::Learned;
                let op = Op::EmbedBackward {
                    table: *table,
                    // A computed table has no gradient.
                    positions: positions.filter(|_| learned),
                    scale: *scale,
                    dx,
                };
                pass.push(format!("{name}_weight"), op);
            }
            Op::Norm { .. } => pass.norm(name, op),
            Op::Project(projection) => {
                let norm = ops[..i].iter().rfind(|named| is_norm(&named.op));
                pass.project(name, projection, norm.filter(|_| renormalise));
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
                    dqkv: BufferId::DQkv.here(),
                };
                pass.push(format!("{name}_input"), op);
            }
            // The forward op has already replaced the logits by their gradient.
            Op::CrossEntropy { .. } => {}
            _ => unreachable!("{name} is no forward op of training"),
        }
    }
    assert!(pass.residual.is_none(), "the gradients of a residual's source are not added");
    pass.ops
}

/// The `rotary` of the projection that wrote `qkv`: the index of its table of angles.
fn rotary(ops: &[Named], qkv: Slot) -> Option<u16> {
    ops.iter().rev().find_map(|named| match &named.op {
        Op::Project(Projection { epilogue: Epilogue::Heads { heads, rotary }, .. })
            if *heads == (Heads::Fused { qkv }) =>
        {
            Some(*rotary)
        }
        _ => None,
    })?
}

fn is_norm(op: &Op) -> bool {
    matches!(op, Op::Norm { .. })
}

struct Backward<'a> {
    spec: &'a Spec,
    /// The source of a residual connection, until the gradients of its other readers are added to
    /// `DX`.
    residual: Option<Slot>,
    ops: Vec<Named>,
}

impl Backward<'_> {
    fn push(&mut self, name: String, op: Op) {
        self.ops.push(Named { name, op });
    }

    /// The slot with the gradient of the values before the dropout of `site` and their
    /// multiplication by `scale`: `DX`, or if the spec has either, `D_NORMED`, which the added
    /// backward op writes. The gradient in it is read before [`project`](Self::project) stores that
    /// of a normed input there.
    fn through_dropout(&mut self, name: &str, site: Site, scale: f64) -> Slot {
        if self.spec.dropout == 0.0 && scale == 1.0 {
            return DX;
        }
        let op = Op::DropoutBackward { site, scale, dy: DX, out: D_NORMED };
        self.push(format!("{name}_dropout"), op);
        D_NORMED
    }

    /// `dW = dyᵀ x`, `dx = dy W`. `norm` is the norm to apply again to get `x`.
    fn project(&mut self, name: &str, projection: &Projection, norm: Option<&Named>) {
        let Projection { input, weight, bias, .. } = *projection;
        let dy = match projection.epilogue {
            // `CrossEntropy` has multiplied this gradient by the slope of the logit map.
            Epilogue::Store { out, .. } => out,
            Epilogue::Heads { .. } => BufferId::DQkv.here(),
            Epilogue::Activation { .. } => BufferId::DUp.here(),
            Epilogue::Residual { residual, site, scale, .. } => {
                self.residual = Some(residual);
                self.through_dropout(name, site, scale)
            }
        };
        if let (true, Some(Named { name, op })) = (input == NORMED, norm) {
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
            _ => (None, D_NORMED),
        };
        let op = Op::ProjectInput { weight, dy, slopes, out };
        self.push(format!("{name}_input"), op);
        // If the source is the output of a norm, `Backward::norm` adds the gradients.
        if self.residual == Some(input) && input != NORMED {
            self.residual = None;
            let op = Op::Add { a: DX, b: D_NORMED, out: DX };
            self.push(format!("{name}_residual"), op);
        }
    }

    /// `dγ = Σ dy n` with `n` the normalised `x`, `dβ = Σ dy`, and `dx`, which is added to the
    /// residual's gradient.
    fn norm(&mut self, name: &str, op: &Op) {
        let Op::Norm { norm, x, stats, out, .. } = *op else {
            return;
        };
        let residual = self.residual.take();
        assert!(
            residual.is_none_or(|from| from == out || from == x),
            "{name} is not the norm of the residual's source"
        );
        if residual == Some(out) {
            let op = Op::Add { a: D_NORMED, b: DX, out: D_NORMED };
            self.push(format!("{name}_residual"), op);
        }
        let residual = residual.filter(|from| *from == x).map(|_| DX);
        if norm.gamma.is_some() {
            let op = Op::NormWeight { norm, x, stats, dy: D_NORMED };
            self.push(format!("{name}_weight"), op);
        }
        let op = Op::NormInput { norm, x, stats, dy: D_NORMED, residual, out: DX };
        self.push(format!("{name}_input"), op);
    }
}
