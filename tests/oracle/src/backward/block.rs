//! The gradient of a transformer block.

use gpt_plan::{Block, Site, Spec};

use crate::activation::slope;
use crate::attention::{Groups, Qkv, attention};
use crate::{BlockParameters, Gpt, Masks, Matrix, NormParameters, Pass, activate, norm};

use super::attention::attention_backward;
use super::linear::linear_backward;
use super::norm::norm_backward;

/// A block in the backward pass.
#[derive(Clone, Copy)]
pub struct BlockContext<'a> {
    pub block: &'a BlockParameters,
    pub layer: u32,
    pub masks: Masks,
}

impl Gpt {
    /// The gradient of the block's input `x`, the residual stream.
    pub fn block_backward(
        &self,
        context: BlockContext<'_>,
        x: &Matrix,
        d: &Matrix,
        gradient: &mut BlockParameters,
    ) -> Matrix {
        let kind = self.spec.norm;
        let block = context.block;
        match self.spec.block {
            Block::PreNorm | Block::Sandwich | Block::PostBranch => {
                let read_1 = self.read(block.norm_1.as_ref(), x);
                let middle = x.add(&self.attended(context, &read_1));
                let read_2 = self.read(block.norm_2.as_ref(), &middle);
                let d_read = self.mlp_backward(context, &read_2, d, gradient);
                let norm_2 = (block.norm_2.as_ref(), gradient.norm_2.as_mut());
                let d = d.add(&self.read_backward(norm_2, &middle, &d_read));
                let d_read = self.attend_backward(context, &read_1, &d, gradient);
                let norm_1 = (block.norm_1.as_ref(), gradient.norm_1.as_mut());
                d.add(&self.read_backward(norm_1, x, &d_read))
            }
            Block::PostNorm => {
                let norms = (block.norm_1.as_ref(), block.norm_2.as_ref());
                let (Some(norm_1), Some(norm_2)) = norms else {
                    unreachable!("a post-norm block has two norms");
                };
                let sum_1 = x.add(&self.attended(context, x));
                let middle = norm(kind, norm_1, &sum_1);
                let mut pass = Pass::new(context.masks);
                let sum_2 = middle.add(&self.mlp(context.layer, block, &middle, &mut pass));
                let norm_2 = (Some(norm_2), gradient.norm_2.as_mut());
                let d = self.read_backward(norm_2, &sum_2, d);
                let d = d.add(&self.mlp_backward(context, &middle, &d, gradient));
                let norm_1 = (Some(norm_1), gradient.norm_1.as_mut());
                let d = self.read_backward(norm_1, &sum_1, &d);
                d.add(&self.attend_backward(context, x, &d, gradient))
            }
            Block::Parallel { norms } => {
                let read_1 = self.read(block.norm_1.as_ref(), x);
                let read_2 = self.read(block.norm_2.as_ref().or(block.norm_1.as_ref()), x);
                let d_mlp = self.mlp_backward(context, &read_2, d, gradient);
                let d_attention = self.attend_backward(context, &read_1, d, gradient);
                let norm_1 = (block.norm_1.as_ref(), gradient.norm_1.as_mut());
                if norms == 1 {
                    // Both read the output of one norm.
                    return d.add(&self.read_backward(norm_1, x, &d_attention.add(&d_mlp)));
                }
                let norm_2 = (block.norm_2.as_ref(), gradient.norm_2.as_mut());
                let d = d.add(&self.read_backward(norm_1, x, &d_attention));
                d.add(&self.read_backward(norm_2, x, &d_mlp))
            }
        }
    }

    /// The gradient of a stream that is read through a norm, if there is one.
    fn read_backward(
        &self,
        own: (Option<&NormParameters>, Option<&mut NormParameters>),
        x: &Matrix,
        d: &Matrix,
    ) -> Matrix {
        match own {
            (Some(own), Some(gradient)) => norm_backward(self.spec.norm, own, x, d, gradient),
            _ => d.clone(),
        }
    }

    /// The gradient of the output `out` of attention or MLP, from that of the stream.
    fn branch_backward(
        &self,
        context: BlockContext<'_>,
        site: Site,
        own: (Option<&NormParameters>, Option<&mut NormParameters>),
        out: &Matrix,
        d: &Matrix,
    ) -> Matrix {
        let scale = self.spec.residual_scale.unwrap_or(1.0);
        let d = context.masks.of_rows(site, context.layer, &d.scaled(scale));
        self.read_backward(own, out, &d)
    }

