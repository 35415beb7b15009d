//! The table of tensors of a spec.

use gpt_plan::{
    Block, Component, FileTensor, Init, NormRef, Place, Positions, Role, Spec, Tensor, TensorId,
    TensorKind,
};

use super::names::{Names, Scheme};

/// Every tensor of a model, and those that each op reads.
pub struct Table {
    pub tensors: Vec<Tensor>,
    pub token_embedding: TensorId,
    /// The table of positions, learned or computed; none in a model with rotary positions or ALiBi.
    pub positions: Option<TensorId>,
    /// The table of token types, if the model has types.
    pub token_types: Option<TensorId>,
    /// The norm of the embedding, if the model has one.
    pub embedding_norm: Option<NormRef>,
    /// The norm through which the attention reads the stream, if the block has one.
    pub attn_norm: Option<NormRef>,
    pub qkv: Projection,
    pub qk_norm: Option<NormRef>,
    pub attn_out: Projection,
    /// The norm of the attention's output, if the block has one.
    pub attn_branch_norm: Option<NormRef>,
    /// The norm through which the MLP reads the stream, if the block has one. The attention may
    /// share it.
    pub mlp_norm: Option<NormRef>,
    pub mlp_up: Projection,
    pub mlp_down: Projection,
    /// The norm of the MLP's output, if the block has one.
    pub mlp_branch_norm: Option<NormRef>,
    pub final_norm: NormRef,
    /// The dense layer of the head and the norm after it, if the head has them.
    pub head_dense: Option<(Projection, NormRef)>,
    /// The matrix of the head: the token embedding if it is tied.
    pub head: TensorId,
    pub head_bias: Option<TensorId>,
}

/// The matrix of a projection, and its bias if it has one.
#[derive(Clone, Copy)]
pub struct Projection {
    pub weight: TensorId,
    pub bias: Option<TensorId>,
}

/// Standard deviation of the initial weights of a matrix or table with rows of `columns`. It is
/// GPT-2's 0.02 at a width of 768, and proportional to `1 / sqrt(columns)`, which keeps the scale
/// of sums of `columns` products (Glorot and Bengio 2010).
fn deviation(columns: u32) -> f64 {
    0.02 * (768.0 / f64::from(columns)).sqrt()
}

