//! Generated code must compile without warnings in strict and unusual surroundings.
#![forbid(unsafe_code)]
#![deny(missing_docs, warnings)]

use gpt_runtime::gpt_model;

gpt_model! {
    /// A model whose constants are not read.
    struct Private {
        vocab: 5, context: 4, layers: 1, heads: 1, embed: 8,
        mlp: Dense { hidden: 8, activation: |x| x * tanh(ln(1 + exp(x))) },
    }
}

/// A scope in which names of the prelude have other meanings.
pub mod shadowed {
    /// Not `std`'s.
    pub struct Vec;
    /// Not `core`'s.
    pub struct Option;
    /// Not `core`'s.
    pub struct Result;
    /// Not `std`'s.
    pub struct String;
    /// Not `core`'s.
    pub struct Some;
    /// Not `core`'s.
    pub struct Ok;

    gpt_runtime::gpt_model! {
        /// Beside them.
        pub struct Model { vocab: 5, context: 4, layers: 2, heads: 1, embed: 8, block: PostNorm }
    }
}

/// The user's own modules have the names of the crate's.
pub mod modules {
    /// Not the plan.
    pub mod plan {}
    /// Not the runtime.
    pub mod gpt_runtime {}

    ::gpt_runtime::gpt_model! {
        /// Beside them.
        pub struct Model { vocab: 5, context: 4, layers: 1, heads: 1, embed: 8 }
    }
}

/// Nothing is in scope.
pub mod bare {
    #![no_implicit_prelude]

    ::gpt_runtime::gpt_model! {
        /// With a closure.
        pub struct Closure {
            vocab: 5, context: 4, layers: 1, heads: 1, embed: 8,
            mlp: Dense { hidden: 8, activation: |x| max(x, 0).powi(2) / (1 + exp(-x)) },
        }
        /// With a built-in activation.
        pub struct BuiltIn {
            mlp: Gated { hidden: 8 }, positions: Rope { theta: 1e4 }, tie_embeddings: false, ..Closure
        }
    }
}

#[test]
fn in_a_function() {
    gpt_model! { struct Local { vocab: 5, context: 4, layers: 1, heads: 1, embed: 8 } }
    let sizes = [
        Local::EMBED,
        Private::EMBED,
        shadowed::Model::EMBED,
        bare::Closure::EMBED,
        bare::BuiltIn::EMBED,
        modules::Model::EMBED,
    ];
    assert_eq!(sizes, [8; 6]);
}
