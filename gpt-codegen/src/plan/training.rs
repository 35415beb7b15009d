//! The training half of a plan: the forward pass, the loss, and the derived backward pass.

use gpt_plan::{
    Buffer, BufferId, Copies, Epilogue, Op, Projection, Repeat, Role, RowCount, Section, Spec,
    Statistics, Step, StepKernels, Training, train_stride,
};

use super::backward::backward;
use super::forward::{self, Named, Ops, PassSlots, stats};
use super::tensors::Table;
use crate::wgsl::training::TrainKernels;

/// The training pass of a model.
pub fn training(model: &str, spec: &Spec, table: &Table) -> Training {
    let buffers = buffers(spec);
    let mut kernels = TrainKernels::new(model, spec, &table.tensors, &buffers);
    let Pass { forward, loss, backward } = Pass::new(spec, table);
    let mut sections = |ops: Vec<Ops>| {
        let section = |Ops { repeat, kinds }: Ops| Section {
            repeat,
            period: kinds.len() as u32,
            steps: kinds
                .into_iter()
                .flatten()
                .map(|Named { name, op }| Step {
                    name: name.into(),
                    kernels: StepKernels::Train(kernels.of(&op).into()),
                    op,
                })
                .collect(),
        };
        ops.into_iter().map(section).collect::<Vec<_>>().into()
    };
    let (forward, loss, backward) = (sections(forward), sections(loss), sections(backward));
    let (kernels, in_f16) = kernels.finish();
    Training {
        buffers: buffers.into(),
        forward,
        loss,
        backward,
        kernels: kernels.into(),
        in_f16: in_f16.into(),
    }
}

/// The ops of a training pass.
struct Pass {
    forward: Vec<Ops>,
    loss: Vec<Ops>,
    backward: Vec<Ops>,
}

impl Pass {
    /// Materialises the norms of the forward ops, moves the head from them to the loss, and derives
    /// the backward ops of both. The logits of a batch never exist all at once: the loss runs on
    /// one range of rows after another, forward and backward.
    fn new(spec: &Spec, table: &Table) -> Pass {
        let mut forward: Vec<Ops> = forward::forward(spec, table, &PassSlots::TRAINING)
            .into_iter()
            .map(|Ops { repeat, kinds }| Ops {
                repeat,
                kinds: kinds.into_iter().map(materialize_norms).collect(),
            })
            .collect();
        let end = forward.last_mut().expect("a pass ends with the head");
        let head = end.kinds[0].pop().expect("a pass ends with the head");
        let Op::Project(Projection { epilogue: Epilogue::Store { map, .. }, .. }) = &head.op else {
            unreachable!("a head stores logits");
        };
        let cross_entropy = Named {
            name: "cross_entropy".to_owned(),
            op: Op::CrossEntropy {
                logits: BufferId::Logits.here(),
                losses: BufferId::Losses.here(),
                slope: map.as_ref().map(|map| map.slope.clone()),
            },
        };
        let mut loss = vec![head, cross_entropy];
        loss.extend(backward(spec, &loss, false));
        let gradients = forward.iter().rev().map(|Ops { repeat, kinds }| Ops {
            repeat: match *repeat {
                Repeat::Layers { from, to } => Repeat::LayersReversed { from, to },
                other => other,
            },
            kinds: kinds.iter().map(|ops| backward(spec, ops, true)).collect(),
        });
        let backward = gradients.collect();
        Pass { forward, loss: vec![Ops::new(Repeat::LogitRanges, loss)], backward }
    }
}