impl Table {
    pub fn new(spec: &Spec) -> Table {
        let names = Scheme::new(spec);
        let mut build = Builder { spec, tensors: Vec::new() };
        // Projections into the residual stream start smaller, so that its scale does not grow with
        // depth (GPT-2, section 2.3).
        let narrow = 1.0 / f64::from(2 * spec.layers).sqrt();

        let token_embedding = build.matrix(
            Role::TokenEmbedding,
            "token_embedding",
            Place::Model,
            spec.embed,
            1.0,
            &[names.token_embedding()],
        );
        let positions = build.positions(&names);
        let token_types = spec.token_types.map(|_| build.token_types(&names));
        let embedding_norm = spec.embedding_norm.then(|| {
            let names = [names.embedding_norm()];
            build.norm(Role::EmbeddingNorm, "embedding_norm", Place::Model, &names, 0)
        });
        let every = Place::Layers { first: 0 };
        // A norm is the prologue of the projection that reads the stream. In a post-norm block the
        // attention therefore applies the norm at the end of the previous layer. The first layer
        // reads the embedding without a norm, and the head applies the last norm.
        let attn_norm = match spec.block {
            Block::PostBranch => None,
            Block::PostNorm => {
                let later = Place::Layers { first: 1 };
                let names = names.second_norm();
                Some(build.norm(Role::AttentionNorm, "attn_norm", later, &[names], -1))
            }
            _ => {
                let place = Place::Layers { first: u32::from(spec.first_attn_bare) };
                Some(build.norm(Role::AttentionNorm, "attn_norm", place, &[names.first_norm()], 0))
            }
        };
        let qkv = build.projection(Role::Qkv, "attn.qkv", every, spec.embed, 1.0, &names.qkv());
        let qk_norm = spec.qk_groups().map(|groups| {
            build.norm(Role::QkNorm, "attn.qk_norm", every, &names.qk_norm(groups), 0)
        });
        let attn_out = build.projection(
            Role::AttentionOut,
            "attn.out",
            every,
            spec.q_width(),
            narrow,
            &names.attention_out(),
        );
        let attn_branch_norm = spec.block.norms_branches().then(|| {
            let names = [names.attn_branch_norm()];
            build.norm(Role::AttentionBranchNorm, "attn_branch_norm", every, &names, 0)
        });
        let mlp_norm = match spec.block {
            Block::PostBranch => None,
            Block::Parallel { norms: 1 } => attn_norm,
            Block::PostNorm => {
                Some(build.norm(Role::MlpNorm, "mlp_norm", every, &[names.first_norm()], 0))
            }
            _ => Some(build.norm(Role::MlpNorm, "mlp_norm", every, &[names.second_norm()], 0)),
        };
        let mlp_up =
            build.projection(Role::MlpUp, "mlp.up", every, spec.embed, 1.0, &names.mlp_up());
        let mlp_down = build.projection(
            Role::MlpDown,
            "mlp.down",
            every,
            spec.mlp.hidden,
            narrow,
            &names.mlp_down(),
        );
        let mlp_branch_norm = spec.block.norms_branches().then(|| {
            let names = [names.mlp_branch_norm()];
            build.norm(Role::MlpBranchNorm, "mlp_branch_norm", every, &names, 0)
        });
        let (final_names, last) = match spec.block {
            Block::PostNorm => (names.second_norm(), spec.layers as i32 - 1),
            _ => (names.final_norm(), 0),
        };
        let final_norm =
            build.norm(Role::FinalNorm, "final_norm", Place::Model, &[final_names], last);
        let head_dense = spec.head_dense.then(|| {
            let (place, width) = (Place::Model, spec.embed);
            let dense = [names.head_dense()];
            let dense = build.projection(Role::HeadDense, "head.dense", place, width, 1.0, &dense);
            let norm = [names.head_norm()];
            (dense, build.norm(Role::HeadNorm, "head.norm", place, &norm, 0))
        });
        let head = if spec.tie_embeddings {
            token_embedding
        } else {
            build.matrix(Role::Head, "head.weight", Place::Model, spec.embed, 1.0, &[names.head()])
        };
        let head_bias = spec.head_bias.then(|| {
            build.vector(Vector {
                role: Role::Head,
                component: Component::Bias,
                name: "head.bias".to_owned(),
                place: Place::Model,
                init: Init::Zeros,
                names: &[names.head_bias()],
                shift: 0,
                offset: 0.0,
            })
        });
        Table {
            tensors: build.tensors,
            token_embedding,
            positions,
            token_types,
            embedding_norm,
            attn_norm,
            qkv,
            qk_norm,
            attn_out,
            attn_branch_norm,
            mlp_norm,
            mlp_up,
            mlp_down,
            mlp_branch_norm,
            final_norm,
            head_dense,
            head,
            head_bias,
        }
    }
}

/// A vector to be added to the table.
struct Vector<'a> {
    role: Role,
    component: Component,
    name: String,
    place: Place,
    init: Init,
    /// The vectors of a file that are stacked to form this one.
    names: &'a [Names],
    /// Added to the layer's number in the names of a file.
    shift: i32,
    /// Added to the values of a safetensors file.
    offset: f32,
}

struct Builder<'a> {
    spec: &'a Spec,
    tensors: Vec<Tensor>,
}

