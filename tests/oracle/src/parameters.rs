//! The parameters of a GPT under the names of the papers, read from the tensors of a plan.

use std::borrow::Cow;

use gpt_plan::{Block, Mlp, NormGroups, Plan, Spec};
use gpt_runtime::Error;
use gpt_runtime::weights::Weights;

use super::{Gpt, Matrix, NormParameters, dequantise, linear};

/// All parameters of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameters {
    /// `[vocab, embed]`.
    pub token_embedding: Matrix,
    /// `[context, embed]`, if positions are learned.
    pub positions: Option<Matrix>,
    /// `[token_types, embed]`, if there are types.
    pub token_types: Option<Matrix>,
    /// The norm of the embedding, if the model has one.
    pub embedding_norm: Option<NormParameters>,
    pub blocks: Vec<BlockParameters>,
    /// The norm before the head; none in a post-norm model.
    pub final_norm: Option<NormParameters>,
    /// The dense layer of the head and the norm of its activation, if the head has them.
    pub head_dense: Option<(Linear, NormParameters)>,
    /// `[vocab, embed]`, if it is not tied to the token embedding.
    pub head: Option<Matrix>,
    /// `[vocab]`, if the head has a bias.
    pub head_bias: Option<Vec<f64>>,
}

impl Parameters {
    /// Parameters of the same shapes, all zero.
    pub fn zeros(&self) -> Parameters {
        let mut zeros = self.clone();
        zeros.visit(&mut |_, values| values.fill(0.0));
        zeros
    }

    /// Adds parameters of the same shapes.
    pub fn add(&mut self, mut other: Parameters) {
        let mut theirs = Vec::new();
        other.visit(&mut |_, values| theirs.push(values.to_vec()));
        let mut theirs = theirs.into_iter();
        self.visit(&mut |_, values| {
            let theirs = theirs.next().expect("a tensor for each of ours");
            assert_eq!(values.len(), theirs.len(), "parameters of another shape");
            values.iter_mut().zip(theirs).for_each(|(a, b)| *a += b);
        });
    }