    fn attended(&self, context: BlockContext<'_>, x: &Matrix) -> Matrix {
        self.attend(context.layer, context.block, x, &mut Pass::new(context.masks))
    }

    fn attend_backward(
        &self,
        context: BlockContext<'_>,
        x: &Matrix,
        d: &Matrix,
        gradient: &mut BlockParameters,
    ) -> Matrix {
        let BlockContext { block, layer, masks } = context;
        let raw = Qkv::split(&self.spec, &block.qkv.apply(x));
        let qkv = raw.clone().normed(&self.spec, block).rotate(&self.spec, context.layer);
        let gathered = attention(&self.spec, &qkv, layer, masks);
        let out = block.attention_out.apply(&gathered);
        let own = (block.branch_norm_1.as_ref(), gradient.branch_norm_1.as_mut());
        let d = self.branch_backward(context, Site::AttentionOut, own, &out, d);
        let d = linear_backward(&gathered, &block.attention_out, &d, &mut gradient.attention_out);
        let d =
            attention_backward(&self.spec, &qkv, layer, masks, &d).rotate_back(&self.spec, layer);
        let d = raw.normed_backward(&self.spec, block, d, gradient);
        linear_backward(x, &block.qkv, &d.join(), &mut gradient.qkv)
    }

    fn mlp_backward(
        &self,
        context: BlockContext<'_>,
        x: &Matrix,
        d: &Matrix,
        gradient: &mut BlockParameters,
    ) -> Matrix {
        let block = context.block;
        let mlp = &self.spec.mlp;
        let hidden = mlp.hidden as usize;
        let wide = block.mlp_up.apply(x);
        let value = |x| activate(&mlp.activation, x);
        let slope = |x| slope(&mlp.activation, x);
        let activated = Matrix::from_fn(x.rows, hidden, |row, i| {
            let row = wide.row(row);
            if mlp.gated { value(row[i]) * row[hidden + i] } else { value(row[i]) }
        });
        let out = block.mlp_down.apply(&activated);
        let own = (block.branch_norm_2.as_ref(), gradient.branch_norm_2.as_mut());
        let d = self.branch_backward(context, Site::MlpDown, own, &out, d);
        let d = linear_backward(&activated, &block.mlp_down, &d, &mut gradient.mlp_down);
        let d = Matrix::from_fn(wide.rows, wide.columns, |row, column| {
            let (wide, d) = (wide.row(row), d.row(row));
            match (mlp.gated, column) {
                (false, i) => d[i] * slope(wide[i]),
                // The gradient of the gate is `d` times the slope and the gated value; that of the
                // gated value is `d` times the activated gate.
                (true, i) if i < hidden => d[i] * slope(wide[i]) * wide[hidden + i],
                (true, i) => d[i - hidden] * value(wide[i - hidden]),
            }
        });
        linear_backward(x, &block.mlp_up, &d, &mut gradient.mlp_up)
    }
}

impl Qkv {
    /// The gradient of queries, keys and values before the norms of queries and keys, from that
    /// after them. `self` is the input of the norms.
    fn normed_backward(
        &self,
        spec: &Spec,
        block: &BlockParameters,
        d: Qkv,
        gradient: &mut BlockParameters,
    ) -> Qkv {
        let (Some(own), Some(parameters)) = (spec.qk_norm, &block.qk_norm) else { return d };
        let gradients = gradient.qk_norm.as_mut().expect("gradients of the norm");
        let [q, k] = [(&self.q, &d.q, 0), (&self.k, &d.k, 1)].map(|(x, d, i)| {
            let groups = Groups::new(spec, own.over, x.columns);
            let (mut d_groups, mut d_parameters) = (Vec::new(), Vec::new());
            for (group, parameters) in groups.parameters(&parameters[i]) {
                let mut of_group = parameters.clone();
                let (x, d) = (groups.columns(x, group), groups.columns(d, group));
                d_groups.push(norm_backward(own.norm, &parameters, &x, &d, &mut of_group));
                d_parameters.push(of_group);
            }
            gradients[i] = groups.join_parameters(&d_parameters);
            groups.join(&d_groups)
        });
        Qkv { q, k, v: d.v }
    }
}
