//! Keys: unknown, duplicate, missing, of the wrong kind, zero, too large; bases.
use gpt_runtime::gpt_model;

gpt_model! {
    pub struct Unknown { embd: 768, ..GPT2_SMALL }
    pub struct FarFromAny { colour: 3, ..GPT2_SMALL }
    pub struct Twice { heads: 4, heads: 8, ..GPT2_SMALL }
    pub struct Missing { vocab: 100, layers: 2, embed: 64 }
    pub struct WrongKinds {
        heads: 1.5, bias: 3, norm: Gelu, mask: LayerNorm { eps: 1e-5 }, block: "pre", layers: true,
        ..GPT2_SMALL
    }
    pub struct Zero { layers: 0, ..GPT2_SMALL }
    pub struct Overflow { vocab: 5_000_000_000, embed: 4_000_000 * 4_000, ..GPT2_SMALL }
    pub struct Negative { context: 3 - 5, ..GPT2_SMALL }
    pub struct NotWhole { embed: 770 / 4, ..GPT2_SMALL }
    pub struct ByZero { embed: 768 / (heads - heads), ..GPT2_SMALL }
    pub struct UnknownBase { heads: 0, head_dim: embed / heads, mask: Causl, ..GPT2_SMAL }
    pub struct BaseFirst { ..GPT2_SMALL, heads: 4 }
    pub struct Cycle { embed: hidden / 4, mlp: Dense { hidden: 4 * embed }, ..GPT2_SMALL }
    pub struct TwoKeys { layers: heads, heads: layers, ..GPT2_SMALL }
    pub struct Fine { layers: 2, ..GPT2_SMALL }
}

// The good one is not hidden by the others, and the names of the bad ones exist.
fn sizes() -> usize {
    Fine::LAYERS
}

fn name(_: &Unknown) {}

fn main() {
    sizes();
}
