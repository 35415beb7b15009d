//! The interpreter of a forward pass: a model's packed parameters, and each step of its plan as a
//! call of a [`Pass`] method.

use std::sync::Arc;

use gpt_plan::{BufferId, Epilogue, Op, Place, Plan, RowCount, Slot, Step, TensorId, TensorKind};

use super::activation::Apply;
use super::device::CpuDevice;
use super::kv_cache::Cache;
use super::memory::Arena;
use super::pack::{Order, Packed};
use super::parameters::{NormParameters, Projection, Reader};
use super::pass::Pass;
use super::session::{Session, Shared};
use crate::Error;
use crate::engine::{EngineModel, EngineSession, SessionOptions};
use crate::weights::Weights;

/// A model on the CPU.
pub struct CpuModel {
    pub(super) shared: Arc<Shared>,
}

impl CpuModel {
    /// Packs every tensor of `plan`. `activation` is the compiled activation of a declared model;
    /// without it a closure is evaluated node by node.
    ///
    /// # Errors
    /// Weights that cannot be read; no memory for them.
    pub fn new(
        device: Arc<CpuDevice>,
        plan: &'static Plan,
        activation: Option<fn(&mut [f32])>,
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
                // The embedding and the head may be one matrix, so steps do not own them.
                TensorKind::Matrix if tensor.place == Place::Model => {
                    matrices[i] = Some(reader.matrix(id, 0, Order::Straight)?);
                }
                _ => {}
            }
        }
        let steps = plan
            .steps()
            .map(|(layer, step)| StepParameters::new(&reader, layer, step))
            .collect::<Result<_, _>>()?;
        let model = Model {
            matrices,
            tables,
            steps,
            activation: Apply::new(&plan.spec.mlp.activation, activation, device.kernels),
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

/// The parameters of a model.
pub(super) struct Model {
    /// Matrices of the model, by tensor.
    matrices: Vec<Option<Packed>>,
    /// Tables, by tensor.
    tables: Vec<Vec<f32>>,
    /// One for each step of [`Plan::steps`].
    steps: Vec<StepParameters>,
    activation: Apply,
}

/// The parameters of one step of one layer.
struct StepParameters {
    norm: Option<NormParameters>,
    /// None for the head, whose matrix belongs to the model.
    projection: Option<Projection>,
}

impl StepParameters {
    fn new(reader: &Reader<'_>, layer: u32, step: &Step) -> Result<StepParameters, Error> {
        let Some(projection) = step.op.projection() else {
            return Ok(StepParameters {
                norm: None,
                projection: None,
            });
        };
        let norm = match projection.epilogue {
            Epilogue::Residual { norm, .. } => norm,
            _ => projection.norm,
        };
        let order = if step.op.is_gated() {
            Order::Gated
        } else {
            Order::Straight
        };
        let (weight, bias) = (projection.weight, projection.bias);
        let own = !step.op.is_head();
        Ok(StepParameters {
            norm: norm
                .map(|n| reader.norm(n.gamma, n.beta, layer))
                .transpose()?,
            projection: own
                .then(|| reader.projection(weight, bias, layer, order))
                .transpose()?,
        })
    }
}

/// The activations and the cache of one session.
pub(super) struct Buffers {
    x: Vec<f32>,
    q: Vec<f32>,
    a: Vec<f32>,
    h: Vec<f32>,
    cache: Vec<Cache>,
}

impl Buffers {
    /// # Errors
    /// The system has no memory for the cache.
    pub fn new(plan: &Plan, options: &SessionOptions) -> Result<Buffers, Error> {
        let buffer = |id: BufferId| {
            let buffer = plan.buffer(id);
            debug_assert_eq!(buffer.rows, RowCount::Chunk);
            vec![0.0; options.rows(buffer.rows) as usize * buffer.width as usize]
        };
        let (arena, spec) = (Arena::default(), &plan.spec);
        let cache = (0..spec.layers).map(|_| {
            Cache::new(
                &arena,
                spec.kv_heads as usize,
                spec.head_dim as usize,
                options.capacity as usize,
                options.cache,
            )
        });
        Ok(Buffers {
            x: buffer(BufferId::X),
            q: buffer(BufferId::Q),
            a: buffer(BufferId::A),
            h: buffer(BufferId::H),
            cache: cache.collect::<Result<_, _>>()?,
        })
    }

    /// Copies the first `positions` positions of every layer's cache.
    pub fn copy_cache(&mut self, from: &Buffers, positions: usize) {
        for (to, from) in self.cache.iter_mut().zip(&from.cache) {
            to.copy_from(from, positions);
        }
    }
}

impl Model {
    /// Runs every step.
    pub fn forward(&self, buffers: &mut Buffers, pass: &mut Pass<'_>) {
        for index in 0..self.steps.len() {
            self.step(index, buffers, pass);
        }
    }

    fn matrix(&self, id: TensorId) -> &Packed {
        self.matrices[usize::from(id.0)]
            .as_ref()
            .expect("a matrix of the model is packed")
    }

    /// Runs step `index` of [`Plan::steps`].
    pub fn step(&self, index: usize, buffers: &mut Buffers, pass: &mut Pass<'_>) {
        let Buffers { x, q, a, h, cache } = buffers;
        let (parameters, (layer, step)) = (&self.steps[index], pass.steps[index]);
        let norm = parameters.norm.as_ref();
        let cache = &mut cache[layer as usize];
        let projection = match &step.op {
            Op::Embed {
                table, positions, ..
            } => {
                let positions = positions.map(|id| &*self.tables[usize::from(id.0)]);
                return pass.embed_rows(self.matrix(*table), positions, x);
            }
            Op::Attention { .. } => return pass.attention_rows(q, cache, a),
            Op::Project(projection) => projection,
            _ => unreachable!("{} is no step of a forward pass", step.name),
        };
        let Some(packed) = &parameters.projection else {
            return pass.head_rows(x, norm, self.matrix(projection.weight));
        };
        match projection.epilogue {
            Epilogue::Heads { .. } => pass.qkv_rows(x, norm, packed, q, cache),
            Epilogue::Activation { .. } => {
                pass.mlp_up_rows(x, norm, packed, &|row| self.activation.apply(row), h)
            }
            Epilogue::Residual { .. } => {
                const A: Slot = BufferId::A.here();
                let input = if projection.input == A { a } else { h };
                pass.residual_rows(input, packed, norm, x);
            }
            Epilogue::Store { .. } => unreachable!("the head's matrix belongs to the model"),
        }
    }
}
