//! `gpt_model!`: a GPT written by the compiler. All of the work is in `gpt-codegen`.

use proc_macro::TokenStream;

/// Declares models. The README has the keys of a spec; `gpt_runtime` shows how the types are used.
#[proc_macro]
pub fn gpt_model(input: TokenStream) -> TokenStream {
    gpt_codegen::compile(input.into()).into()
}
