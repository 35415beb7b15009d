//! The oracle: a GPT in plain f64, for any spec, written for reading.
//!
//! Both engines are compared with this definition. It has no kernels, no cache, no fusion and no
//! plan; each step follows a formula of the literature. Parameters are decoded to f64 without
//! rounding from the same [`Weights`](gpt_runtime::weights::Weights) that an engine packs. So a
//! difference between engine and oracle is due to the engine's arithmetic and never to the storage
//! format.
//!
//! A GPT predicts the token after each of its input tokens:
//! 1. `embed` maps each token to a vector, the *residual stream*, and adds its position;
//! 2. each block adds two terms: *attention* mixes tokens, the *MLP* works on each token alone;
//! 3. the *head* multiplies the vector by each token's vector, which gives the logits.
//!
//! `backward` has the loss and its gradients. Random weights are in `gpt_runtime::weights`, and
//! `compare` of `gpt-tests` measures errors.

mod activation;
mod attention;
mod backward;
mod dequantise;
mod dropout;
mod matrix;
mod norm;
mod parameters;
mod rotary;
mod sampling;

use gpt_plan::{Block, Positions, Site, Spec};

pub use activation::{activate, erf};
pub use attention::{Qkv, attention, attention_weights, softmax};
pub use dequantise::dequantise;
pub use dropout::Masks;
pub use matrix::{Matrix, dot, linear};
pub use norm::{NormParameters, norm};
pub use parameters::{BlockParameters, Linear, Parameters};
pub use sampling::Choice;

/// A GPT: spec and parameters.
#[derive(Clone, Debug)]
pub struct Gpt {
    pub spec: Spec,
    pub parameters: Parameters,
}

/// The results of a forward pass.
#[derive(Clone, Debug)]
pub struct Forward {
    /// `[tokens, vocab]`.
    pub logits: Matrix,
    /// The expected output of each step of an engine, in order.
    pub trace: Vec<Step>,
}

/// The counterpart of an engine's [`Trace`](gpt_runtime::__private::engine::Trace).
#[derive(Clone, Debug)]
pub struct Step {
    /// The step's name in the plan.
    pub step: &'static str,
    /// Its layer; 0 outside of layers.
    pub layer: u32,
    /// `[tokens, width]` of the step's output; for `qkv`, each row's q, then k, then v.
    pub values: Matrix,
}

impl Gpt {
    /// Runs `tokens`, the first of which is at position 0.
    pub fn forward(&self, tokens: &[u32]) -> Forward {
        self.pass(tokens, Masks::NONE)
    }

    /// The hidden states of `tokens`, `[tokens, embed]` row by row: the input of the head.
    pub fn hidden(&self, tokens: &[u32]) -> Vec<f64> {
        let x = self.stream(tokens, &mut Pass::new(Masks::NONE));
        (0..x.rows).flat_map(|row| x.row(row).to_vec()).collect()
    }

    /// [`forward`](Self::forward) with dropout by `masks`.
    pub fn pass(&self, tokens: &[u32], masks: Masks) -> Forward {
        let mut pass = Pass::new(masks);
        let x = self.stream(tokens, &mut pass);
        if self.spec.head_dense {
            pass.record("head_dense", 0, &self.dense(&x).1);
        }
        let logits = self.head(&x);
        pass.record("head", 0, &logits);
        Forward { logits, trace: pass.trace }
    }

    /// The logits that the head computes from rows of the stream as engines store it, before the
    /// last norm.
    pub fn lens(&self, stream: &Matrix) -> Matrix {
        let last = self.parameters.blocks.last().expect("a model has a layer");
        let last_norm = match self.spec.block {
            Block::PostNorm => last.norm_2.as_ref(),
            _ => self.parameters.final_norm.as_ref(),
        };
        let last_norm = last_norm.expect("the head reads the stream through a norm");
        self.head(&norm(self.spec.norm, last_norm, stream))
    }

    fn head(&self, x: &Matrix) -> Matrix {
        let head = self.parameters.head.as_ref();
        // Tied: embedding and head share a matrix.
        let head = head.unwrap_or(&self.parameters.token_embedding);
        let read = self.head_input(x);
        let products = linear(&read, head, self.parameters.head_bias.as_deref());
        self.softcap(&products)
    }

    /// The input of the head's matrix: `x`, or `norm(activation(dense x))` with a dense layer.
    fn head_input(&self, x: &Matrix) -> Matrix {
        match &self.parameters.head_dense {
            Some((_, own)) => norm(self.spec.norm, own, &self.dense(x).1),
            None => x.clone(),
        }
    }

