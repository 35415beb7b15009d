//! The walker: a plan made at run time, carried out step by step. What the typed face says in types is looked up here.

use std::sync::Arc;

use gpt_plan::{BufferId, Op, Plan, Step, TensorId, TensorKind};

use super::activation::Apply;
use super::device::CpuDevice;
use super::kv_cache::Cache;
use super::memory::Arena;
use super::pack::{Order, Packed};
use super::parameters::{NormParameters, Projection, Reader};
use super::pass::Pass;
use super::session::{Forward, Session, Shared};
use super::typed::BufferStore;
use crate::Error;
use crate::engine::{EngineModel, EngineSession, SessionOptions};
use crate::weights::Weights;

/// A model known only by its plan.
pub struct CpuModel {
    pub(super) shared: Arc<Shared<Walk>>,
}

impl CpuModel {
    /// Packs every tensor of `plan`.
    pub fn new(
        device: Arc<CpuDevice>,
        plan: &'static Plan,
        weights: &dyn Weights,
    ) -> Result<CpuModel, Error> {
        let reader = Reader {
            plan,
            weights,
            device: &device,
            arena: &Arena::default(),
        };
        let mut matrices: Vec<Option<Packed>> = Vec::new();
        matrices.resize_with(plan.tensors.len(), || None);
        let mut tables: Vec<Vec<f32>> = vec![Vec::new(); plan.tensors.len()];
        for (i, tensor) in plan.tensors.iter().enumerate() {
            let id = TensorId(i as u16);
            match tensor.kind {
                TensorKind::Table => tables[i] = reader.vector(id, 0)?,
                // Those that are read by look-up or as a head are kept apart from the steps, as two steps may share one.
                TensorKind::Matrix if matches!(tensor.place, gpt_plan::Place::Model) => {
                    matrices[i] = Some(reader.matrix(id, 0, Order::Straight)?);
                }
                _ => {}
            }
        }
        let steps = plan
            .walk()
            .map(|(layer, step)| Parameters::new(&reader, layer, step))
            .collect::<Result<_, _>>()?;
        let activation = Apply::new(&plan.spec.mlp.activation, device.kernels);
        let model = Walk {
            matrices,
            tables,
            steps,
            activation,
        };
        Ok(CpuModel {
            shared: Arc::new(Shared::new(device, plan, model)),
        })
    }
}

impl EngineModel for CpuModel {
    fn session(&self, options: SessionOptions) -> Result<Box<dyn EngineSession>, Error> {
        Ok(Box::new(Session::new(self.shared.clone(), options)?))
    }
}

pub(super) struct Walk {
    matrices: Vec<Option<Packed>>,
    tables: Vec<Vec<f32>>,
    /// One for each step of the walk.
    steps: Vec<Parameters>,
    activation: Apply,
}

/// What one step of one layer reads.
struct Parameters {
    norm: Option<NormParameters>,
    projection: Option<Projection>,
}

impl Parameters {
    fn new(reader: &Reader<'_>, layer: u32, step: &Step) -> Result<Parameters, Error> {
        let gated = matches!(step.op, Op::MlpUp { .. }) && reader.plan.spec.mlp.gated;
        let order = if gated { Order::Gated } else { Order::Straight };
        let (norm, projection) = match step.op {
            Op::Embed { .. } | Op::Attention => (None, None),
            Op::Head { norm, .. } => (norm, None),
            Op::Qkv { norm, weight, bias }
            | Op::AttentionOut { norm, weight, bias }
            | Op::MlpUp { norm, weight, bias }
            | Op::MlpDown { norm, weight, bias } => (norm, Some((weight, bias))),
        };
        // A norm of the model (the head's) has one layer.
        let norm_layer = if matches!(step.op, Op::Head { .. }) {
            0
        } else {
            layer
        };
        Ok(Parameters {
            norm: norm
                .map(|n| reader.norm(n.gamma, n.beta, norm_layer))
                .transpose()?,
            projection: projection
                .map(|(w, b)| reader.projection(w, b, layer, order))
                .transpose()?,
        })
    }
}

pub(super) struct Buffers {
    x: Vec<f32>,
    q: Vec<f32>,
    a: Vec<f32>,
    h: Vec<f32>,
    cache: Vec<Cache>,
}

impl Walk {
    fn matrix(&self, id: TensorId) -> &Packed {
        self.matrices[usize::from(id.0)]
            .as_ref()
            .expect("a matrix of the model is packed")
    }

    /// Step `index` of the walk.
    pub(super) fn step(&self, index: usize, buffers: &mut Buffers, pass: &mut Pass<'_>) {
        let Buffers { x, q, a, h, cache } = buffers;
        let (parameters, (layer, step)) = (&self.steps[index], pass.steps[index]);
        let norm = parameters.norm.as_ref();
        let cache = &mut cache[layer as usize];
        match (&step.op, &parameters.projection) {
            (Op::Embed { table, positions }, _) => {
                let positions = positions.map(|id| &*self.tables[usize::from(id.0)]);
                pass.embed_rows(self.matrix(*table), positions, x);
            }
            (Op::Attention, _) => pass.attention_rows(q, cache, a),
            (Op::Head { weight, .. }, _) => pass.head_rows(x, norm, self.matrix(*weight)),
            (Op::Qkv { .. }, Some(qkv)) => pass.qkv_rows(x, norm, qkv, q, cache),
            (Op::AttentionOut { .. }, Some(out)) => pass.attention_out_rows(a, out, norm, x),
            (Op::MlpUp { .. }, Some(up)) => {
                pass.mlp_up_rows(x, norm, up, &|row| self.activation.apply(row), h)
            }
            (Op::MlpDown { .. }, Some(down)) => pass.mlp_down_rows(h, down, norm, x),
            (op, None) => unreachable!("a projection was packed for {op:?}"),
        }
    }
}

impl Forward for Walk {
    type Buffers = Buffers;

    fn buffers(&self, store: &BufferStore) -> Result<Buffers, Error> {
        let buffer = |id: BufferId| {
            let buffer = &store.plan.buffers[id as usize];
            vec![0.0; store.rows(buffer.rows) * buffer.width as usize]
        };
        Ok(Buffers {
            x: buffer(BufferId::X),
            q: buffer(BufferId::Q),
            a: buffer(BufferId::A),
            h: buffer(BufferId::H),
            cache: store.layer_caches()?,
        })
    }

    fn forward(&self, buffers: &mut Buffers, pass: &mut Pass<'_>) {
        for index in 0..self.steps.len() {
            self.step(index, buffers, pass);
        }
    }
}
