//! GPT-2 in burn's layers. Uses the fastest of burn's alternatives on lavapipe (burn 0.22.1,
//! GPT-2's shape, one token at a time): column-major weights for products of one row (3.5 tokens/s
//! instead of 2.5); a cache that is concatenated, which is one copy, because writing in place takes
//! a kernel for the row and one for its view (4.4 instead of 3.6); attention as two products and a
//! softmax, which burn fuses, because without tensor cores its flash kernel is no faster for a
//! prompt and slower for a token (3.6 instead of 2.6).

use burn::module::Module;
use burn::nn::{
    Embedding, EmbeddingConfig, Initializer, LayerNorm, LayerNormConfig, Linear, LinearConfig,
    LinearLayout,
};
use burn::tensor::activation::{gelu, gelu_approximate, softmax};
use burn::tensor::module::linear;
use burn::tensor::{Device, Int, Tensor};

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
    /// The vocabulary is reduced: burn binds a tensor as one buffer, and lavapipe's limit is
    /// 128 MiB. 32,768 rows take 96 MiB.
    pub const GPT2: Shape = Shape {
        vocab: 32_768,
        context: 1024,
        layers: 12,
        heads: 12,
        width: 768,
        bias: true,
        tanh: true,
    };
    pub const NANO: Shape = Shape {
        vocab: 65,
        context: 64,
        layers: 4,
        heads: 4,
        width: 128,
        bias: false,
        tanh: false,
    };
}

const INIT: Initializer = Initializer::Normal {
    mean: 0.0,
    std: 0.02,
};

#[derive(Module, Debug)]
struct Block {
    norm_1: LayerNorm,
    qkv: Linear,
    out: Linear,
    norm_2: LayerNorm,
    up: Linear,
    down: Linear,
    heads: usize,
    tanh: bool,
}

#[derive(Module, Debug)]
pub struct Gpt {
    embedding: Embedding,
    positions: Embedding,
    blocks: Vec<Block>,
    norm: LayerNorm,
}

/// Keys and values of the tokens so far, `[1, heads, tokens, head_dim]` each. Separate from the
/// model, because a pass does not change burn's modules.
#[derive(Default)]
pub struct Cache {
    layers: Vec<[Tensor<4>; 2]>,
    tokens: usize,
}

impl Cache {
    /// Appends the new rows of a layer and returns all rows.
    fn append(&mut self, layer: usize, new: [Tensor<4>; 2]) -> [Tensor<4>; 2] {
        let Some(old) = self.layers.get_mut(layer) else {
            self.layers.push(new.clone());
            return new;
        };
        for (old, new) in old.iter_mut().zip(new) {
            *old = Tensor::cat(vec![old.clone(), new], 2);
        }
        old.clone()
    }
}

/// The causal mask: 0 for visible keys, minus infinity for the others.
pub fn mask(tokens: usize, device: &Device) -> Tensor<4> {
    let hidden = Tensor::<2>::ones([tokens, tokens], device).triu(1);
    let mask = Tensor::<2>::zeros([tokens, tokens], device);
    mask.mask_fill(hidden.bool(), f32::NEG_INFINITY).unsqueeze()
}

fn norm(shape: &Shape, device: &Device) -> LayerNorm {
    let config = LayerNormConfig::new(shape.width);
    config.with_bias(shape.bias).init(device)
}

impl Block {
    fn new(shape: &Shape, device: &Device) -> Block {
        let width = shape.width;
        let linear = |inputs, outputs| {
            let config = LinearConfig::new(inputs, outputs).with_bias(shape.bias);
            let config = config.with_layout(LinearLayout::Col);
            config.with_initializer(INIT).init(device)
        };
        Block {
            norm_1: norm(shape, device),
            qkv: linear(width, 3 * width),
            out: linear(width, width),
            norm_2: norm(shape, device),
            up: linear(width, 4 * width),
            down: linear(4 * width, width),
            heads: shape.heads,
            tanh: shape.tanh,
        }
    }

    /// Queries, keys and values, `[batch, heads, tokens, head_dim]` each.
    fn heads(&self, x: Tensor<3>) -> [Tensor<4>; 3] {
        let [batch, tokens, width] = x.dims();
        let heads = self.heads;
        // Reshaped to three times as many heads, so that the three are slices of one tensor without
        // a copy.
        let qkv = self.qkv.forward(x);
        let qkv = qkv.reshape([batch, tokens, 3 * heads, width / heads]);
        let qkv = qkv.swap_dims(1, 2);
        [0, 1, 2].map(|i| qkv.clone().narrow(1, i * heads, heads))
    }

    fn attention(&self, [q, k, v]: [Tensor<4>; 3], mask: Option<Tensor<4>>) -> Tensor<3> {
        let [batch, heads, tokens, width] = q.dims();
        let scores = q.matmul(k.transpose()) * (width as f64).powf(-0.5);
        let scores = match mask {
            Some(mask) => scores + mask,
            None => scores,
        };
        let y = softmax(scores, 3).matmul(v).swap_dims(1, 2);
        self.out.forward(y.reshape([batch, tokens, heads * width]))
    }

    fn mlp(&self, x: Tensor<3>) -> Tensor<3> {
        let h = self.up.forward(x);
        let h = if self.tanh {
            gelu_approximate(h)
        } else {
            gelu(h)
        };
        self.down.forward(h)
    }
}

impl Gpt {
    pub fn new(shape: &Shape, device: &Device) -> Gpt {
        let table = |rows| {
            let config = EmbeddingConfig::new(rows, shape.width);
            config.with_initializer(INIT).init(device)
        };
        let block = |_| Block::new(shape, device);
        Gpt {
            embedding: table(shape.vocab),
            positions: table(shape.context),
            blocks: (0..shape.layers).map(block).collect(),
            norm: norm(shape, device),
        }
    }

    fn embed(&self, tokens: Tensor<2, Int>, position: usize) -> Tensor<3> {
        let n = tokens.dims()[1];
        let positions = self.positions.weight.val().narrow(0, position, n);
        self.embedding.forward(tokens) + positions.unsqueeze()
    }

    fn head<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let weight = self.embedding.weight.val().transpose();
        linear(self.norm.forward(x), weight, None)
    }

    /// The logits after the last of `tokens` (`[1, n]`), which follow the cached ones.
    pub fn next(&self, tokens: Tensor<2, Int>, cache: &mut Cache) -> Tensor<2> {
        let n = tokens.dims()[1];
        let mask = (n > 1).then(|| mask(n, &tokens.device()));
        let mut x = self.embed(tokens, cache.tokens);
        for (layer, block) in self.blocks.iter().enumerate() {
            let [q, k, v] = block.heads(block.norm_1.forward(x.clone()));
            let [k, v] = cache.append(layer, [k, v]);
            x = x + block.attention([q, k, v], mask.clone());
            x = x.clone() + block.mlp(block.norm_2.forward(x));
        }
        cache.tokens += n;
        self.head(x.narrow(1, n - 1, 1).squeeze_dim::<2>(1))
    }

    /// The logits after each token, `[batch * tokens, vocab]`, for training.
    pub fn logits(&self, tokens: Tensor<2, Int>, mask: &Tensor<4>) -> Tensor<2> {
        let mut x = self.embed(tokens, 0);
        for block in &self.blocks {
            let heads = block.heads(block.norm_1.forward(x.clone()));
            x = x + block.attention(heads, Some(mask.clone()));
            x = x.clone() + block.mlp(block.norm_2.forward(x));
        }
        self.head(x).flatten(0, 1)
    }
}
