//! The loss and its gradients in plain f64.
//!
//! A gradient has the shape of what it belongs to, so the gradients of a model are [`Parameters`]
//! too. Each function takes the input of its forward counterpart and the gradient of its output,
//! and returns the gradients of the input and the parameters. Only the stream between blocks is
//! kept from the forward pass. The rest is recomputed, which makes the code shorter. Finite
//! differences check every tensor of every odd spec.
//!
//! The loss is the mean cross-entropy: minus the logarithm of the probability that the model gives
//! to each target, over the targets that are not [`IGNORED`]. Sequences of a batch are independent,
//! except that dropout numbers elements across the whole batch.

mod attention;
mod block;
mod linear;
mod norm;

use gpt_plan::{Dropout, Site};
use gpt_runtime::__private::engine::{IGNORED, Sequences};

use super::activation::slope;
use super::matrix::linear as apply;
use super::norm::norm;
use super::{Gpt, Masks, Matrix, Parameters, Pass, softmax};

use block::BlockContext;
use linear::{linear_backward, matrix_backward};
use norm::norm_backward;

/// A batch of one.
fn one<'a>(inputs: &'a [u32], targets: &'a [u32]) -> Sequences<'a> {
    Sequences { inputs, targets, tokens: inputs.len() as u32 }
}

/// The tokens, targets and masks of each sequence.
fn each<'a>(
    batch: &Sequences<'a>,
    dropout: Option<Dropout>,
) -> impl Iterator<Item = (&'a [u32], &'a [u32], Masks)> {
    let tokens = batch.tokens as usize;
    let sequences = batch.inputs.chunks_exact(tokens);
    let sequences = sequences.zip(batch.targets.chunks_exact(tokens));
    sequences
        .enumerate()
        .map(move |(sequence, (inputs, targets))| (inputs, targets, Masks { dropout, sequence }))
}

/// The number of targets that count.
fn counted(targets: &[u32]) -> f64 {
    targets.iter().filter(|target| **target != IGNORED).count() as f64
}

/// The sum of the losses of all rows whose targets count: minus the log softmax at each target.
fn cross_entropy(logits: &Matrix, targets: &[u32]) -> f64 {
    let rows = logits.iter_rows().zip(targets).filter(|(_, target)| **target != IGNORED);
    let losses = rows.map(|(row, &target)| {
        let max = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = row.iter().map(|x| (x - max).exp()).sum();
        max + sum.ln() - row[target as usize]
    });
    losses.sum()
}

impl Gpt {
    /// The mean cross-entropy of predicting `targets[i]` after `tokens[..=i]`, in nats.
    pub fn loss(&self, tokens: &[u32], targets: &[u32]) -> f64 {
        self.batch_loss(&one(tokens, targets), None)
    }

    /// The gradient of [`loss`](Self::loss) with respect to every parameter.
    pub fn gradients(&self, tokens: &[u32], targets: &[u32]) -> Parameters {
        self.batch_gradients(&one(tokens, targets), None).1
    }

    /// The mean loss over all targets that count, of all sequences, with `dropout`.
    pub fn batch_loss(&self, batch: &Sequences<'_>, dropout: Option<Dropout>) -> f64 {
        let losses = each(batch, dropout).map(|(tokens, targets, masks)| {
            let logits = self.pass(tokens, masks).logits;
            cross_entropy(&logits, targets)
        });
        losses.sum::<f64>() / counted(batch.targets)
    }

    /// The loss and its gradient with respect to every parameter.
    pub fn batch_gradients(
        &self,
        batch: &Sequences<'_>,
        dropout: Option<Dropout>,
    ) -> (f64, Parameters) {
        let n = counted(batch.targets);
        let mut loss = 0.0;
        let mut gradients = self.parameters.zeros();
        for (tokens, targets, masks) in each(batch, dropout) {
            let (sum, gradient) = self.sequence_gradients(tokens, targets, n, masks);
            loss += sum;
            gradients.add(gradient);
        }
        (loss / n, gradients)
    }