    /// The values of the plan's tensor `name` of `layer`, the inverse of the mapping in
    /// [`Gpt::new`].
    pub fn tensor(&self, spec: &Spec, name: &str, layer: u32) -> Cow<'_, [f64]> {
        let block = &self.blocks[layer as usize];
        match name {
            "token_embedding" => return Cow::Borrowed(&self.token_embedding.values),
            "positions" => {
                let positions = self.positions.as_ref().expect("learned positions");
                return Cow::Borrowed(&positions.values);
            }
            "token_types" => {
                let types = self.token_types.as_ref().expect("types of tokens");
                return Cow::Borrowed(&types.values);
            }
            "head.weight" => {
                return Cow::Borrowed(&self.head.as_ref().expect("a separate head").values);
            }
            "head.bias" => {
                return Cow::Borrowed(self.head_bias.as_ref().expect("a bias of the head"));
            }
            _ => {}
        }
        let (what, part) = name.rsplit_once('.').expect("a layer's tensor");
        let last = spec.layers as usize - 1;
        let norm = match (what, spec.block) {
            ("attn_norm", Block::PostNorm) => self.blocks[layer as usize - 1].norm_2.as_ref(),
            ("mlp_norm", Block::PostNorm) => block.norm_1.as_ref(),
            ("final_norm", Block::PostNorm) => self.blocks[last].norm_2.as_ref(),
            ("attn_norm", _) => block.norm_1.as_ref(),
            ("mlp_norm", _) => block.norm_2.as_ref(),
            ("final_norm", _) => self.final_norm.as_ref(),
            ("embedding_norm", _) => self.embedding_norm.as_ref(),
            ("attn_branch_norm", _) => block.branch_norm_1.as_ref(),
            ("mlp_branch_norm", _) => block.branch_norm_2.as_ref(),
            ("head.norm", _) => self.head_dense.as_ref().map(|(_, norm)| norm),
            _ => None,
        };
        if let ("attn.qk_norm", Some([q, k])) = (what, &block.qk_norm) {
            // The plan has one tensor: the parameters of queries, then of keys.
            let of = |norm: &NormParameters| match part {
                "gamma" => norm.gamma.clone(),
                _ => norm.beta.clone(),
            };
            let parts = [q, k].map(|norm| of(norm).expect("the norm has this parameter"));
            return Cow::Owned(parts.concat());
        }
        let linear = match what {
            "attn.qkv" => Some(&block.qkv),
            "attn.out" => Some(&block.attention_out),
            "mlp.up" => Some(&block.mlp_up),
            "mlp.down" => Some(&block.mlp_down),
            "head.dense" => self.head_dense.as_ref().map(|(dense, _)| dense),
            _ => None,
        };
        let values = match (part, norm, linear) {
            ("gamma", Some(norm), _) => norm.gamma.as_ref(),
            ("beta", Some(norm), _) => norm.beta.as_ref(),
            ("weight", _, Some(linear)) => Some(&linear.weight.values),
            ("bias", _, Some(linear)) => linear.bias.as_ref(),
            _ => None,
        };
        Cow::Borrowed(values.unwrap_or_else(|| panic!("the oracle has no tensor {name}")))
    }

    /// Calls `f` with a readable name and the values of each tensor, in a fixed order.
    pub fn visit(&mut self, f: &mut dyn FnMut(String, &mut [f64])) {
        f("token_embedding".to_owned(), &mut self.token_embedding.values);
        if let Some(positions) = &mut self.positions {
            f("positions".to_owned(), &mut positions.values);
        }
        if let Some(types) = &mut self.token_types {
            f("token_types".to_owned(), &mut types.values);
        }
        for (layer, block) in self.blocks.iter_mut().enumerate() {
            let name = |what: &str| format!("{what} of layer {layer}");
            let norms = [
                ("norm_1", &mut block.norm_1),
                ("branch_norm_1", &mut block.branch_norm_1),
                ("norm_2", &mut block.norm_2),
                ("branch_norm_2", &mut block.branch_norm_2),
            ];
            for (what, norm) in norms {
                if let Some(norm) = norm {
                    norm.visit(&name(what), f);
                }
            }
            if let Some([q, k]) = &mut block.qk_norm {
                q.visit(&name("the norm of queries"), f);
                k.visit(&name("the norm of keys"), f);
            }
            block.qkv.visit(&name("qkv"), f);
            block.attention_out.visit(&name("attention_out"), f);
            block.mlp_up.visit(&name("mlp_up"), f);
            block.mlp_down.visit(&name("mlp_down"), f);
        }
        if let Some(norm) = &mut self.embedding_norm {
            norm.visit("embedding_norm", f);
        }
        if let Some(norm) = &mut self.final_norm {
            norm.visit("final_norm", f);
        }
        if let Some((dense, norm)) = &mut self.head_dense {
            dense.visit("the head's dense layer", f);
            norm.visit("the head's norm", f);
        }
        if let Some(head) = &mut self.head {
            f("head".to_owned(), &mut head.values);
        }
        if let Some(bias) = &mut self.head_bias {
            f("bias of the head".to_owned(), bias);
        }
    }
}

impl NormParameters {
    fn visit(&mut self, name: &str, f: &mut dyn FnMut(String, &mut [f64])) {
        if let Some(gamma) = &mut self.gamma {
            f(format!("gamma of {name}"), gamma);
        }
        if let Some(beta) = &mut self.beta {
            f(format!("beta of {name}"), beta);
        }
    }
}

impl Linear {
    fn visit(&mut self, name: &str, f: &mut dyn FnMut(String, &mut [f64])) {
        f(format!("weight of {name}"), &mut self.weight.values);
        if let Some(bias) = &mut self.bias {
            f(format!("bias of {name}"), bias);
        }
    }
}

