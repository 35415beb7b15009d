//! The compiler behind `gpt_model!`, as an ordinary library: tokens -> parse -> spec -> check -> plan -> (WGSL, Rust).
//!
//! A proc-macro crate exports nothing but its macro, so everything that tests and tools call at run time lives here.

pub mod diagnostic;
pub mod expand;
pub mod formula;
pub mod plan;
pub mod wgsl;

pub use diagnostic::Diagnostic;

use gpt_plan::Spec;
use proc_macro2::TokenStream;

/// A declared model whose spec is resolved and checked.
#[derive(Clone)]
pub struct Model {
    /// The user's doc comments (and nothing else), for the generated type.
    pub attrs: Vec<syn::Attribute>,
    /// The user's visibility, for everything generated.
    pub vis: syn::Visibility,
    /// The type's name.
    pub ident: syn::Ident,
    /// What it is.
    pub spec: Spec,
    /// A `const` item that repeats the spec with the user's own tokens, so that an editor finds each key's documentation.
    pub echo: TokenStream,
}
