//! GPT-2 in candle's layers. Inference uses candle's fused norm and softmax. They have no gradient,
//! so training composes them from operations that have one.

use candle_core::{D, DType, IndexOp, Module, Result, Tensor};
use candle_nn::kv_cache::KvCache;
use candle_nn::{Embedding, Init, LayerNorm, Linear, VarBuilder, ops};

/// The sizes of a model.
pub struct Shape {
    pub vocab: usize,
    context: usize,
    layers: usize,
    heads: usize,
    width: usize,
    bias: bool,
    /// GELU with the tanh approximation, or with the error function.
    tanh: bool,
}

impl Shape {
    pub const GPT2: Shape = Shape {
        vocab: 50_257,
        context: 1024,
        layers: 12,
        heads: 12,
        width: 768,
        bias: true,
        tanh: true,
    };
    pub const NANO: Shape =
        Shape { vocab: 65, context: 64, layers: 4, heads: 4, width: 128, bias: false, tanh: false };
}

const EPS: f64 = 1e-5;

struct Block {
    norms: [LayerNorm; 2],
    qkv: Linear,
    out: Linear,
    up: Linear,
    down: Linear,
    heads: usize,
    tanh: bool,
    cache: KvCache,
}

pub struct Gpt {
    embedding: Embedding,
    positions: Embedding,
    blocks: Vec<Block>,
    norm: LayerNorm,
}

fn linear(inputs: usize, outputs: usize, bias: bool, vb: VarBuilder<'_>) -> Result<Linear> {
    let init = Init::Randn { mean: 0.0, stdev: 0.02 };
    let weight = vb.get_with_hints((outputs, inputs), "weight", init)?;
    let bias = bias.then(|| vb.get_with_hints(outputs, "bias", Init::Const(0.0)));
    Ok(Linear::new(weight, bias.transpose()?))
}

fn norm(shape: &Shape, vb: VarBuilder<'_>) -> Result<LayerNorm> {
    let weight = vb.get_with_hints(shape.width, "weight", Init::Const(1.0))?;
    if !shape.bias {
        return Ok(LayerNorm::new_no_bias(weight, EPS));
    }
    let bias = vb.get_with_hints(shape.width, "bias", Init::Const(0.0))?;
    Ok(LayerNorm::new(weight, bias, EPS))
}

/// Computes a norm with operations that have gradients.
fn differentiable(norm: &LayerNorm, x: &Tensor) -> Result<Tensor> {
    let x = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let variance = x.sqr()?.mean_keepdim(D::Minus1)?;
    let x = x.broadcast_div(&(variance + EPS)?.sqrt()?)?;
    let x = x.broadcast_mul(norm.weight())?;
    match norm.bias() {
        Some(bias) => x.broadcast_add(bias),
        None => Ok(x),
    }
}

impl Block {
    fn new(shape: &Shape, vb: VarBuilder<'_>) -> Result<Block> {
        let width = shape.width;
        let linear = |inputs, outputs, name| linear(inputs, outputs, shape.bias, vb.pp(name));
        Ok(Block {
            norms: [norm(shape, vb.pp("norm_1"))?, norm(shape, vb.pp("norm_2"))?],
            qkv: linear(width, 3 * width, "qkv")?,
            out: linear(width, width, "out")?,
            up: linear(width, 4 * width, "up")?,
            down: linear(4 * width, width, "down")?,
            heads: shape.heads,
            tanh: shape.tanh,
            cache: KvCache::new(2, shape.context),
        })
    }

    /// Queries, keys and values, `[batch, heads, tokens, head_dim]` each.
    fn heads(&self, x: &Tensor) -> Result<[Tensor; 3]> {
        let (batch, tokens, width) = x.dims3()?;
        let qkv = self.qkv.forward(x)?;
        let qkv = qkv.reshape((batch, tokens, 3, self.heads, width / self.heads))?;
        let part = |i: usize| qkv.i((.., .., i))?.transpose(1, 2)?.contiguous();
        Ok([part(0)?, part(1)?, part(2)?])
    }

