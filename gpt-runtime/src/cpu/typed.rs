//! Typed parameters: a step's arguments with their widths in the type.
//!
//! `gpt_model!` writes a model as a struct of these parameters and a forward pass of one call a
//! step. rustc rejects a plan that is wired wrongly, for example `h` into the attention's
//! projection or a norm of another width. Every method wraps one of the interpreter's
//! [`ForwardPass`]; nothing is computed here.

use gpt_plan::{Plan, Rows as RowsOf, TensorId};

use super::device::CpuDevice;
use super::interpreter::ForwardPass;
use super::kv_cache::{Cache, layer_caches};
use super::memory::Arena;
use super::pack::{Order, Packed};
use super::parameters::{NormParameters, Projection, Reader};
use crate::Error;
use crate::engine::SessionOptions;
use crate::weights::Weights;

/// A model that `gpt_model!` declared; the type holds its parameters.
pub trait Gpt: Sized + Send + Sync + 'static {
    /// The activations and cache of a session.
    type Buffers: Send;

    /// The model's plan.
    fn plan() -> &'static Plan;

    /// Reads and packs the parameters.
    ///
    /// # Errors
    /// Weights that cannot be read.
    fn parameters(store: &mut Store<'_>) -> Result<Self, Error>;

    /// Buffers for one session.
    ///
    /// # Errors
    /// The system has no memory for the cache.
    fn buffers(store: &BufferStore) -> Result<Self::Buffers, Error>;

    /// Runs every step of the plan, in order.
    fn forward(&self, buffers: &mut Self::Buffers, pass: &mut ForwardPass<'_>);

    /// Replaces `values` by the MLP's activation and writes its derivative to `slopes`.
    fn activate(values: &mut [f32], slopes: &mut [f32]);
}

/// A linear layer from `IN` features to `OUT`.
pub struct Linear<const IN: usize, const OUT: usize>(Projection);

/// Two linear layers from `IN` features to `OUT`, of which one gates the other.
pub struct GatedLinear<const IN: usize, const OUT: usize>(Projection);

/// Three linear layers from `IN` features: to queries of width `Q`, and to keys and values of width
/// `KV`.
pub struct QkvLinear<const IN: usize, const Q: usize, const KV: usize>(Projection);

/// A vector of width `EMBED` for each of `VOCAB` tokens; also the head, which multiplies by all of
/// them.
pub struct Embedding<const VOCAB: usize, const EMBED: usize>(Packed);

/// A vector of width `EMBED` for each of `CONTEXT` positions.
pub struct PositionTable<const CONTEXT: usize, const EMBED: usize>(Vec<f32>);

/// Scale and shift of a LayerNorm over `D` features.
pub struct LayerNorm<const D: usize>(NormParameters);

/// Scale of an RmsNorm over `D` features.
pub struct RmsNorm<const D: usize>(NormParameters);

/// A norm over `D` features.
pub trait Normalize<const D: usize>: Sized {
    #[doc(hidden)]
    fn from_parameters(parameters: NormParameters) -> Self;
    #[doc(hidden)]
    fn parameters(&self) -> &NormParameters;
}

impl<const D: usize> Normalize<D> for LayerNorm<D> {
    fn from_parameters(parameters: NormParameters) -> Self {
        LayerNorm(parameters)
    }
    fn parameters(&self) -> &NormParameters {
        &self.0
    }
}

impl<const D: usize> Normalize<D> for RmsNorm<D> {
    fn from_parameters(parameters: NormParameters) -> Self {
        RmsNorm(parameters)
    }
    fn parameters(&self) -> &NormParameters {
        &self.0
    }
}

/// Activations, a row of `D` for each token.
pub struct Rows<const D: usize>(Vec<f32>);

impl<const D: usize> Rows<D> {
    /// `[rows, D]`.
    pub fn values(&self) -> &[f32] {
        &self.0
    }
}

/// Keys and values of one layer, `KV` wide each.
pub struct LayerCache<const KV: usize>(Cache);

/// Reads the parameters of one layer from the weights.
pub struct Store<'a> {
    reader: Reader<'a>,
    layer: u32,
}