/// Replaces the norm of each projection by an op before it. A residual connection that read the
/// stream through that norm reads the op's output instead.
fn materialize_norms(ops: Vec<Named>) -> Vec<Named> {
    let normed = BufferId::Normed.here();
    let mut out = Vec::new();
    // The norm and the input of the rows in `normed`: parallel halves may share them.
    let mut holds = (None, normed);
    for Named { name, mut op } in ops {
        if let Op::Project(projection) = &mut op {
            let norm = projection.norm.take();
            if norm.is_some() && (norm, projection.input) == holds {
                projection.input = normed;
            } else if let Some(norm) = norm {
                holds = (Some(norm), projection.input);
                out.push(Named {
                    name: norm_name(norm.role).to_owned(),
                    op: Op::Norm {
                        norm,
                        x: projection.input,
                        sum: None,
                        stats: Some(stats(projection.input)),
                        out: normed,
                        statistics: Statistics::Compute,
                    },
                });
                projection.input = normed;
            }
            if let Epilogue::Residual { residual, norm, .. } = &mut projection.epilogue
                && norm.take().is_some()
            {
                *residual = normed;
            }
        }
        out.push(Named { name, op });
    }
    out
}

fn norm_name(role: Role) -> &'static str {
    match role {
        Role::AttentionNorm => "attn_norm",
        Role::MlpNorm => "mlp_norm",
        Role::FinalNorm => "final_norm",
        Role::HeadNorm => "head_norm",
        _ => unreachable!("{role:?} is not a norm"),
    }
}

/// The buffers of a training pass of `spec`.
pub fn buffers(spec: &Spec) -> Vec<Buffer> {
    use BufferId as B;
    let up =
        if spec.mlp.gated { 2 * spec.mlp.hidden.next_multiple_of(16) } else { spec.mlp.hidden };
    let wide = |id, width, copies| Buffer {
        id,
        width,
        stride: train_stride(width),
        rows: RowCount::Batch,
        copies,
    };
    let narrow = |id, width, copies| Buffer { stride: width, ..wide(id, width, copies) };
    let (per_layer, and_end, one) = (Copies::PerLayer, Copies::PerLayerAndEnd, Copies::One);
    // The buffers that not every spec needs.
    let mut some = Vec::new();
    if spec.block.norms_branches() {
        some.extend([
            wide(B::AttnBranch, spec.embed, per_layer),
            narrow(B::StatsAttnBranch, 2, per_layer),
            wide(B::MlpBranch, spec.embed, per_layer),
            narrow(B::StatsMlpBranch, 2, per_layer),
        ]);
    }
    if spec.embedding_norm {
        some.extend([wide(B::Embedded, spec.embed, and_end), narrow(B::StatsEmbedded, 2, and_end)]);
    }
    if spec.head_dense {
        some.extend([
            wide(B::HeadHidden, spec.embed, one),
            wide(B::HeadSlopes, spec.embed, one),
            narrow(B::StatsHead, 2, one),
        ]);
    }
    if spec.block.norms_branches() || spec.block.is_parallel() || spec.embedding_norm {
        some.push(wide(B::DBranch, spec.embed, one));
    }
    if let Some(groups) = spec.qk_groups() {
        some.extend([
            wide(B::QkvRaw, spec.qkv_width(), per_layer),
            narrow(B::StatsQkv, 2 * groups.count(), per_layer),
            wide(B::DQkvRaw, spec.qkv_width(), one),
        ]);
    }
    let every = [
        wide(B::X, spec.embed, and_end),
        wide(B::Middle, spec.embed, per_layer),
        narrow(B::StatsX, 2, and_end),
        narrow(B::StatsMiddle, 2, per_layer),
        wide(B::Qkv, spec.qkv_width(), per_layer),
        wide(B::A, spec.q_width(), per_layer),
        narrow(B::Lse, spec.heads, per_layer),
        wide(B::H, spec.mlp.hidden, per_layer),
        wide(B::Slopes, up, per_layer),
        wide(B::Normed, spec.embed, one),
        wide(B::DX, spec.embed, one),
        wide(B::DNormed, spec.embed, one),
        wide(B::DUp, up, one),
        wide(B::DA, spec.q_width(), one),
        narrow(B::Delta, spec.heads, one),
        wide(B::DQkv, spec.qkv_width(), one),
        Buffer { rows: RowCount::LogitRange, ..wide(B::Logits, spec.vocab, one) },
        narrow(B::Losses, 1, one),
        narrow(B::Tokens, 1, one),
        narrow(B::Targets, 1, one),
    ];
    every.into_iter().chain(some).collect()
}