    fn attention(
        &self,
        [q, k, v]: [Tensor; 3],
        mask: Option<&Tensor>,
        train: bool,
    ) -> Result<Tensor> {
        let scale = 1.0 / (q.dim(D::Minus1)? as f64).sqrt();
        let scores = (q.matmul(&k.transpose(2, 3)?)? * scale)?;
        let scores = match mask {
            Some(mask) => scores.broadcast_add(mask)?,
            None => scores,
        };
        let weights =
            if train { ops::softmax(&scores, D::Minus1)? } else { ops::softmax_last_dim(&scores)? };
        self.out.forward(&weights.matmul(&v)?.transpose(1, 2)?.flatten_from(2)?)
    }

    fn mlp(&self, x: &Tensor) -> Result<Tensor> {
        let h = self.up.forward(x)?;
        let h = if self.tanh { h.gelu()? } else { h.gelu_erf()? };
        self.down.forward(&h)
    }
}

/// The causal mask: 0 for visible keys, minus infinity for the others.
fn mask(tokens: usize, like: &Tensor) -> Result<Tensor> {
    let seen = (0..tokens)
        .flat_map(|i| (0..tokens).map(move |j| if j <= i { 0.0 } else { f32::NEG_INFINITY }));
    let mask = Tensor::from_iter(seen, like.device())?;
    mask.reshape((tokens, tokens))?.to_dtype(like.dtype())
}

impl Gpt {
    pub fn new(shape: &Shape, vb: VarBuilder<'_>) -> Result<Gpt> {
        let table = |rows: usize, name: &str| {
            let table = linear(shape.width, rows, false, vb.pp(name))?;
            Ok::<_, candle_core::Error>(Embedding::new(table.weight().clone(), shape.width))
        };
        let block = |i: usize| Block::new(shape, vb.pp(format!("block_{i}")));
        Ok(Gpt {
            embedding: table(shape.vocab, "embedding")?,
            positions: table(shape.context, "positions")?,
            blocks: (0..shape.layers).map(block).collect::<Result<_>>()?,
            norm: norm(shape, vb.pp("norm"))?,
        })
    }

    /// Empties the cache.
    pub fn forget(&mut self) {
        self.blocks.iter_mut().for_each(|block| block.cache.reset());
    }

    fn embed(&self, tokens: &Tensor, position: usize) -> Result<Tensor> {
        let n = tokens.dim(1)?;
        let positions = self.positions.embeddings().narrow(0, position, n)?;
        self.embedding.forward(tokens)?.broadcast_add(&positions)
    }

    fn head(&self, x: &Tensor) -> Result<Tensor> {
        x.matmul(&self.embedding.embeddings().t()?)
    }

    /// The logits after the last of `tokens` (`[1, n]`), which start at `position`.
    pub fn next(&mut self, tokens: &Tensor, position: usize) -> Result<Tensor> {
        let n = tokens.dim(1)?;
        let mut x = self.embed(tokens, position)?;
        let mask = if n > 1 { Some(mask(n, &x)?) } else { None };
        for block in &mut self.blocks {
            let [q, k, v] = block.heads(&block.norms[0].forward(&x)?)?;
            let (k, v) = block.cache.append(&k, &v)?;
            x = (&x + block.attention([q, k, v], mask.as_ref(), false)?)?;
            x = (&x + block.mlp(&block.norms[1].forward(&x)?)?)?;
        }
        let last = self.norm.forward(&x.i((.., n - 1..))?.contiguous()?)?;
        self.head(&last.squeeze(1)?)?.to_dtype(DType::F32)
    }

    /// The logits after each token, `[batch * tokens, vocab]`, for training.
    pub fn logits(&self, tokens: &Tensor) -> Result<Tensor> {
        let mut x = self.embed(tokens, 0)?;
        let mask = mask(tokens.dim(1)?, &x)?;
        for block in &self.blocks {
            let heads = block.heads(&differentiable(&block.norms[0], &x)?)?;
            x = (&x + block.attention(heads, Some(&mask), true)?)?;
            x = (&x + block.mlp(&differentiable(&block.norms[1], &x)?)?)?;
        }
        self.head(&differentiable(&self.norm, &x)?.flatten(0, 1)?)
    }
}
