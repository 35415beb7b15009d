//! Learning, in plain f64: the loss of a prediction, and how it changes with every parameter.
//!
//! A gradient has the shape of what it belongs to, so the gradients of a model are [`Parameters`] too. Going backward is going through the
//! forward pass from its end: each function here takes what its counterpart read and the gradient of what it wrote, and returns the
//! gradient of what it read (and of its parameters). Nothing is kept from the forward pass but the stream between blocks; all else is
//! computed again where it is needed, because that is shortest. Finite differences check every tensor of every odd spec.
//!
//! The loss is the mean cross-entropy: minus the logarithm of the probability that the model gives to each target.

mod attention;
mod linear;
mod norm;

use gpt_plan::Block;

use super::activation::slope;
use super::attention::{Qkv, attention};
use super::matrix::linear as apply;
use super::norm::norm;
use super::{BlockParameters, Gpt, Matrix, Parameters, activate, softmax};

use attention::attention_backward;
use linear::{linear_backward, matrix_backward};
use norm::norm_backward;

impl Gpt {
    /// The mean cross-entropy of predicting `targets[i]` after `tokens[..=i]`, in nats.
    pub fn loss(&self, tokens: &[u32], targets: &[u32]) -> f64 {
        let logits = self.forward(tokens).logits;
        let losses = logits.iter_rows().zip(targets).map(|(row, &target)| {
            let max = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = row.iter().map(|x| (x - max).exp()).sum();
            max + sum.ln() - row[target as usize]
        });
        losses.sum::<f64>() / targets.len() as f64
    }

    /// The gradient of [`loss`](Self::loss) with respect to every parameter.
    pub fn gradients(&self, tokens: &[u32], targets: &[u32]) -> Parameters {
        let mut gradients = self.parameters.zeros();
        let kind = self.spec.norm;

        let mut streams = vec![self.embed(tokens)];
        for (layer, block) in (0..).zip(&self.parameters.blocks) {
            let stream = self.block(
                layer,
                block,
                &streams[layer as usize],
                &mut super::Trace(Vec::new()),
            );
            streams.push(stream);
        }
        let last = streams.pop().expect("there is the embedding at least");
        let read = match &self.parameters.final_norm {
            Some(final_norm) => norm(kind, final_norm, &last),
            None => last.clone(),
        };
        let head = self
            .parameters
            .head
            .as_ref()
            .unwrap_or(&self.parameters.token_embedding);
        let logits = apply(&read, head, None);

        // The gradient of a cross-entropy: what was predicted, less what came.
        let n = targets.len() as f64;
        let predicted = logits.map_rows(softmax);
        let d_logits = Matrix::from_fn(logits.rows, logits.columns, |row, token| {
            let came = f64::from(u8::from(targets[row] as usize == token));
            (predicted.row(row)[token] - came) / n
        });
        let (d_read, d_head) = matrix_backward(&read, head, &d_logits);
        // A tied matrix is used twice, and learns from both.
        match &mut gradients.head {
            Some(own) => *own = d_head,
            None => gradients.token_embedding = d_head,
        }
        let mut d = match (&self.parameters.final_norm, &mut gradients.final_norm) {
            (Some(parameters), Some(gradient)) => {
                norm_backward(kind, parameters, &last, &d_read, gradient)
            }
            _ => d_read,
        };
        let blocks = self.parameters.blocks.iter().zip(&mut gradients.blocks);
        for ((block, gradient), stream) in blocks.zip(&streams).rev() {
            d = self.block_backward(block, stream, &d, gradient);
        }
        for (position, (&token, d)) in tokens.iter().zip(d.iter_rows()).enumerate() {
            gradients.token_embedding.add_to_row(token as usize, d);
            if let Some(positions) = &mut gradients.positions {
                positions.add_to_row(position, d);
            }
        }
        gradients
    }

    fn block_backward(
        &self,
        block: &BlockParameters,
        x: &Matrix,
        d: &Matrix,
        gradient: &mut BlockParameters,
    ) -> Matrix {
        let kind = self.spec.norm;
        match self.spec.block {
            Block::PreNorm => {
                let read_1 = norm(kind, &block.norm_1, x);
                let middle = x.add(&self.attended(block, &read_1));
                let read_2 = norm(kind, &block.norm_2, &middle);
                let d_read = self.think_backward(block, &read_2, d, gradient);
                let d = d.add(&norm_backward(
                    kind,
                    &block.norm_2,
                    &middle,
                    &d_read,
                    &mut gradient.norm_2,
                ));
                let d_read = self.attend_backward(block, &read_1, &d, gradient);
                d.add(&norm_backward(
                    kind,
                    &block.norm_1,
                    x,
                    &d_read,
                    &mut gradient.norm_1,
                ))
            }
            Block::PostNorm => {
                let sum_1 = x.add(&self.attended(block, x));
                let middle = norm(kind, &block.norm_1, &sum_1);
                let mut nothing = super::Trace(Vec::new());
                let sum_2 = middle.add(&self.think(0, block, &middle, &mut nothing));
                let d = norm_backward(kind, &block.norm_2, &sum_2, d, &mut gradient.norm_2);
                let d = d.add(&self.think_backward(block, &middle, &d, gradient));
                let d = norm_backward(kind, &block.norm_1, &sum_1, &d, &mut gradient.norm_1);
                d.add(&self.attend_backward(block, x, &d, gradient))
            }
        }
    }

    fn attended(&self, block: &BlockParameters, x: &Matrix) -> Matrix {
        self.attend(0, block, x, &mut super::Trace(Vec::new()))
    }

    fn attend_backward(
        &self,
        block: &BlockParameters,
        x: &Matrix,
        d: &Matrix,
        gradient: &mut BlockParameters,
    ) -> Matrix {
        let qkv = Qkv::split(&self.spec, &block.qkv.apply(x)).rotate(&self.spec);
        let gathered = attention(&self.spec, &qkv);
        let d = linear_backward(
            &gathered,
            &block.attention_out,
            d,
            &mut gradient.attention_out,
        );
        let d = attention_backward(&self.spec, &qkv, &d).rotate_back(&self.spec);
        linear_backward(x, &block.qkv, &d.join(), &mut gradient.qkv)
    }

    fn think_backward(
        &self,
        block: &BlockParameters,
        x: &Matrix,
        d: &Matrix,
        gradient: &mut BlockParameters,
    ) -> Matrix {
        let mlp = &self.spec.mlp;
        let hidden = mlp.hidden as usize;
        let wide = block.mlp_up.apply(x);
        let value = |x| activate(&mlp.activation, x);
        let slope = |x| slope(&mlp.activation, x);
        let bent = Matrix::from_fn(x.rows, hidden, |row, i| {
            let row = wide.row(row);
            if mlp.gated {
                value(row[i]) * row[hidden + i]
            } else {
                value(row[i])
            }
        });
        let d = linear_backward(&bent, &block.mlp_down, d, &mut gradient.mlp_down);
        let d = Matrix::from_fn(wide.rows, wide.columns, |row, column| {
            let (wide, d) = (wide.row(row), d.row(row));
            match (mlp.gated, column) {
                (false, i) => d[i] * slope(wide[i]),
                // The gate's gradient passes its slope, what it gates passes the gate.
                (true, i) if i < hidden => d[i] * slope(wide[i]) * wide[hidden + i],
                (true, i) => d[i - hidden] * value(wide[i - hidden]),
            }
        });
        linear_backward(x, &block.mlp_up, &d, &mut gradient.mlp_up)
    }
}
