//! Lists that repeat over the layers, values that may be `None`, flags that name other flags.
use gpt_runtime::gpt_model;

gpt_model! {
    pub struct TooMany { layers: 2, mask: [Causal, Causal, Bidirectional], ..GPT2_SMALL }
    pub struct Empty { mask: [], ..GPT2_SMALL }
    pub struct WrongElements { mask: [Causal, Causl], positions: Rope { theta: [1e4, -1.0, None] }, ..GPT2_SMALL }
    pub struct NotOptional { dropout: None, bias: None, ..GPT2_SMALL }
    pub struct WrongOptions { logit_softcap: 0.0, qkv_bias: 3, ..GPT2_SMALL }
    pub struct Circular { bias: tie_embeddings, tie_embeddings: bias, ..GPT2_SMALL }
    pub struct OddHeads { embed: 780, positions: Rope { theta: [None, 1e4] }, ..GPT2_SMALL }
    pub struct Fine {
        layers: 5, mask: [Causal, Bidirectional], positions: Rope { theta: [1e4, None, 1e6] }, logit_softcap: None,
        tie_embeddings: bias, bias: false, qkv_bias: true, ..GPT2_SMALL
    }
}

fn main() {
    let _ = Fine::LAYERS;
}