impl<'a> Store<'a> {
    pub(super) fn new(
        plan: &'static Plan,
        weights: &'a dyn Weights,
        device: &'a CpuDevice,
        arena: &'a Arena,
    ) -> Self {
        Store {
            reader: Reader {
                plan,
                weights,
                device,
                arena,
            },
            layer: 0,
        }
    }

    /// The parameters of one layer.
    pub fn layer(&self, layer: usize) -> Store<'a> {
        Store {
            reader: self.reader,
            layer: layer as u32,
        }
    }

    /// The matrix `name` as an embedding.
    pub fn embedding<const V: usize, const E: usize>(
        &self,
        name: &str,
    ) -> Result<Embedding<V, E>, Error> {
        let id = self.find(name, V, E);
        Ok(Embedding(self.reader.matrix(
            id,
            self.layer,
            Order::Straight,
        )?))
    }

    /// The table `name`.
    pub fn positions<const C: usize, const E: usize>(
        &self,
        name: &str,
    ) -> Result<PositionTable<C, E>, Error> {
        let id = self.find(name, C, E);
        Ok(PositionTable(self.reader.vector(id, self.layer)?))
    }

    /// `name.weight` and, where the model has biases, `name.bias`.
    pub fn linear<const IN: usize, const OUT: usize>(
        &self,
        name: &str,
    ) -> Result<Linear<IN, OUT>, Error> {
        Ok(Linear(self.projection(name, OUT, IN, Order::Straight)?))
    }

    /// As [`linear`](Self::linear), gate rows above the rows they gate.
    pub fn gated<const IN: usize, const OUT: usize>(
        &self,
        name: &str,
    ) -> Result<GatedLinear<IN, OUT>, Error> {
        Ok(GatedLinear(self.projection(
            name,
            2 * OUT,
            IN,
            Order::Gated,
        )?))
    }

    /// As [`linear`](Self::linear), rows of queries, keys and values in this order.
    pub fn qkv<const IN: usize, const Q: usize, const KV: usize>(
        &self,
        name: &str,
    ) -> Result<QkvLinear<IN, Q, KV>, Error> {
        Ok(QkvLinear(self.projection(
            name,
            Q + 2 * KV,
            IN,
            Order::Straight,
        )?))
    }

    /// `name.gamma` and, where the norm has one, `name.beta`.
    pub fn norm<const D: usize, N: Normalize<D>>(&self, name: &str) -> Result<N, Error> {
        let gamma = self.find(&format!("{name}.gamma"), D, 1);
        let beta = self.reader.plan.find(&format!("{name}.beta"));
        Ok(N::from_parameters(
            self.reader.norm(gamma, beta, self.layer)?,
        ))
    }

    fn projection(
        &self,
        name: &str,
        rows: usize,
        columns: usize,
        order: Order,
    ) -> Result<Projection, Error> {
        let weight = self.find(&format!("{name}.weight"), rows, columns);
        let bias = self.reader.plan.find(&format!("{name}.bias"));
        self.reader.projection(weight, bias, self.layer, order)
    }

    /// The tensor called `name`. One macro writes its shape in the plan and in the type, so they
    /// are equal.
    fn find(&self, name: &str, rows: usize, columns: usize) -> TensorId {
        let id = self
            .reader
            .plan
            .find(name)
            .unwrap_or_else(|| panic!("the plan has no tensor {name}"));
        let tensor = self.reader.plan.tensor(id);
        let shape = (tensor.rows as usize, tensor.columns as usize);
        assert_eq!(shape, (rows, columns), "shape of {name} in the plan");
        id
    }
}

/// Allocates the buffers of one session.
pub struct BufferStore {
    pub(super) plan: &'static Plan,
    pub(super) options: SessionOptions,
}

impl BufferStore {
    /// A buffer with a row for each token of a chunk.
    pub fn chunk<const D: usize>(&self) -> Rows<D> {
        Rows(vec![0.0; self.rows(RowsOf::Chunk) * D])
    }

