//! The parameters of a model, by step, and the code that calls each step with its parameters.

use gpt_plan::{BufferId, Epilogue, NormRef, Op, Place, Step, TensorId, TensorKind};

use super::{ForwardPass, HeadOperands, SessionBuffers};
use crate::Error;
use crate::cpu::activation::Apply;
use crate::cpu::pack::{Order, Packed};
use crate::cpu::parameters::{NormParameters, ParameterReader, ProjectionParameters};

/// A model's parameters, by the steps of its plan.
pub struct Interpreter {
    /// The matrices that the model has once, not in each layer, by tensor.
    matrices: Vec<Option<Packed>>,
    /// The tables of positions, by tensor.
    tables: Vec<Vec<f32>>,
    /// One for each step of the pass.
    steps: Vec<StepParameters>,
    activation: Apply,
}

/// The parameters that one step of one layer reads.
struct StepParameters {
    norm: Option<NormParameters>,
    projection: Option<ProjectionParameters>,
    /// The bias of a step of the head, whose matrix is in [`Interpreter::matrices`].
    head_bias: Option<Vec<f32>>,
}

impl StepParameters {
    fn new(reader: &ParameterReader<'_>, layer: u32, step: &Step) -> Result<StepParameters, Error> {
        let read_norm =
            |norm: Option<NormRef>| norm.map(|norm| reader.norm(norm, layer)).transpose();
        let Some(projection) = step.op.projection() else {
            let norm = match step.op {
                Op::Norm { norm, .. } | Op::NormHeads { norm, .. } => Some(norm),
                _ => None,
            };
            return Ok(StepParameters {
                norm: read_norm(norm)?,
                projection: None,
                head_bias: None,
            });
        };
        let norm = match projection.epilogue {
            Epilogue::Residual { norm, .. } => norm,
            _ => projection.norm,
        };
        let order = if step.op.is_gated() { Order::Gated } else { Order::Straight };
        let (weight, bias) = (projection.weight, projection.bias);
        // The matrices of the head are in `Interpreter::matrices`.
        let own = !step.op.is_head();
        Ok(StepParameters {
            norm: read_norm(norm)?,
            head_bias: bias.filter(|_| !own).map(|bias| reader.vector(bias, layer)).transpose()?,
            projection: own.then(|| reader.projection(weight, bias, layer, order)).transpose()?,
        })
    }
}

impl Interpreter {
    /// Reads every tensor of the plan and packs the matrices. `compiled` is the activation of a
    /// declared model; without it, a closure is evaluated node by node.
    ///
    /// # Errors
    /// Fails if the weights cannot be read, or if there is too little memory.
    pub fn new(
        reader: &ParameterReader<'_>,
        compiled: Option<fn(&mut [f32])>,
    ) -> Result<Interpreter, Error> {
        let plan = reader.plan;
        let mut matrices: Vec<Option<Packed>> = Vec::new();
        matrices.resize_with(plan.tensors.len(), || None);
        let mut tables: Vec<Vec<f32>> = vec![Vec::new(); plan.tensors.len()];
        for (i, tensor) in plan.tensors.iter().enumerate() {
            let id = TensorId(i as u16);
            match tensor.kind {
                TensorKind::Table => tables[i] = reader.vector(id, 0)?,
                // Two steps may share a matrix that the model has once, so such matrices are not
                // stored with the steps.
                TensorKind::Matrix if tensor.place == Place::Model => {
                    matrices[i] = Some(reader.matrix(id, 0, Order::Straight)?);
                }
                _ => {}
            }
        }
        let steps = plan
            .steps()
            .map(|(layer, step)| StepParameters::new(reader, layer, step))
            .collect::<Result<_, _>>()?;
        let activation = Apply::new(&plan.spec.mlp.activation, compiled, reader.device.kernels);
        Ok(Interpreter { matrices, tables, steps, activation })
    }

