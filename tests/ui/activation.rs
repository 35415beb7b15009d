//! Closures that cannot be differentiated or written in WGSL, and unknown activations.
use gpt_runtime::gpt_model;

gpt_model! {
    pub struct UnknownFunction { mlp: Dense { hidden: 8, activation: |x| erff(x) }, ..GPT2_SMALL }
    pub struct Misspelt { mlp: Dense { hidden: 8, activation: |x| tahn(x) }, ..GPT2_SMALL }
    pub struct UnknownName { mlp: Dense { hidden: 8, activation: |x| x * y }, ..GPT2_SMALL }
    pub struct Statement { mlp: Dense { hidden: 8, activation: |x| { while true {} x } }, ..GPT2_SMALL }
    pub struct TwoArguments { mlp: Dense { hidden: 8, activation: |x, y| x }, ..GPT2_SMALL }
    pub struct Condition { mlp: Dense { hidden: 8, activation: |x| if x > 0.0 { x } else { 0.0 } }, ..GPT2_SMALL }
    pub struct Power { mlp: Dense { hidden: 8, activation: |x| powi(x, x) }, ..GPT2_SMALL }
    pub struct WrongCount { mlp: Dense { hidden: 8, activation: |x| max(x) }, ..GPT2_SMALL }
    pub struct UnknownActivation { mlp: Dense { hidden: 8, activation: Swish }, ..GPT2_SMALL }
    pub struct UnknownMlp { mlp: Mixture { hidden: 8 }, ..GPT2_SMALL }
    pub struct UnknownField { mlp: Dense { hiden: 8 }, ..GPT2_SMALL }
}

fn main() {}
