//! `gpt_model!`: a GPT written by the compiler. All of the work is in `gpt-codegen`.

use proc_macro::TokenStream;

/// Declares models. See the README for the keys of a spec.
#[proc_macro]
pub fn gpt_model(_input: TokenStream) -> TokenStream {
    TokenStream::new()
}
