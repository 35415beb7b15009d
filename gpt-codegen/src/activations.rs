//! The table of built-in activations.
//!
//! A row has the name of an activation and its implementation: kernels written for it, or a closure
//! that is parsed, differentiated and compiled like a user's. A new activation of the second kind
//! needs only a row here.

use gpt_plan::Activation;

use crate::formula;

/// An activation that a spec can name.
pub struct BuiltIn {
    /// The name as a spec spells it.
    pub name: &'static str,
    /// The formula, or a phrase, for editors and the documentation of `gpt_model!`.
    pub doc: &'static str,
    how: How,
}

enum How {
    /// `gpt-runtime` and `shaders` have kernels for it.
    Kernels(Activation),
    /// The formula, in the language of closures.
    Closure(&'static str),
}

/// All built-in activations, in the order of the documentation.
pub static BUILT_IN: [BuiltIn; 5] = [
    row("Gelu", "`x Phi(x)`, with the exact normal distribution", How::Kernels(Activation::Gelu)),
    row("GeluTanh", "GPT-2's approximation of GELU by tanh", How::Kernels(Activation::GeluTanh)),
    row("Relu", "`max(x, 0)`", How::Kernels(Activation::Relu)),
    row("ReluSquared", "`max(x, 0)^2`", How::Closure("|x| powi(max(x, 0), 2)")),
    row("Silu", "`x / (1 + exp(-x))`", How::Kernels(Activation::Silu)),
];

const fn row(name: &'static str, doc: &'static str, how: How) -> BuiltIn {
    BuiltIn { name, doc, how }
}

/// The names, in order.
pub fn names() -> impl Iterator<Item = &'static str> + Clone {
    BUILT_IN.iter().map(|built_in| built_in.name)
}

/// The activations as a Markdown list, for the documentation of `gpt_model!`.
pub fn reference() -> String {
    BUILT_IN.iter().map(|built_in| format!("- `{}`: {}\n", built_in.name, built_in.doc)).collect()
}

/// The activation called `name`.
pub fn find(name: &str) -> Option<Activation> {
    let built_in = BUILT_IN.iter().find(|built_in| built_in.name == name)?;
    Some(match &built_in.how {
        How::Kernels(activation) => activation.clone(),
        How::Closure(closure) => {
            let closure = syn::parse_str(closure).expect("a test parses every closure");
            let mut activation = formula::parse(&closure).expect("a test parses every closure");
            if let Activation::Custom { name, .. } = &mut activation {
                *name = Some(built_in.name.into());
            }
            activation
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_an_activation() {
        for name in names() {
            let found = find(name).expect(name);
            assert_eq!(found.name(), Some(name));
        }
        assert_eq!(find("Nothing"), None);
    }

    /// `gpt-config` cannot call the compiler, so it has its own formula.
    #[test]
    fn activations_of_files_are_those_of_specs() {
        let file = serde_json::json!({ "model_type": "llama", "hidden_act": "relu2" });
        let spec = gpt_config::description(&file).unwrap();
        assert_eq!(Some(spec.mlp.activation), find("ReluSquared"));
    }
}
