//! The procedural macros behind `gpt_model!` and its documentation.
//!
//! Users depend on `gpt-runtime`, whose `gpt_model!` calls `gpt_model_impl` with the path of that
//! crate. Nothing here is meant to be called by users. A crate of procedural macros can export only
//! macros, so the compiler is an ordinary library, `gpt-codegen`, which does all of the work.

#![warn(missing_docs)]

use proc_macro::{Literal, TokenStream, TokenTree};

/// The types with which editors complete and document the keys of a spec, for `gpt-runtime` only.
#[proc_macro]
pub fn spec_docs(_: TokenStream) -> TokenStream {
    gpt_codegen::expand::spec_docs().into()
}

/// The keys, presets and activations of a spec in Markdown, as a string literal, for the
/// documentation of `gpt_model!` in `gpt-runtime`.
#[proc_macro]
pub fn spec_reference(_: TokenStream) -> TokenStream {
    let reference = format!(
        "# Keys\n\n{}\n# Presets\n\n{}\n# Activations\n\n{}",
        gpt_codegen::keys::reference(),
        gpt_codegen::presets::reference(),
        gpt_codegen::activations::reference(),
    );
    TokenTree::from(Literal::string(&reference)).into()
}

/// Compiles the models of `gpt_model!`. The input begins with a group that holds the path of
/// `gpt-runtime`: `($crate) pub struct Gpt2 { .. }`.
///
/// A user's crate may have renamed `gpt-runtime`, or not depend on it directly. Only the `$crate`
/// of a `macro_rules!` names it in all cases, so `gpt_runtime::gpt_model!` is a `macro_rules!` that
/// calls this macro.
#[proc_macro]
pub fn gpt_model_impl(input: TokenStream) -> TokenStream {
    let mut input = input.into_iter();
    let Some(TokenTree::Group(root)) = input.next() else {
        unreachable!("gpt_model! passes its crate first");
    };
    let models: TokenStream = input.collect();
    gpt_codegen::compile(&root.stream().into(), models.into()).into()
}