/// The parameters of one block.
#[derive(Clone, Debug, PartialEq)]
pub struct BlockParameters {
    /// The norm of attention: before it, or after its residual (post-norm). None in a post-branch
    /// block, and in the first layer if the spec has `first_attn_bare`.
    pub norm_1: Option<NormParameters>,
    /// The projection to queries, keys and values.
    pub qkv: Linear,
    /// The norms of queries and of keys, if the model has them.
    pub qk_norm: Option<[NormParameters; 2]>,
    pub attention_out: Linear,
    /// The norm of the attention's output, in a sandwich or post-branch block.
    pub branch_norm_1: Option<NormParameters>,
    /// The norm of the MLP, before it or after its residual. None in a post-branch block, and if
    /// parallel branches share their norm.
    pub norm_2: Option<NormParameters>,
    /// The norm of the MLP's output, like `branch_norm_1`.
    pub branch_norm_2: Option<NormParameters>,
    /// The projection to the hidden width. If gated, all gates come before the gated values.
    pub mlp_up: Linear,
    pub mlp_down: Linear,
}

/// A linear layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Linear {
    /// `[out, in]`.
    pub weight: Matrix,
    /// `[out]`, if the layer has a bias.
    pub bias: Option<Vec<f64>>,
}

impl Linear {
    /// `weight · x + bias` for each row.
    pub fn apply(&self, input: &Matrix) -> Matrix {
        linear(input, &self.weight, self.bias.as_deref())
    }
}

impl Gpt {
    /// Reads the model of `plan` from `weights`.
    pub fn new(plan: &Plan, weights: &dyn Weights) -> Result<Gpt, Error> {
        let reader = Reader { plan, weights };
        let spec = plan.spec.clone();
        let blocks = (0..spec.layers).map(|layer| reader.block(&spec, layer));
        let parameters = Parameters {
            token_embedding: reader.required("token_embedding", 0)?,
            positions: match spec.positions {
                gpt_plan::Positions::Learned => Some(reader.required("positions", 0)?),
                _ => None, // sinusoidal positions are computed on use
            },
            token_types: reader.optional("token_types", 0)?,
            embedding_norm: spec
                .embedding_norm
                .then(|| reader.norm("embedding_norm", 0))
                .transpose()?,
            blocks: blocks.collect::<Result<_, _>>()?,
            final_norm: match spec.block {
                Block::PostNorm => None,
                _ => Some(reader.norm("final_norm", 0)?),
            },
            head_dense: match spec.head_dense {
                true => Some((reader.linear("head.dense", 0)?, reader.norm("head.norm", 0)?)),
                false => None,
            },
            head: reader.optional("head.weight", 0)?,
            head_bias: reader.values("head.bias", 0)?,
        };
        let gpt = Gpt { spec, parameters };
        gpt.check_shapes();
        Ok(gpt)
    }

    /// Asserts that the plan's shapes follow from the spec.
    fn check_shapes(&self) {
        let spec = &self.spec;
        let shape = |name: &str, matrix: &Matrix, rows: u32, columns: u32| {
            let found = (matrix.rows, matrix.columns);
            assert_eq!(found, (rows as usize, columns as usize), "shape of {name}");
        };
        let parameters = &self.parameters;
        shape("the token embedding", &parameters.token_embedding, spec.vocab, spec.embed);
        if let Some(head) = &parameters.head {
            shape("the head", head, spec.vocab, spec.embed);
        }
        assert_eq!(parameters.head.is_none(), spec.tie_embeddings, "tied head");
        if let Some((dense, _)) = &parameters.head_dense {
            shape("the head's dense layer", &dense.weight, spec.embed, spec.embed);
            assert_eq!(dense.bias.is_some(), spec.bias, "bias of the head's dense layer");
        }
        let heads_width = spec.heads * spec.head_dim;
        let kv_width = spec.kv_heads * spec.head_dim;
        let Mlp { gated, hidden, .. } = spec.mlp;
        for block in &parameters.blocks {
            shape("qkv", &block.qkv.weight, heads_width + 2 * kv_width, spec.embed);
            shape("attention_out", &block.attention_out.weight, spec.embed, heads_width);
            let up = if gated { 2 * hidden } else { hidden };
            shape("mlp_up", &block.mlp_up.weight, up, spec.embed);
            shape("mlp_down", &block.mlp_down.weight, spec.embed, hidden);
            for (name, linear, own) in [
                ("qkv", &block.qkv, spec.qkv_bias),
                ("attention_out", &block.attention_out, spec.attn_out_bias),
                ("mlp_up", &block.mlp_up, spec.mlp_bias),
                ("mlp_down", &block.mlp_down, spec.mlp_bias),
            ] {
                assert_eq!(linear.bias.is_some(), own.unwrap_or(spec.bias), "bias of {name}");
            }
        }
    }
}

