//! `gpt_model!` where Cargo.toml gives `gpt-runtime` another name. That needs a separate package,
//! because a package cannot depend on a crate under two names.
#![no_implicit_prelude]

::runtime::gpt_model! {
    /// Declared by the macro's path.
    pub struct Plain { vocab: 5, context: 4, layers: 1, heads: 1, embed: 8 }
}

use ::runtime::gpt_model as declare;

declare! {
    /// Declared by the macro under another name.
    pub struct Closure {
        vocab: 5, context: 4, layers: 1, heads: 1, embed: 8,
        mlp: Gated { hidden: 8, activation: |x| x * abs(x) },
    }
    /// With a built-in activation.
    pub struct BuiltIn { mlp: Gated { hidden: 8 }, ..Closure }
}

#[::core::prelude::v1::test]
fn the_models_exist() {
    ::std::assert_eq!([Plain::EMBED, Closure::EMBED, BuiltIn::EMBED], [8; 3]);
}
