//! The procedural macro behind `gpt_model!`. All of the work is in `gpt-codegen`.

use proc_macro::{TokenStream, TokenTree};

/// The types that document a spec to editors, for `gpt-runtime` alone.
#[proc_macro]
pub fn spec_docs(_: TokenStream) -> TokenStream {
    gpt_codegen::expand::spec_docs().into()
}

/// `gpt_model!`, after a group with the path of `gpt-runtime`: `($crate) pub struct Gpt2 { .. }`.
///
/// A user's crate may have renamed `gpt-runtime`, or not depend on it directly. Only the `$crate`
/// of a `macro_rules!` names it in all cases, so `gpt_runtime::gpt_model!` is one and calls this
/// macro.
#[proc_macro]
pub fn gpt_model_impl(input: TokenStream) -> TokenStream {
    let mut input = input.into_iter();
    let Some(TokenTree::Group(root)) = input.next() else {
        unreachable!("gpt_model! passes its crate first");
    };
    let models: TokenStream = input.collect();
    gpt_codegen::compile(&root.stream().into(), models.into()).into()
}