struct Reader<'a> {
    plan: &'a Plan,
    weights: &'a dyn Weights,
}

impl Reader<'_> {
    fn block(&self, spec: &Spec, layer: u32) -> Result<BlockParameters, Error> {
        // The plan names a norm after the step that applies it. The second norm of a post-norm
        // block is applied by the next block's attention, or by the head.
        let (norm_1, norm_2) = match spec.block {
            Block::PreNorm | Block::Sandwich if spec.first_attn_bare && layer == 0 => {
                (None, Some(self.norm("mlp_norm", layer)?))
            }
            Block::PreNorm | Block::Sandwich | Block::Parallel { norms: 2 } => {
                (Some(self.norm("attn_norm", layer)?), Some(self.norm("mlp_norm", layer)?))
            }
            Block::Parallel { .. } => (Some(self.norm("attn_norm", layer)?), None),
            Block::PostBranch => (None, None),
            Block::PostNorm => {
                let second = if layer + 1 < spec.layers {
                    self.norm("attn_norm", layer + 1)?
                } else {
                    self.norm("final_norm", 0)?
                };
                (Some(self.norm("mlp_norm", layer)?), Some(second))
            }
        };
        let branches = matches!(spec.block, Block::Sandwich | Block::PostBranch);
        let branch = |name: &str| branches.then(|| self.norm(name, layer)).transpose();
        Ok(BlockParameters {
            norm_1,
            qkv: self.linear("attn.qkv", layer)?,
            qk_norm: spec.qk_norm.map(|own| self.qk_norm(spec, own.over, layer)).transpose()?,
            attention_out: self.linear("attn.out", layer)?,
            branch_norm_1: branch("attn_branch_norm")?,
            norm_2,
            branch_norm_2: branch("mlp_branch_norm")?,
            mlp_up: self.linear("mlp.up", layer)?,
            mlp_down: self.linear("mlp.down", layer)?,
        })
    }

    fn linear(&self, name: &str, layer: u32) -> Result<Linear, Error> {
        Ok(Linear {
            weight: self.required(&format!("{name}.weight"), layer)?,
            bias: self.values(&format!("{name}.bias"), layer)?,
        })
    }

    fn norm(&self, name: &str, layer: u32) -> Result<NormParameters, Error> {
        Ok(NormParameters {
            gamma: self.values(&format!("{name}.gamma"), layer)?,
            beta: self.values(&format!("{name}.beta"), layer)?,
        })
    }

    /// The norms of queries and of keys, which are one tensor of the plan.
    fn qk_norm(
        &self,
        spec: &Spec,
        over: NormGroups,
        layer: u32,
    ) -> Result<[NormParameters; 2], Error> {
        let both = self.norm("attn.qk_norm", layer)?;
        let heads = if over == NormGroups::Head { 1 } else { spec.heads };
        let split = (heads * spec.head_dim) as usize;
        let part = |values: &Option<Vec<f64>>, of_keys: bool| {
            let both = values.as_ref()?.split_at(split);
            Some(if of_keys { both.1.to_vec() } else { both.0.to_vec() })
        };
        Ok([false, true].map(|of_keys| NormParameters {
            gamma: part(&both.gamma, of_keys),
            beta: part(&both.beta, of_keys),
        }))
    }

    fn values(&self, name: &str, layer: u32) -> Result<Option<Vec<f64>>, Error> {
        Ok(self.optional(name, layer)?.map(|tensor| tensor.values))
    }

    fn required(&self, name: &str, layer: u32) -> Result<Matrix, Error> {
        let tensor = self.optional(name, layer)?;
        Ok(tensor.unwrap_or_else(|| panic!("the plan has no tensor {name}")))
    }

    fn optional(&self, name: &str, layer: u32) -> Result<Option<Matrix>, Error> {
        let Some(id) = self.plan.find(name) else {
            return Ok(None);
        };
        Ok(Some(dequantise(&self.weights.tensor(id, layer)?)))
    }
}
