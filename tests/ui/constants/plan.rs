// A plan whose steps do not fit its tensors is rejected. The macro writes none, so this one is
// written by hand: no buffer is as wide as its embedding.
use std::borrow::Cow::Borrowed;

use gpt_runtime::__private::plan::*;

static PLAN: Plan = Plan {
    name: Borrowed("Broken"),
    spec: Spec {
        vocab: 5,
        context: 4,
        layers: 1,
        heads: 1,
        kv_heads: 1,
        embed: 8,
        head_dim: 8,
        norm: Norm { kind: NormKind::Layer, eps: 1e-5, affine: true, bias: None, unit_offset: false },
        block: Block::PreNorm,
        mlp: Mlp { gated: false, hidden: 8, activation: Activation::Relu },
        positions: Positions::Rope(Rope {
            theta: Pattern(Borrowed(&[Some(1e4)])),
            dims: 8,
            pairs: RotaryPairs::Halves,
            scaling: Pattern(Borrowed(&[RopeScaling::None])),
        }),
        mask: Pattern(Borrowed(&[Mask::Causal])),
        window: Pattern(Borrowed(&[None])),
        attention_scale: None,
        attention_softcap: None,
        qk_norm: None,
        qkv_bias: None,
        attn_out_bias: None,
        mlp_bias: None,
        bias: false,
        head_dense: false,
        head_bias: false,
        tie_embeddings: true,
        token_types: None,
        embedding_norm: false,
        first_attn_bare: false,
        embedding_scale: None,
        residual_scale: None,
        logit_scale: None,
        logit_softcap: None,
        dropout: 0.0,
        names: TensorNames::Closest,
    },
    tensors: Borrowed(&[Tensor {
        role: Role::TokenEmbedding,
        component: Component::Weight,
        name: Borrowed("token_embedding"),
        place: Place::Model,
        kind: TensorKind::Matrix,
        rows: 5,
        columns: 7,
        init: Init::Zeros,
        sources: Borrowed(&[]),
    }]),
    buffers: Borrowed(&[Buffer {
        id: BufferId::X,
        width: 8,
        stride: 8,
        rows: RowCount::Chunk,
        copies: Copies::One,
    }]),
    kernels: Borrowed(&[]),
    sections: Borrowed(&[Section {
        repeat: Repeat::Once,
        period: 1,
        steps: Borrowed(&[Step {
            name: Borrowed("embed"),
            op: Op::Embed {
                table: TensorId(0),
                positions: None,
                types: None,
                scale: 1.0,
                out: BufferId::X.here(),
            },
            kernels: StepKernels::Inference {
                decode: KernelChoice::Plain(0),
                prefill: KernelChoice::Plain(0),
            },
        }]),
    }]),
    split_attention: None,
    sampling: [0; SamplingOp::ALL.len()],
    training: Training {
        buffers: Borrowed(&[]),
        forward: Borrowed(&[]),
        loss: Borrowed(&[]),
        backward: Borrowed(&[]),
        kernels: Borrowed(&[]),
        in_f16: Borrowed(&[]),
    },
};

const _: () = validate(&PLAN);

fn main() {}
