//! [`check`] accepts the plans of this compiler and rejects each kind of broken wiring.

use gpt_plan::{
    BufferId, Component, Epilogue, Heads, Op, Plan, Projection, Repeat, Role, Section, StepKernels,
    TensorId, TensorKind, check, validate,
};
use std::borrow::Cow;

fn plans(spec: &str) -> Plan {
    let declared =
        format!("struct M {{ vocab: 11, context: 6, layers: 3, heads: 2, embed: 8, {spec} }}");
    let specs = crate::specs(declared.parse().unwrap());
    let (name, spec) = specs.expect("a valid spec").remove(0);
    super::plan(&name, &spec)
}

/// A model with every tensor that a GPT-2 can have, including a head of its own.
fn untied() -> Plan {
    plans("tie_embeddings: false, dropout: 0.1")
}

/// Grouped queries and a gated MLP.
fn gated() -> Plan {
    plans("kv_heads: 1, mlp: Gated { hidden: 10 }")
}

#[test]
fn plans_are_consistent() {
    let specs = [
        "",
        "block: PostNorm",
        "block: PostNorm, dropout: 0.1",
        "dropout: 0.1, tie_embeddings: false",
        "positions: Rope { theta: 1e4 }, norm: RmsNorm { eps: 1e-5 }, bias: false",
        "positions: Sinusoidal, block: PostNorm, mlp: Gated { hidden: 9 }",
        "kv_heads: 1, head_dim: 6, mlp: Gated { hidden: 10 }, mask: Bidirectional",
    ];
    for spec in specs {
        assert_eq!(check(&plans(spec)), Ok(()), "{spec}");
    }
}

/// Applies `change` to the plan and returns the message of its fault.
fn broken(mut plan: Plan, change: impl FnOnce(&mut Plan)) -> String {
    change(&mut plan);
    match check(&plan) {
        Ok(()) => panic!("the plan is accepted"),
        Err(fault) => fault.to_string(),
    }
}

fn id(plan: &Plan, role: Role, component: Component) -> TensorId {
    plan.role(role, component).expect("the model has the tensor")
}

/// The sections of all passes.
fn sections(plan: &mut Plan) -> Vec<&mut Section> {
    let training = &mut plan.training;
    let lists =
        [&mut plan.sections, &mut training.forward, &mut training.loss, &mut training.backward];
    lists.into_iter().flat_map(Cow::to_mut).collect()
}

/// The ops of all steps called `name`. If inference has such a step, its op is first.
fn ops<'a>(plan: &'a mut Plan, name: &str) -> Vec<&'a mut Op> {
    let steps = sections(plan).into_iter().flat_map(|section| section.steps.to_mut());
    steps.filter(|step| step.name == name).map(|step| &mut step.op).collect()
}

fn projection<'a>(plan: &'a mut Plan, name: &str) -> &'a mut Projection {
    match ops(plan, name).remove(0) {
        Op::Project(projection) => projection,
        op => panic!("{op:?} is not a projection"),
    }
}

#[test]
fn a_message_names_the_step_and_the_sizes() {
    let message = broken(untied(), |plan| {
        projection(plan, "mlp_up").input = BufferId::H.here();
        // `h` is written by `mlp_up` itself.
        projection(plan, "qkv").epilogue = Epilogue::Store { out: BufferId::H.here(), map: None };
    });
    assert_eq!(
        message,
        "the plan is inconsistent: inference, step `qkv`: \
         the number of rows of attn.qkv.weight is 24, expected 32"
    );
    let panic = std::panic::catch_unwind(|| {
        let mut plan = untied();
        plan.buffers.to_mut().clear();
        validate(&plan);
    });
    let panic = panic.expect_err("the plan is accepted");
    assert_eq!(
        panic.downcast_ref::<String>().map(String::as_str),
        Some(
            "the plan is inconsistent: inference, step `embed`: \
             x is not in the pass's list of buffers"
        )
    );
}

