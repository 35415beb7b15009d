//! The gradient of a transformer block.

use gpt_plan::{Block, Site};

use crate::oracle::activation::slope;
use crate::oracle::attention::{Qkv, attention};
use crate::oracle::{BlockParameters, Gpt, Masks, Matrix, Pass, activate, norm};

use super::attention::attention_backward;
use super::linear::linear_backward;
use super::norm::norm_backward;

/// A block in the backward pass.
#[derive(Clone, Copy)]
pub struct Here<'a> {
    pub block: &'a BlockParameters,
    pub layer: u32,
    pub masks: Masks,
}

impl Gpt {
    /// The gradient of the block's input `x`, the residual stream.
    pub fn block_backward(
        &self,
        here: Here<'_>,
        x: &Matrix,
        d: &Matrix,
        gradient: &mut BlockParameters,
    ) -> Matrix {
        let kind = self.spec.norm;
        let block = here.block;
        match self.spec.block {
            Block::PreNorm => {
                let read_1 = norm(kind, &block.norm_1, x);
                let middle = x.add(&self.attended(here, &read_1));
                let read_2 = norm(kind, &block.norm_2, &middle);
                let d_read = self.think_backward(here, &read_2, d, gradient);
                let d = d.add(&norm_backward(
                    kind,
                    &block.norm_2,
                    &middle,
                    &d_read,
                    &mut gradient.norm_2,
                ));
                let d_read = self.attend_backward(here, &read_1, &d, gradient);
                d.add(&norm_backward(kind, &block.norm_1, x, &d_read, &mut gradient.norm_1))
            }
            Block::PostNorm => {
                let sum_1 = x.add(&self.attended(here, x));
                let middle = norm(kind, &block.norm_1, &sum_1);
                let mut pass = Pass::new(here.masks);
                let sum_2 = middle.add(&self.think(here.layer, block, &middle, &mut pass));
                let d = norm_backward(kind, &block.norm_2, &sum_2, d, &mut gradient.norm_2);
                let d = d.add(&self.think_backward(here, &middle, &d, gradient));
                let d = norm_backward(kind, &block.norm_1, &sum_1, &d, &mut gradient.norm_1);
                d.add(&self.attend_backward(here, x, &d, gradient))
            }
        }
    }

    fn attended(&self, here: Here<'_>, x: &Matrix) -> Matrix {
        self.attend(here.layer, here.block, x, &mut Pass::new(here.masks))
    }

    fn attend_backward(
        &self,
        here: Here<'_>,
        x: &Matrix,
        d: &Matrix,
        gradient: &mut BlockParameters,
    ) -> Matrix {
        let Here { block, layer, masks } = here;
        let qkv = Qkv::split(&self.spec, &block.qkv.apply(x)).rotate(&self.spec, here.layer);
        let gathered = attention(&self.spec, &qkv, layer, masks);
        let d = masks.of_rows(Site::AttentionOut, layer, &self.branch(d));
        let d = linear_backward(&gathered, &block.attention_out, &d, &mut gradient.attention_out);
        let d =
            attention_backward(&self.spec, &qkv, layer, masks, &d).rotate_back(&self.spec, layer);
        linear_backward(x, &block.qkv, &d.join(), &mut gradient.qkv)
    }

    fn think_backward(
        &self,
        here: Here<'_>,
        x: &Matrix,
        d: &Matrix,
        gradient: &mut BlockParameters,
    ) -> Matrix {
        let block = here.block;
        let mlp = &self.spec.mlp;
        let hidden = mlp.hidden as usize;
        let wide = block.mlp_up.apply(x);
        let value = |x| activate(&mlp.activation, x);
        let slope = |x| slope(&mlp.activation, x);
        let bent = Matrix::from_fn(x.rows, hidden, |row, i| {
            let row = wide.row(row);
            if mlp.gated { value(row[i]) * row[hidden + i] } else { value(row[i]) }
        });
        let d = here.masks.of_rows(Site::MlpDown, here.layer, &self.branch(d));
        let d = linear_backward(&bent, &block.mlp_down, &d, &mut gradient.mlp_down);
        let d = Matrix::from_fn(wide.rows, wide.columns, |row, column| {
            let (wide, d) = (wide.row(row), d.row(row));
            match (mlp.gated, column) {
                (false, i) => d[i] * slope(wide[i]),
                // The gate's gradient is multiplied by its slope, the gated value's by the gate.
                (true, i) if i < hidden => d[i] * slope(wide[i]) * wide[hidden + i],
                (true, i) => d[i - hidden] * value(wide[i - hidden]),
            }
        });
        linear_backward(x, &block.mlp_up, &d, &mut gradient.mlp_up)
    }
}
