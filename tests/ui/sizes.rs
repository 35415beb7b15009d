//! Sizes that do not fit together: the error is at the token that makes them so.
use gpt_runtime::gpt_model;

gpt_model! {
    pub struct EmbedByHeads { heads: 7, ..GPT2_SMALL }
    pub struct HeadsByKvHeads { kv_heads: 5, ..GPT2_SMALL }
    pub struct OddHeadDim { embed: 780, positions: Rope { theta: 10_000.0 }, ..GPT2_SMALL }
    pub struct OverridePreset { embed: 1000, ..SMOLLM2_135M }
    pub struct WideHead { heads: 2, ..GPT2_SMALL }
    pub struct TooLargeToBind { vocab: 2_000_000, heads: 96, embed: 12_288, ..GPT2_SMALL }
    pub struct TooLongTable { context: 1_000_000, ..GPT2_SMALL }
    pub struct TooManyRows { vocab: 9_000_000, ..GPT2_SMALL }
    pub struct Epsilon { norm: LayerNorm { eps: 0.0 }, ..GPT2_SMALL }
    pub struct Dropout { dropout: 1.5, ..GPT2_SMALL }
}

// Code that uses a model with errors causes no further errors.
fn main() {
    let device = gpt_runtime::Device::auto().unwrap();
    let model = EmbedByHeads::init(&device, 1).unwrap();
    let mut session = model.session().capacity(EmbedByHeads::CONTEXT as u32).open().unwrap();
    let _ = session.push(&[1; EmbedByHeads::VOCAB]).unwrap().argmax();
    let _ = (EmbedByHeads::PARAMS, EmbedByHeads::PLAN, EmbedByHeads::KERNELS.len(), EmbedByHeads::train_bytes(1, 2));
    let _ = (EmbedByHeads::TOKEN_EMBEDDING, EmbedByHeads::MLP_UP.layer(11), EmbedByHeads::QK_NORM_GAMMA);
}