    /// The sum of the losses of one sequence, and the gradient of that sum divided by `n`.
    fn sequence_gradients(
        &self,
        tokens: &[u32],
        targets: &[u32],
        n: f64,
        masks: Masks,
    ) -> (f64, Parameters) {
        let mut gradients = self.parameters.zeros();
        let kind = self.spec.norm;

        let embedded = self.embed(tokens, masks);
        let mut streams = vec![self.first_stream(&embedded)];
        for (layer, block) in (0..).zip(&self.parameters.blocks) {
            let x = &streams[layer as usize];
            let stream = self.block(layer, block, x, &mut Pass::new(masks));
            streams.push(stream);
        }
        let last = streams.pop().expect("there is the embedding at least");
        let read = match &self.parameters.final_norm {
            Some(final_norm) => norm(kind, final_norm, &last),
            None => last.clone(),
        };
        let head = self.parameters.head.as_ref().unwrap_or(&self.parameters.token_embedding);
        let input = self.head_input(&read);
        let products = apply(&input, head, self.parameters.head_bias.as_deref());
        let logits = self.softcap(&products);

        // The gradient of cross-entropy: the predicted distribution minus the target's.
        let predicted = logits.map_rows(softmax);
        let d_products = Matrix::from_fn(logits.rows, logits.columns, |row, token| {
            if targets[row] == IGNORED {
                return 0.0;
            }
            let is_target = f64::from(u8::from(targets[row] as usize == token));
            let scale = self.spec.logit_scale.unwrap_or(1.0);
            // The derivative of c tanh(x / c) is 1 / cosh^2(x / c).
            let slope = self
                .spec
                .logit_softcap
                .map_or(1.0, |cap| (scale * products.row(row)[token] / cap).cosh().powi(-2));
            scale * slope * (predicted.row(row)[token] - is_target) / n
        });
        if let Some(bias) = &mut gradients.head_bias {
            *bias = d_products.sum_of_rows();
        }
        let (d_input, d_head) = matrix_backward(&input, head, &d_products);
        // A tied matrix is used twice, so its gradients add up.
        match &mut gradients.head {
            Some(own) => *own = d_head,
            None => gradients.token_embedding = d_head,
        }
        let d_read = match (&self.parameters.head_dense, &mut gradients.head_dense) {
            (Some((dense, own)), Some((d_dense, d_own))) => {
                let (product, activated) = self.dense(&read);
                let d = norm_backward(kind, own, &activated, &d_input, d_own);
                let activation = &self.spec.mlp.activation;
                let d = d.zip(&product, |d, x| d * slope(activation, x));
                linear_backward(&read, dense, &d, d_dense)
            }
            _ => d_input,
        };
        let mut d = match (&self.parameters.final_norm, &mut gradients.final_norm) {
            (Some(parameters), Some(gradient)) => {
                norm_backward(kind, parameters, &last, &d_read, gradient)
            }
            _ => d_read,
        };
        let blocks = self.parameters.blocks.iter().zip(&mut gradients.blocks);
        for (layer, ((block, gradient), stream)) in blocks.zip(&streams).enumerate().rev() {
            let context = BlockContext { block, layer: layer as u32, masks };
            d = self.block_backward(context, stream, &d, gradient);
        }
        if let (Some(own), Some(gradient)) =
            (&self.parameters.embedding_norm, &mut gradients.embedding_norm)
        {
            d = norm_backward(kind, own, &embedded, &d, gradient);
        }
        let d = masks.of_rows(Site::Embedding, 0, &d);
        for (position, (&token, d)) in tokens.iter().zip(d.iter_rows()).enumerate() {
            let scale = self.spec.embedding_scale.unwrap_or(1.0);
            let scaled: Vec<f64> = d.iter().map(|d| scale * d).collect();
            gradients.token_embedding.add_to_row(token as usize, &scaled);
            if let Some(positions) = &mut gradients.positions {
                positions.add_to_row(position, d);
            }
            if let Some(types) = &mut gradients.token_types {
                types.add_to_row(0, d);
            }
        }
        (cross_entropy(&logits, targets), gradients)
    }
}
