//! Intermediate values of a forward pass: attention, the residual stream, and the logit lens.
//!
//! An [`Observation`] holds the residual stream at each depth, the queries and keys of each layer,
//! and the logits, as the engine computed them. Attention is computed here: engines compute a
//! running softmax and do not store its probabilities, so this module computes them from the
//! queries and keys, with the mask of the step.

use std::marker::PhantomData;

use gpt_plan::{Epilogue, Op, Plan, Projection, Scores, Spec};

use super::{Logits, Session};
use crate::Error;
use crate::engine::Trace;
use crate::vtable::Untyped;

/// The intermediate values of a model for a sequence of tokens; see [`Session::observe`].
pub struct Observation<M = Untyped> {
    spec: &'static Spec,
    tokens: Vec<u32>,
    /// The residual stream `[tokens, embed]` at each depth.
    streams: Vec<Vec<f32>>,
    layers: Vec<QueriesAndKeys>,
    /// `[tokens, vocab]`.
    logits: Vec<f32>,
    brand: PhantomData<fn() -> M>,
}

/// Queries and keys of a layer, rotated where the model rotates them.
struct QueriesAndKeys {
    scores: Scores,
    /// `[tokens, heads, head_dim]`.
    queries: Vec<f32>,
    /// `[tokens, kv_heads, head_dim]`.
    keys: Vec<f32>,
}

impl<M> Session<M> {
    /// Appends `tokens` to an empty session, and returns attention, the residual stream and logits.
    /// It is slow, because it reads the output of each step back from the device. An observation
    /// takes `4 * tokens * ((layers + 1) * embed + layers * (q_width + kv_width) + vocab)` bytes.
    ///
    /// # Errors
    /// Fails as [`each_logits`](Self::each_logits) does, or if the session is not empty, because
    /// the keys of earlier tokens were not observed.
    pub fn observe(&mut self, tokens: &[u32]) -> Result<Observation<M>, Error> {
        if !self.tokens.is_empty() {
            return Err(Error::Input(format!(
                "an observation needs an empty session, and the length of this one is {}; truncate it to 0 first",
                self.tokens.len()
            )));
        }
        self.check_all_logits()?;
        self.check(tokens)?;
        let plan = self.model.plan();
        let mut observation = Observation::new(plan);
        for chunk in tokens.chunks(self.options.chunk as usize) {
            let traces = self.trace(chunk)?;
            observation.add(plan, chunk, traces);
        }
        self.check_finite(0, &observation.logits, plan.spec.vocab as usize, "logits")?;
        Ok(observation)
    }

    /// Runs the model's head on rows of a residual stream `[rows, embed]`, and calls `sink` with
    /// the index of each row and its logits. On the stream between two layers this is the logit
    /// lens (nostalgebraist 2020), the prediction of the model without its later layers. The head
    /// includes the model's last norm, which in a post-norm model ends the last layer. The tokens
    /// and the cache of the session do not change.
    ///
    /// # Errors
    /// Fails if the length of `stream` is not a multiple of `embed`, or if the device fails.
    pub fn lens(
        &mut self,
        stream: &[f32],
        mut sink: impl FnMut(usize, Logits<'_, M>),
    ) -> Result<(), Error> {
        let spec = &self.model.plan().spec;
        let (width, vocab) = (spec.embed as usize, spec.vocab as usize);
        if !stream.len().is_multiple_of(width) {
            return Err(Error::Input(format!(
                "{} values do not divide into rows of the residual stream of {}, which have {width} values each",
                stream.len(),
                self.model.plan().name
            )));
        }
        let most = if self.options.all_logits { self.options.chunk as usize } else { 1 };
        let mut logits = vec![0.0; most.min(stream.len() / width) * vocab];
        for (i, rows) in stream.chunks(most * width).enumerate() {
            self.engine.head(rows, &mut logits)?;
            let of_rows = logits.chunks(vocab).take(rows.len() / width);
            for (row, values) in of_rows.enumerate() {
                let brand = PhantomData;
                sink(i * most + row, Logits { values, brand });
            }
        }
        Ok(())
    }
}

impl<M> Observation<M> {
    fn new(plan: &'static Plan) -> Observation<M> {
        let layers = plan.spec.layers;
        Observation {
            spec: &plan.spec,
            tokens: Vec::new(),
            streams: vec![Vec::new(); layers as usize + 1],
            layers: (0..layers)
                .map(|layer| QueriesAndKeys {
                    scores: plan.spec.scores(layer),
                    queries: Vec::new(),
                    keys: Vec::new(),
                })
                .collect(),
            logits: Vec::new(),
            brand: PhantomData,
        }
    }