    /// Runs every step, in order.
    pub fn forward(&self, buffers: &mut SessionBuffers, pass: &mut ForwardPass<'_>) {
        for index in 0..self.steps.len() {
            self.step(index, buffers, pass);
        }
    }

    /// Runs step `index`.
    pub fn step(&self, index: usize, buffers: &mut SessionBuffers, pass: &mut ForwardPass<'_>) {
        let SessionBuffers {
            x,
            q,
            a,
            h,
            embedded,
            qkv_raw,
            attn_branch,
            mlp_branch,
            head_hidden,
            cache,
        } = buffers;
        let (parameters, (layer, step)) = (&self.steps[index], pass.steps[index]);
        let norm = parameters.norm.as_ref();
        let last = cache.len() - 1;
        let cache = &mut cache[last.min(layer as usize)];
        let projection = match &step.op {
            Op::Embed { table, positions, types, scale, out } => {
                let table_of = |id: TensorId| &*self.tables[usize::from(id.0)];
                let added = [positions, types].map(|id| id.map(table_of));
                let out = if out.buffer == BufferId::Embedded { embedded } else { x };
                return pass.embed_rows(self.matrix(*table), added, *scale, out);
            }
            Op::Attention { scores, .. } => return pass.attention_rows(scores, q, cache, a),
            Op::NormHeads { rotary, .. } => {
                let norm = norm.expect("a norm has parameters");
                let rotary = pass.rotary.of(*rotary);
                return pass.norm_heads_rows(qkv_raw, norm, rotary, q, cache);
            }
            Op::Norm { sum: None, .. } => {
                let norm = norm.expect("a norm has parameters");
                return pass.norm_rows(embedded, norm, None, x);
            }
            Op::Norm { x: branch, sum: Some(sum), .. } => {
                let norm = norm.expect("a norm has parameters");
                let branch =
                    if branch.buffer == BufferId::AttnBranch { attn_branch } else { mlp_branch };
                return pass.norm_rows(branch, norm, Some(sum.scale), x);
            }
            Op::Project(projection) => projection,
            _ => unreachable!("{} is not a step of a forward pass", step.name),
        };
        let activate = |row: &mut [f32]| self.activation.apply(row);
        if step.op.is_head() {
            // The embedding may share its matrix.
            let matrix = self.matrix(projection.weight);
            let head = HeadOperands { norm, matrix, bias: parameters.head_bias.as_deref() };
            return match (&projection.epilogue, projection.input.buffer) {
                (Epilogue::Store { map, .. }, BufferId::HeadHidden) => {
                    pass.head_rows(head_hidden, 0, &head, map.as_ref().map(|map| &map.value))
                }
                (Epilogue::Store { map, .. }, _) => {
                    let first = pass.first_requested(x);
                    pass.head_rows(x, first, &head, map.as_ref().map(|map| &map.value))
                }
                _ => pass.head_dense_rows(x, &head, &activate, head_hidden),
            };
        }
        let packed = || parameters.projection.as_ref().expect("a layer has matrices");
        match &projection.epilogue {
            Epilogue::Heads { rotary, .. } => {
                let rotary = pass.rotary.of(*rotary);
                pass.qkv_rows(x, norm, packed(), rotary, q, cache);
            }
            Epilogue::Activation { .. } => pass.mlp_up_rows(x, norm, packed(), &activate, h),
            Epilogue::Residual { scale, .. } => {
                let input = if projection.input.buffer == BufferId::A { a } else { h };
                pass.residual_rows(input, packed(), norm, *scale, x);
            }
            Epilogue::Store { out, .. } => match out.buffer {
                BufferId::QkvRaw => pass.store_rows(x, norm, packed(), qkv_raw),
                BufferId::AttnBranch => pass.store_rows(a, norm, packed(), attn_branch),
                _ => pass.store_rows(h, norm, packed(), mlp_branch),
            },
        }
    }

    fn matrix(&self, id: TensorId) -> &Packed {
        self.matrices[usize::from(id.0)].as_ref().expect("a matrix of the model is packed")
    }
}