#[test]
fn wrong_tensors() {
    let message = broken(untied(), |plan| {
        projection(plan, "mlp_up").weight = TensorId(999);
    });
    assert!(message.contains("beyond the list of tensors"), "{message}");
    // Each tensor in place of each matrix from which it differs in kind, place or shape.
    let names = ["qkv", "attention_out", "mlp_up", "mlp_down", "head"];
    for plan in [untied(), gated()] {
        for name in names {
            let right = projection(&mut plan.clone(), name).weight;
            for wrong in 0..plan.tensors.len() as u16 {
                let (a, b) = (plan.tensor(right), plan.tensor(TensorId(wrong)));
                let alike = a.kind == b.kind
                    && a.place == b.place
                    && (a.rows, a.columns) == (b.rows, b.columns);
                if !alike {
                    broken(plan.clone(), |plan| projection(plan, name).weight = TensorId(wrong));
                }
            }
        }
    }
    broken(untied(), |plan| {
        let bias = id(plan, Role::MlpUp, Component::Bias);
        projection(plan, "qkv").bias = Some(bias);
    });
    broken(untied(), |plan| {
        let bias = id(plan, Role::MlpUp, Component::Bias);
        projection(plan, "mlp_up").norm.as_mut().unwrap().gamma = Some(bias);
    });
    broken(untied(), |plan| {
        let bias = id(plan, Role::Qkv, Component::Bias);
        projection(plan, "mlp_up").norm.as_mut().unwrap().beta = Some(bias);
    });
    // The final norm belongs to no layer.
    broken(untied(), |plan| {
        let gamma = id(plan, Role::FinalNorm, Component::Weight);
        projection(plan, "mlp_up").norm.as_mut().unwrap().gamma = Some(gamma);
    });
    // The first layer of a post-norm model has no such norm.
    broken(plans("block: PostNorm"), |plan| {
        let norm = projection(plan, "qkv").norm;
        projection(plan, "qkv_first").norm = norm;
    });
    broken(untied(), |plan| {
        let head = id(plan, Role::Head, Component::Weight);
        if let Op::Embed { positions, .. } = ops(plan, "embed").remove(0) {
            *positions = Some(head);
        }
    });
}

#[test]
fn wrong_shapes() {
    for plan in [untied(), gated(), plans("block: PostNorm")] {
        for i in 0..plan.tensors.len() {
            let has_file = !plan.tensors[i].sources.is_empty();
            for resize in [true, false] {
                broken(plan.clone(), |plan| {
                    let tensor = &mut plan.tensors.to_mut()[i];
                    if resize && tensor.kind != TensorKind::Vector {
                        tensor.columns += 1;
                    } else {
                        tensor.rows += 1;
                        if has_file {
                            tensor.sources.to_mut()[0].rows += 1;
                        }
                    }
                });
            }
            broken(plan.clone(), |plan| plan.tensors.to_mut()[i].rows = 0);
            if has_file {
                broken(plan.clone(), |plan| {
                    plan.tensors.to_mut()[i].sources.to_mut()[0].rows += 1;
                });
            }
        }
    }
}

#[test]
fn wrong_buffers() {
    use BufferId as B;
    for plan in [untied(), gated(), plans("block: PostNorm")] {
        for buffer in [B::X, B::Q, B::K, B::V, B::A, B::H, B::Logits] {
            broken(plan.clone(), |plan| plan.buffers.to_mut().retain(|b| b.id != buffer));
            broken(plan.clone(), |plan| {
                let mut all = plan.buffers.to_mut().iter_mut();
                all.find(|b| b.id == buffer).unwrap().width += 2;
            });
        }
        for i in 0..plan.training.buffers.len() {
            if [B::Tokens, B::Targets].contains(&plan.training.buffers[i].id) {
                continue;
            }
            broken(plan.clone(), |plan| {
                plan.training.buffers.to_mut().remove(i);
            });
            broken(plan.clone(), |plan| plan.training.buffers.to_mut()[i].width += 2);
        }
    }
    // Queries in the place of the attention's output, which nothing else writes.
    let message = broken(untied(), |plan| {
        if let Op::Attention { out, .. } = ops(plan, "attention").remove(0) {
            *out = B::Q.here();
        }
    });
    assert!(message.contains("no earlier step writes it"), "{message}");
    // A copy that the buffer does not have.
    broken(untied(), |plan| projection(plan, "mlp_down").input = B::H.next());
    broken(untied(), |plan| {
        if let Op::Embed { out, .. } = ops(plan, "embed").remove(1) {
            *out = B::X.next();
        }
    });
    broken(untied(), |plan| {
        if let Op::Attention { heads, .. } = ops(plan, "attention").remove(0) {
            *heads = Heads::Fused { qkv: B::Q.here() };
        }
    });
}

#[test]
fn wrong_epilogues() {
    broken(gated(), |plan| {
        if let Epilogue::Activation { gated, .. } = &mut projection(plan, "mlp_up").epilogue {
            *gated = false;
        }
    });
    broken(untied(), |plan| {
        if let Epilogue::Residual { out, .. } = &mut projection(plan, "mlp_down").epilogue {
            *out = BufferId::H.here();
        }
    });
    broken(untied(), |plan| {
        if let Epilogue::Residual { residual, .. } = &mut projection(plan, "mlp_down").epilogue {
            *residual = BufferId::H.here();
        }
    });
}