impl Builder<'_> {
    fn push(&mut self, tensor: Tensor) -> TensorId {
        let id = TensorId(self.tensors.len() as u16);
        self.tensors.push(tensor);
        id
    }

    /// Adds a matrix. `names` are the tensors of a file that are stacked to form it. The standard
    /// deviation of its initial weights is `share` times the usual one ([`deviation`]).
    fn matrix(
        &mut self,
        role: Role,
        name: &str,
        place: Place,
        columns: u32,
        share: f64,
        names: &[Names],
    ) -> TensorId {
        self.push(Tensor {
            role,
            component: Component::Weight,
            name: name.to_owned().into(),
            place,
            kind: TensorKind::Matrix,
            rows: names.iter().map(|n| n.rows).sum(),
            columns,
            init: Init::Normal(share * deviation(columns)),
            sources: names.iter().map(|n| n.source("weight", 0)).collect(),
        })
    }

    fn vector(&mut self, vector: Vector<'_>) -> TensorId {
        let Vector { role, component, name, place, init, names, shift, offset } = vector;
        let suffix = match component {
            Component::Weight => "weight",
            Component::Bias => "bias",
        };
        self.push(Tensor {
            role,
            component,
            name: name.into(),
            place,
            kind: TensorKind::Vector,
            rows: names.iter().map(|n| n.rows).sum(),
            columns: 1,
            init,
            sources: names
                .iter()
                .map(|n| FileTensor { hf_offset: offset, ..n.source(suffix, shift) })
                .collect(),
        })
    }

    /// Adds the matrix of a projection, with a `share` as in [`matrix`](Self::matrix), and its bias
    /// if it has one.
    fn projection(
        &mut self,
        role: Role,
        name: &str,
        place: Place,
        columns: u32,
        share: f64,
        names: &[Names],
    ) -> Projection {
        let weight = self.matrix(role, &format!("{name}.weight"), place, columns, share, names);
        let bias = self.spec.projection_bias(role).then(|| {
            self.vector(Vector {
                role,
                component: Component::Bias,
                name: format!("{name}.bias"),
                place,
                init: Init::Zeros,
                names,
                shift: 0,
                offset: 0.0,
            })
        });
        Projection { weight, bias }
    }

    /// Adds the vectors of a norm. `shift` is added to the layer's number in the names of a file.
    fn norm(
        &mut self,
        role: Role,
        name: &str,
        place: Place,
        names: &[Names],
        shift: i32,
    ) -> NormRef {
        let norm = self.spec.norm_of(role);
        let offset = if norm.unit_offset { 1.0 } else { 0.0 };
        let gamma = norm.affine.then(|| {
            self.vector(Vector {
                role,
                component: Component::Weight,
                name: format!("{name}.gamma"),
                place,
                init: Init::Ones,
                names,
                shift,
                offset,
            })
        });
        let beta = self.spec.norm_bias(&norm).then(|| {
            self.vector(Vector {
                role,
                component: Component::Bias,
                name: format!("{name}.beta"),
                place,
                init: Init::Zeros,
                names,
                shift,
                offset: 0.0,
            })
        });
        NormRef { role, gamma, beta }
    }

    fn positions(&mut self, names: &Scheme<'_>) -> Option<TensorId> {
        let (init, sources) = match self.spec.positions {
            Positions::Learned => (
                Init::Normal(deviation(self.spec.embed)),
                vec![names.positions().source("weight", 0)],
            ),
            Positions::Sinusoidal => (Init::Sinusoidal, Vec::new()),
            Positions::Rope(_) | Positions::Alibi { .. } => return None,
        };
        let (role, rows) = (Role::Positions, self.spec.context);
        Some(self.table(role, "positions", rows, init, sources))
    }

    fn token_types(&mut self, names: &Scheme<'_>) -> TensorId {
        let names = names.token_types();
        let init = Init::Normal(deviation(self.spec.embed));
        let sources = vec![names.source("weight", 0)];
        self.table(Role::TokenTypes, "token_types", names.rows, init, sources)
    }

    /// Adds a table of vectors that are added to the embedding of tokens.
    fn table(
        &mut self,
        role: Role,
        name: &'static str,
        rows: u32,
        init: Init,
        sources: Vec<FileTensor>,
    ) -> TensorId {
        self.push(Tensor {
            role,
            component: Component::Weight,
            name: name.into(),
            place: Place::Model,
            kind: TensorKind::Table,
            rows,
            columns: self.spec.embed,
            init,
            sources: sources.into(),
        })
    }
}
