use burn::module::Module;
use burn::nn::{
    Embedding, EmbeddingConfig, Initializer, LayerNorm, LayerNormConfig, Linear, LinearConfig, LinearLayout,
};
use burn::tensor::activation::{gelu, gelu_approximate, softmax};
use burn::tensor::module::{attention, linear};
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Device, Int, Tensor};

pub struct Shape {
    pub vocab: usize,
    pub context: usize,
    pub layers: usize,
    pub heads: usize,
    pub width: usize,
    pub bias: bool,
    pub tanh: bool,
}

impl Shape {
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

fn flag(name: &str) -> bool {
    std::env::var(name).is_ok_and(|v| v != "0")
}

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
    fused: bool,
}

#[derive(Module, Debug)]
pub struct Gpt {
    embedding: Embedding,
    positions: Embedding,
    blocks: Vec<Block>,
    norm: LayerNorm,
    col: bool,
}

pub struct Cache {
    layers: Vec<Option<[Tensor<4>; 2]>>,
    filled: usize,
    preallocated: Option<[usize; 4]>,
}

impl Cache {
    pub fn new(shape: &Shape) -> Cache {
        let dims = [1, shape.heads, shape.context, shape.width / shape.heads];
        Cache {
            layers: vec![None; shape.layers],
            filled: 0,
            preallocated: flag("PRE").then_some(dims),
        }
    }

    fn append(&mut self, layer: usize, new: [Tensor<4>; 2]) -> [Tensor<4>; 2] {
        let n = new[0].dims()[2];
        let (from, to) = (self.filled, self.filled + n);
        if let Some(dims) = self.preallocated {
            let device = new[0].device();
            let [k, v] = self.layers[layer]
                .take()
                .unwrap_or_else(|| [Tensor::zeros(dims, &device), Tensor::zeros(dims, &device)]);
            let [nk, nv] = new;
            let at = [0..dims[0], 0..dims[1], from..to, 0..dims[3]];
            let k = k.slice_assign(at.clone(), nk);
            let v = v.slice_assign(at, nv);
            self.layers[layer] = Some([k.clone(), v.clone()]);
            [k.narrow(2, 0, to), v.narrow(2, 0, to)]
        } else {
            let all = match self.layers[layer].take() {
                Some([k, v]) => {
                    let [nk, nv] = new;
                    [Tensor::cat(vec![k, nk], 2), Tensor::cat(vec![v, nv], 2)]
                }
                None => new,
            };
            self.layers[layer] = Some(all.clone());
            all
        }
    }
}

fn linear_layer(inputs: usize, outputs: usize, bias: bool, device: &Device) -> Linear {
    let layout = if flag("COL") {
        LinearLayout::Col
    } else {
        LinearLayout::Row
    };
    LinearConfig::new(inputs, outputs)
        .with_bias(bias)
        .with_layout(layout)
        .with_initializer(Initializer::Normal {
            mean: 0.0,
            std: 0.02,
        })
        .init(device)
}

impl Block {
    fn new(shape: &Shape, device: &Device) -> Block {
        let width = shape.width;
        let norm = || {
            LayerNormConfig::new(width)
                .with_bias(shape.bias)
                .init(device)
        };
        let linear = |i, o| linear_layer(i, o, shape.bias, device);
        Block {
            norm_1: norm(),
            qkv: linear(width, 3 * width),
            out: linear(width, width),
            norm_2: norm(),
            up: linear(width, 4 * width),
            down: linear(4 * width, width),
            heads: shape.heads,
            tanh: shape.tanh,
            fused: flag("FLASH"),
        }
    }

    fn heads(&self, x: Tensor<3>) -> [Tensor<4>; 3] {
        let [batch, tokens, width] = x.dims();
        let h = self.heads;
        let qkv = self
            .qkv
            .forward(x)
            .reshape([batch, tokens, 3 * h, width / h])
            .swap_dims(1, 2);
        [0, 1, 2].map(|i| qkv.clone().narrow(1, i * h, h))
    }

    fn attention(&self, [q, k, v]: [Tensor<4>; 3], mask: Option<Tensor<4>>) -> Tensor<3> {
        let [batch, h, tokens, d] = q.dims();
        let y = if self.fused {
            let options = AttentionModuleOptions {
                is_causal: tokens > 1,
                ..Default::default()
            };
            attention(q, k, v, None, None, options)
        } else {
            let scores = q.matmul(k.transpose()) * (d as f64).powf(-0.5);
            let scores = match mask {
                Some(mask) => scores + mask,
                None => scores,
            };
            softmax(scores, 3).matmul(v)
        };
        self.out
            .forward(y.swap_dims(1, 2).reshape([batch, tokens, h * d]))
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

pub fn mask(tokens: usize, device: &Device) -> Tensor<4> {
    let seen = Tensor::<2>::ones([tokens, tokens], device).tril(0);
    Tensor::<2>::zeros([tokens, tokens], device)
        .mask_fill(seen.equal_elem(0.0), f32::NEG_INFINITY)
        .unsqueeze()
}

impl Gpt {
    pub fn new(shape: &Shape, device: &Device) -> Gpt {
        let table = |rows| {
            EmbeddingConfig::new(rows, shape.width)
                .with_initializer(Initializer::Normal {
                    mean: 0.0,
                    std: 0.02,
                })
                .init(device)
        };
        Gpt {
            embedding: table(shape.vocab),
            positions: table(shape.context),
            blocks: (0..shape.layers)
                .map(|_| Block::new(shape, device))
                .collect(),
            norm: LayerNormConfig::new(shape.width)
                .with_bias(shape.bias)
                .init(device),
            col: flag("COL"),
        }
    }

    fn embed(&self, tokens: Tensor<2, Int>, position: usize) -> Tensor<3> {
        let n = tokens.dims()[1];
        let positions = self.positions.weight.val().narrow(0, position, n);
        self.embedding.forward(tokens) + positions.unsqueeze()
    }

    fn head<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        linear(x, self.embedding.weight.val().transpose(), None)
    }

    pub fn next(&self, tokens: Tensor<2, Int>, cache: &mut Cache) -> Tensor<2> {
        let n = tokens.dims()[1];
        let device = tokens.device();
        let mut x = self.embed(tokens, cache.filled);
        let mask = (n > 1).then(|| mask(n, &device));
        for (i, block) in self.blocks.iter().enumerate() {
            let [q, k, v] = block.heads(block.norm_1.forward(x.clone()));
            let [k, v] = cache.append(i, [k, v]);
            x = x + block.attention([q, k, v], mask.clone());
            x = x.clone() + block.mlp(block.norm_2.forward(x));
        }
        cache.filled += n;
        let last = x.narrow(1, n - 1, 1).squeeze_dim::<2>(1);
        self.head(self.norm.forward(last))
    }

    pub fn logits(&self, tokens: Tensor<2, Int>, mask: Tensor<4>) -> Tensor<2> {
        let mut x = self.embed(tokens, 0);
        for block in &self.blocks {
            let heads = block.heads(block.norm_1.forward(x.clone()));
            x = x + block.attention(heads, Some(mask.clone()));
            x = x.clone() + block.mlp(block.norm_2.forward(x));
        }
        self.head(self.norm.forward(x)).flatten(0, 1)
    }
}
