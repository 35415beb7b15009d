//! Activations by their names in a `config.json` (`ACT2FN` of transformers).

use gpt_plan::{Activation, Formula, Node};

use crate::fields::{Fields, short};

/// A name and its activation.
pub type Name = (&'static str, fn() -> Activation);

/// The names of `ACT2FN` that are supported.
const NAMES: [Name; 10] = [
    ("gelu", || Activation::Gelu),
    ("gelu_python", || Activation::Gelu),
    ("gelu_fast", || Activation::GeluTanh),
    ("gelu_new", || Activation::GeluTanh),
    ("gelu_pytorch_tanh", || Activation::GeluTanh),
    ("gelu_accurate", || Activation::GeluTanh),
    ("relu", || Activation::Relu),
    ("relu2", relu_squared),
    ("silu", || Activation::Silu),
    ("swish", || Activation::Silu),
];

impl Fields<'_> {
    /// The activation that `key` names, or `default`.
    pub fn activation(&mut self, key: &'static str, default: Activation) -> Activation {
        let Some(name) = self.text(key) else { return default };
        self.activation_of(key, name, &NAMES).unwrap_or(default)
    }

    /// The activation that `names` has for `name`, the value of `key`.
    pub fn activation_of(&mut self, key: &str, name: &str, names: &[Name]) -> Option<Activation> {
        let found = names.iter().find(|(known, _)| *known == name);
        if found.is_none() {
            let known: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
            let (name, file) = (short(name), self.file());
            let known = known.join(", ");
            self.fail(format!("the {key} {name} of {file} is unknown; the known ones are {known}"));
        }
        found.map(|(_, activation)| activation())
    }
}

/// The built-in activation `ReluSquared`. A test of `gpt-codegen` compares it with the compiled
/// one.
pub fn relu_squared() -> Activation {
    let value = [Node::X, Node::Const(0.0), Node::Max(0, 1), Node::Powi(2, 2)];
    let derivative = [
        Node::X,
        Node::Const(0.0),
        Node::Max(0, 1),
        Node::Greater(0, 1),
        Node::Const(2.0),
        Node::Mul(2, 4),
        Node::Mul(3, 5),
    ];
    Activation::Custom {
        name: Some("ReluSquared".into()),
        value: Formula { nodes: value.to_vec().into() },
        derivative: Formula { nodes: derivative.to_vec().into() },
    }
}
