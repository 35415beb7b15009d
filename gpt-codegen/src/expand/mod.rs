//! Rust out of a model: its types, its constants, its plan.

use proc_macro2::TokenStream;
use quote::quote;

use crate::Model;

/// All items of `model`.
pub fn model(model: &Model) -> TokenStream {
    let Model {
        attrs,
        vis,
        ident,
        echo,
        ..
    } = model;
    quote!(#(#attrs)* #vis struct #ident; #echo)
}