    /// Allocates the cache of each layer.
    ///
    /// # Errors
    /// The system has no memory for it.
    pub fn cache<const KV: usize>(&self) -> Result<Vec<LayerCache<KV>>, Error> {
        let layers = layer_caches(&self.plan.spec, &self.options)?;
        Ok(layers.into_iter().map(LayerCache).collect())
    }

    fn rows(&self, rows: RowsOf) -> usize {
        self.options.rows(rows) as usize
    }
}

/// The parameters of a norm that may be absent.
fn of<const D: usize, N: Normalize<D>>(norm: Option<&N>) -> Option<&NormParameters> {
    norm.map(N::parameters)
}

impl ForwardPass<'_> {
    /// `x = table[token] + positions[position]`.
    pub fn embed<const V: usize, const C: usize, const E: usize>(
        &mut self,
        table: &Embedding<V, E>,
        positions: Option<&PositionTable<C, E>>,
        x: &mut Rows<E>,
    ) {
        self.embed_rows(&table.0, positions.map(|p| &*p.0), &mut x.0);
    }

    /// `q, k, v = qkv · norm(x)`, the latter two into the cache.
    pub fn qkv<const E: usize, const Q: usize, const KV: usize, N: Normalize<E>>(
        &mut self,
        x: &Rows<E>,
        norm: Option<&N>,
        qkv: &QkvLinear<E, Q, KV>,
        q: &mut Rows<Q>,
        cache: &mut LayerCache<KV>,
    ) {
        self.qkv_rows(&x.0, of(norm), &qkv.0, &mut q.0, &mut cache.0);
    }

    /// `a = softmax(q kᵀ / sqrt(head_dim)) v`.
    pub fn attention<const Q: usize, const KV: usize>(
        &mut self,
        q: &Rows<Q>,
        cache: &LayerCache<KV>,
        a: &mut Rows<Q>,
    ) {
        self.attention_rows(&q.0, &cache.0, &mut a.0);
    }

    /// `x = residual + out · a`, the residual read through `norm` in a post-norm block.
    pub fn attention_out<const Q: usize, const E: usize, N: Normalize<E>>(
        &mut self,
        a: &Rows<Q>,
        out: &Linear<Q, E>,
        norm: Option<&N>,
        x: &mut Rows<E>,
    ) {
        self.attention_out_rows(&a.0, &out.0, of(norm), &mut x.0);
    }

    /// `h = activation(up · norm(x))`.
    pub fn mlp_up<const E: usize, const H: usize, N: Normalize<E>>(
        &mut self,
        x: &Rows<E>,
        norm: Option<&N>,
        up: &Linear<E, H>,
        activation: fn(&mut [f32]),
        h: &mut Rows<H>,
    ) {
        self.mlp_up_rows(&x.0, of(norm), &up.0, &activation, &mut h.0);
    }

    /// `h = activation(gate · norm(x)) * (up · norm(x))`.
    pub fn mlp_up_gated<const E: usize, const H: usize, N: Normalize<E>>(
        &mut self,
        x: &Rows<E>,
        norm: Option<&N>,
        up: &GatedLinear<E, H>,
        activation: fn(&mut [f32]),
        h: &mut Rows<H>,
    ) {
        self.mlp_up_rows(&x.0, of(norm), &up.0, &activation, &mut h.0);
    }

    /// `x = residual + down · h`, as [`attention_out`](Self::attention_out).
    pub fn mlp_down<const H: usize, const E: usize, N: Normalize<E>>(
        &mut self,
        h: &Rows<H>,
        down: &Linear<H, E>,
        norm: Option<&N>,
        x: &mut Rows<E>,
    ) {
        self.mlp_down_rows(&h.0, &down.0, of(norm), &mut x.0);
    }

    /// `logits = head · norm(x)` of the requested rows, to the caller of the pass.
    pub fn head<const E: usize, const V: usize, N: Normalize<E>>(
        &mut self,
        x: &Rows<E>,
        norm: Option<&N>,
        head: &Embedding<V, E>,
    ) {
        self.head_rows(&x.0, of(norm), &head.0);
    }
}
