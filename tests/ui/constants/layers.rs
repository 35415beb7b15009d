// Layers and shapes are checked in constants.
use gpt_runtime::__private::plan::{Component, Role};
use gpt_runtime::{Parameter, gpt_model};

gpt_model! {
    pub struct Tiny { vocab: 5, context: 4, layers: 2, heads: 1, embed: 8 }
}

const NO_SUCH_LAYER: Parameter<Tiny, 32, 8> = Tiny::MLP_UP.layer(2);
const WRONG_SHAPE: Parameter<Tiny, 5, 9> =
    Parameter::new(Tiny::PLAN, Role::TokenEmbedding, Component::Weight);

fn main() {}