    /// The product of the head's dense layer, and its activation (Devlin et al. 2019).
    fn dense(&self, x: &Matrix) -> (Matrix, Matrix) {
        let dense = self.parameters.head_dense.as_ref().expect("the head has a dense layer");
        let product = dense.0.apply(x);
        let activation = |row: &[f64]| {
            row.iter().map(|&x| activate(&self.spec.mlp.activation, x)).collect::<Vec<f64>>()
        };
        let activated = product.map_rows(activation);
        (product, activated)
    }

    /// Logits from the products of the head: `s x`, or with a soft cap `c`, `c tanh(s x / c)`.
    fn softcap(&self, products: &Matrix) -> Matrix {
        let scaled = products.scaled(self.spec.logit_scale.unwrap_or(1.0));
        scaled.map_rows(|row| match self.spec.logit_softcap {
            Some(cap) => row.iter().map(|x| cap * (x / cap).tanh()).collect(),
            None => row.to_vec(),
        })
    }

    /// The output `out` of attention or MLP as it is added to the stream: through its norm, if the
    /// block has one, with dropout, and scaled.
    fn branch(
        &self,
        place: (&'static str, Site, u32),
        own: Option<&NormParameters>,
        out: &Matrix,
        pass: &mut Pass,
    ) -> Matrix {
        let (step, site, layer) = place;
        let normed = own.map(|own| {
            pass.record(step, layer, out);
            norm(self.spec.norm, own, out)
        });
        let out = normed.as_ref().unwrap_or(out);
        pass.masks.of_rows(site, layer, out).scaled(self.spec.residual_scale.unwrap_or(1.0))
    }

    /// The stream as attention or MLP reads it: through a norm, if the block has one.
    fn read(&self, own: Option<&NormParameters>, x: &Matrix) -> Matrix {
        own.map_or_else(|| x.clone(), |own| norm(self.spec.norm, own, x))
    }

    /// The residual stream as the head reads it.
    fn stream(&self, tokens: &[u32], pass: &mut Pass) -> Matrix {
        let mut x = self.embed(tokens, pass.masks);
        pass.record("embed", 0, &x);
        if self.parameters.embedding_norm.is_some() {
            x = self.first_stream(&x);
            pass.record("embedding_norm", 0, &x);
        }
        for (layer, block) in (0..).zip(&self.parameters.blocks) {
            x = self.block(layer, block, &x, pass);
        }
        match &self.parameters.final_norm {
            Some(final_norm) => norm(self.spec.norm, final_norm, &x),
            None => x,
        }
    }

    /// The vector of each token, plus its position if positions are learned or sinusoidal.
    fn embed(&self, tokens: &[u32], masks: Masks) -> Matrix {
        let width = self.spec.embed as usize;
        let x = Matrix::from_fn(tokens.len(), width, |position, column| {
            let token = self.parameters.token_embedding.row(tokens[position] as usize)[column]
                * self.spec.embedding_scale.unwrap_or(1.0);
            // Every token is of type 0.
            let types = self.parameters.token_types.as_ref();
            let token = token + types.map_or(0.0, |types| types.row(0)[column]);
            match self.spec.positions {
                Positions::Learned => {
                    let table = self.parameters.positions.as_ref();
                    token + table.expect("learned positions have a table").row(position)[column]
                }
                Positions::Sinusoidal => token + sinusoid(position, column, width),
                Positions::Rope(_) | Positions::Alibi { .. } => token,
            }
        });
        masks.of_rows(Site::Embedding, 0, &x)
    }

    /// The stream as the first block reads it: the embedding, through its norm if it has one.
    fn first_stream(&self, embedded: &Matrix) -> Matrix {
        self.read(self.parameters.embedding_norm.as_ref(), embedded)
    }

    /// One transformer block. Engines store both sums of a post-norm block and normalise them in
    /// the next step, so the trace holds the sums before the norms.
    fn block(&self, layer: u32, block: &BlockParameters, x: &Matrix, pass: &mut Pass) -> Matrix {
        let kind = self.spec.norm;
        let (norm_1, norm_2) = (block.norm_1.as_ref(), block.norm_2.as_ref());
        // The steps that write the stream.
        let has_branch_norms = block.branch_norm_1.is_some();
        let (sum_1, sum_2) = match has_branch_norms {
            true => ("attn_branch_norm", "mlp_branch_norm"),
            false => ("attention_out", "mlp_down"),
        };
        match self.spec.block {
            Block::PreNorm | Block::Sandwich | Block::PostBranch => {
                let x = x.add(&self.attend(layer, block, &self.read(norm_1, x), pass));
                pass.record(sum_1, layer, &x);
                let x = x.add(&self.mlp(layer, block, &self.read(norm_2, &x), pass));
                pass.record(sum_2, layer, &x);
                x
            }
            Block::PostNorm => {
                let sum = x.add(&self.attend(layer, block, x, pass));
                pass.record(first(layer, "attention_out", "attention_out_first"), layer, &sum);
                let x = self.read(norm_1, &sum);
                let sum = x.add(&self.mlp(layer, block, &x, pass));
                pass.record("mlp_down", layer, &sum);
                norm(kind, norm_2.expect("a post-norm block has two norms"), &sum)
            }
            Block::Parallel { .. } => {
                let mut mlp = Pass::new(pass.masks);
                let out = self.mlp(layer, block, &self.read(norm_2.or(norm_1), x), &mut mlp);
                let sum = x.add(&self.attend(layer, block, &self.read(norm_1, x), pass));
                // Engines run the MLP's first projection before the attention.
                let at = pass.trace.iter().rposition(|step| step.step == "attention");
                let at = at.expect("a block has an attention");
                pass.trace.splice(at..at, mlp.trace);
                pass.record(sum_1, layer, &sum);
                let sum = sum.add(&out);
                pass.record(sum_2, layer, &sum);
                sum
            }
        }
    }

    /// The attention branch.
    fn attend(&self, layer: u32, block: &BlockParameters, x: &Matrix, pass: &mut Pass) -> Matrix {
        let name = match self.spec.block {
            Block::PostNorm => first(layer, "qkv", "qkv_first"),
            _ if self.spec.first_attn_bare => first(layer, "qkv", "qkv_first"),
            _ => "qkv",
        };
        let raw = Qkv::split(&self.spec, &block.qkv.apply(x));
        if block.qk_norm.is_some() {
            pass.record(name, layer, &raw.join());
        }
        let qkv = raw.normed(&self.spec, block).rotate(&self.spec, layer);
        let name = if block.qk_norm.is_some() { "qk_norm" } else { name };
        pass.record(name, layer, &qkv.join());
        let gathered = attention(&self.spec, &qkv, layer, pass.masks);
        pass.record("attention", layer, &gathered);
        let out = block.attention_out.apply(&gathered);
        let place = ("attention_out", Site::AttentionOut, layer);
        self.branch(place, block.branch_norm_1.as_ref(), &out, pass)
    }

    /// The MLP branch: projection, activation, projection. If gated, one half of the hidden vector
    /// is the activation's input and the other half is multiplied by it (Shazeer 2020).
    fn mlp(&self, layer: u32, block: &BlockParameters, x: &Matrix, pass: &mut Pass) -> Matrix {
        let mlp = &self.spec.mlp;
        let hidden = mlp.hidden as usize;
        let wide = block.mlp_up.apply(x);
        let activated = if mlp.gated {
            let (gate, up) = (wide.columns(0, hidden), wide.columns(hidden, 2 * hidden));
            gate.zip(&up, |gate, up| activate(&mlp.activation, gate) * up)
        } else {
            wide.map_rows(|row| row.iter().map(|&x| activate(&mlp.activation, x)).collect())
        };
        pass.record("mlp_up", layer, &activated);
        let out = block.mlp_down.apply(&activated);
        let place = ("mlp_down", Site::MlpDown, layer);
        self.branch(place, block.branch_norm_2.as_ref(), &out, pass)
    }
}

/// The sinusoidal positions of Vaswani et al. 2017: sine and cosine alternate, wavelengths grow
/// geometrically.
fn sinusoid(position: usize, column: usize, width: usize) -> f64 {
    let pair = (column / 2 * 2) as f64;
    let angle = position as f64 / 10_000_f64.powf(pair / width as f64);
    if column.is_multiple_of(2) { angle.sin() } else { angle.cos() }
}

/// The name of a step in `layer`. In the first layer the step has another name, because its kernel
/// has no norm.
fn first(layer: u32, later: &'static str, first: &'static str) -> &'static str {
    if layer == 0 { first } else { later }
}

fn side_by_side(parts: &[&Matrix]) -> Matrix {
    let columns = parts.iter().map(|part| part.columns).sum();
    let rows = (0..parts[0].rows)
        .map(|row| parts.iter().flat_map(|part| part.row(row)).copied().collect());
    Matrix::from_rows(columns, rows)
}

/// A pass in progress: its masks and its trace so far.
struct Pass {
    masks: Masks,
    trace: Vec<Step>,
}

impl Pass {
    fn new(masks: Masks) -> Pass {
        Pass { masks, trace: Vec::new() }
    }

    fn record(&mut self, step: &'static str, layer: u32, values: &Matrix) {
        self.trace.push(Step { step, layer, values: values.clone() });
    }
}