    /// Appends the outputs of the steps of `plan` for `tokens`.
    fn add(&mut self, plan: &'static Plan, tokens: &[u32], traces: Vec<Trace>) {
        let before = self.tokens.len() * self.spec.embed as usize;
        self.tokens.extend_from_slice(tokens);
        for ((layer, step), trace) in plan.steps().zip(traces) {
            let layer = layer as usize;
            let values = trace.values;
            match &step.op {
                Op::Embed { .. } => self.streams[0].extend(values),
                Op::Norm { sum: None, .. } => {
                    self.streams[0].truncate(before);
                    self.streams[0].extend(values);
                }
                Op::Attention { .. } => {}
                op if op.computes_logits() => self.logits.extend(values),
                Op::NormHeads { .. }
                | Op::Project(Projection { epilogue: Epilogue::Heads { .. }, .. }) => {
                    self.layers[layer].add(self.spec, &values);
                }
                // Attention and MLP both write the stream; the MLP's output replaces the
                // attention's.
                Op::Norm { .. }
                | Op::Project(Projection { epilogue: Epilogue::Residual { .. }, .. }) => {
                    let stream = &mut self.streams[layer + 1];
                    stream.truncate(before);
                    stream.extend(values);
                }
                Op::Project(_) => {}
                _ => unreachable!("{} is not a step of a forward pass", step.name),
            }
        }
    }

    /// The tokens.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Number of layers.
    pub fn layers(&self) -> usize {
        self.layers.len()
    }

    /// Number of heads in a layer.
    pub fn heads(&self) -> usize {
        self.spec.heads as usize
    }

    /// The attention of head `head` in layer `layer`, `[tokens, tokens]`. Row `i` has the weights
    /// that token `i` gives to each token. A row sums to 1; masked weights are exactly 0.
    ///
    /// # Panics
    /// Panics if `layer` is at least [`layers`](Self::layers), or `head` at least
    /// [`heads`](Self::heads).
    pub fn attention(&self, layer: usize, head: usize) -> Vec<f32> {
        assert!(head < self.heads(), "head {head} of {}", self.heads());
        self.layers[layer].attention(self.spec, head)
    }

    /// The residual stream `[tokens, embed]` after `depth` layers. Depth 0 is the embedding, and
    /// depth [`layers`](Self::layers) is the input of the head. In a post-norm model, the norm that
    /// ends the layer is not applied: it is the prologue of the step that reads the stream.
    ///
    /// # Panics
    /// Panics if `depth` is above [`layers`](Self::layers).
    pub fn stream(&self, depth: usize) -> &[f32] {
        &self.streams[depth]
    }

    /// The Euclidean norm of each row of [`stream`](Self::stream), `[tokens]`.
    ///
    /// # Panics
    /// See [`stream`](Self::stream).
    pub fn stream_norms(&self, depth: usize) -> Vec<f32> {
        let rows = self.streams[depth].chunks(self.spec.embed as usize);
        rows.map(|row| dot(row, row).sqrt() as f32).collect()
    }

    /// The logits that follow the token at `position`, `[vocab]`.
    ///
    /// # Panics
    /// Panics if `position` is at least the number of tokens.
    pub fn logits(&self, position: usize) -> Logits<'_, M> {
        let vocab = self.spec.vocab as usize;
        Logits { values: &self.logits[position * vocab..][..vocab], brand: PhantomData }
    }

    /// The surprise of the token at `position`: `-ln` of its probability given the tokens before
    /// it, in nats. None for the first token, which the model does not predict, and in a model that
    /// is not causal, which attends to the token itself.
    ///
    /// # Panics
    /// See [`logits`](Self::logits).
    pub fn surprise(&self, position: usize) -> Option<f32> {
        let token = self.tokens[position];
        let before = position.checked_sub(1).filter(|_| self.spec.is_causal())?;
        self.logits(before).log_prob(token).map(|p| -p)
    }
}

impl QueriesAndKeys {
    /// Appends the queries and keys of `rows`, which also hold values.
    fn add(&mut self, spec: &Spec, rows: &[f32]) {
        let (q, kv) = (spec.q_width() as usize, spec.kv_width() as usize);
        for row in rows.chunks(spec.qkv_width() as usize) {
            self.queries.extend_from_slice(&row[..q]);
            self.keys.extend_from_slice(&row[q..q + kv]);
        }
    }

    /// The softmax of the scores of head `head`, masked, `[tokens, tokens]`.
    fn attention(&self, spec: &Spec, head: usize) -> Vec<f32> {
        let dim = spec.head_dim as usize;
        let kv_head = head / (spec.heads / spec.kv_heads) as usize;
        let queries = self.queries.chunks(spec.q_width() as usize);
        let keys = self.keys.chunks(spec.kv_width() as usize);
        let tokens = queries.len();
        let mut weights = vec![0.0; tokens * tokens];
        let rows = queries.zip(weights.chunks_mut(tokens)).enumerate();
        for (i, (query, row)) in rows {
            let query = &query[head * dim..][..dim];
            let seen = self.scores.keys(i as u64, tokens as u64);
            let (first, count) = (seen.start as usize, (seen.end - seen.start) as usize);
            let keys = keys.clone().skip(first).take(count);
            let products = keys.map(|key| dot(query, &key[kv_head * dim..][..dim]));
            let slope = self.scores.slope(head as u32, spec.heads);
            let distance = |key: usize| (first + key) as f64 - i as f64;
            let score = |(key, product)| self.scores.score(product) + slope * distance(key);
            let mut scores: Vec<f64> = products.enumerate().map(score).collect();
            let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            for score in &mut scores {
                *score = (*score - max).exp();
            }
            let sum: f64 = scores.iter().sum();
            for (weight, score) in row[first..].iter_mut().zip(scores) {
                *weight = (score / sum) as f32;
            }
        }
        weights
    }
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    let products = a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b));
    products.sum()
}