/// Every slot of every backward op, replaced by a buffer of another width.
#[test]
fn wrong_backward_ops() {
    use BufferId as B;
    for plan in [untied(), gated(), plans("block: PostNorm")] {
        let count = |plan: &mut Plan| backward_slots(plan).len();
        for i in 0..count(&mut plan.clone()) {
            broken(plan.clone(), |plan| *backward_slots(plan)[i] = B::Losses.here());
        }
        let mut weights = 0;
        for name in ["qkv", "attention_out", "mlp_up", "mlp_down"] {
            for suffix in ["weight", "input"] {
                let name = format!("{name}_{suffix}");
                if ops(&mut plan.clone(), &name).is_empty() {
                    continue;
                }
                weights += 1;
                broken(plan.clone(), |plan| {
                    let gamma = id(plan, Role::MlpNorm, Component::Weight);
                    match ops(plan, &name).remove(0) {
                        Op::ProjectWeight { weight, .. } | Op::ProjectInput { weight, .. } => {
                            *weight = gamma;
                        }
                        op => panic!("{op:?}"),
                    }
                });
            }
        }
        assert_eq!(weights, 8);
    }
}

/// All slots that backward ops read or write.
fn backward_slots(plan: &mut Plan) -> Vec<&mut gpt_plan::Slot> {
    let sections = plan.training.backward.to_mut().iter_mut();
    let ops = sections.flat_map(|section| section.steps.to_mut()).map(|step| &mut step.op);
    let mut slots = Vec::new();
    for op in ops {
        match op {
            Op::EmbedBackward { dx, .. } => slots.push(dx),
            Op::DropoutBackward { dy, out, .. } => slots.extend([dy, out]),
            Op::ProjectInput { dy, slopes, out, .. } => {
                slots.extend([dy, out]);
                slots.extend(slopes);
            }
            Op::ProjectWeight { dy, input, .. } => slots.extend([dy, input]),
            Op::NormInput { x, stats, dy, residual, out, .. } => {
                slots.extend([x, stats, dy, out]);
                slots.extend(residual);
            }
            Op::NormWeight { x, stats, dy, .. } => slots.extend([x, stats, dy]),
            Op::Add { a, b, out } => slots.extend([a, b, out]),
            Op::AttentionBackward { qkv, out, lse, dout, delta, dqkv, .. } => {
                slots.extend([qkv, out, lse, dout, delta, dqkv]);
            }
            // Recomputed norms.
            _ => {}
        }
    }
    slots
}

#[test]
fn wrong_layers() {
    for change in [(0, 2), (1, 3), (0, 4), (3, 0)] {
        let (from, to) = change;
        for list in 0..2 {
            broken(untied(), |plan| {
                let lists = [&mut plan.sections, &mut plan.training.forward];
                let section = &mut lists.into_iter().nth(list).unwrap().to_mut()[1];
                section.repeat = Repeat::Layers { from, to };
            });
        }
        broken(untied(), |plan| {
            let section = &mut plan.training.backward.to_mut()[1];
            section.repeat = Repeat::LayersReversed { from, to };
        });
    }
    broken(untied(), |plan| {
        plan.sections.to_mut().remove(1);
    });
    broken(untied(), |plan| {
        let section = plan.sections[1].clone();
        plan.sections.to_mut().insert(1, section);
    });
    broken(untied(), |plan| {
        plan.training.backward.to_mut().reverse();
    });
    broken(untied(), |plan| plan.sections.to_mut()[1].repeat = Repeat::LogitRanges);
}

#[test]
fn wrong_kernels() {
    broken(untied(), |plan| {
        plan.kernels.to_mut().pop();
    });
    broken(untied(), |plan| plan.sampling[0] = u16::MAX);
    broken(untied(), |plan| {
        plan.training.in_f16.to_mut().pop();
    });
    broken(untied(), |plan| plan.training.in_f16.to_mut()[0] = 999);
    broken(untied(), |plan| {
        let step = &mut plan.training.backward.to_mut()[0].steps.to_mut()[0];
        step.kernels = StepKernels::Train(vec![999].into());
    });
    broken(untied(), |plan| {
        let kernels = plan.sections[0].steps[0].kernels.clone();
        plan.training.forward.to_mut()[0].steps.to_mut()[0].kernels = kernels;
    });
}
