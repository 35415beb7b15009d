//! The types that document a spec to editors, from the tables of keys and activations.
//!
//! `gpt_model!` repeats a spec as a literal of these types in code that is never run ([`echo`]).
//! Editors then display their docs when the user hovers over a key or completes one.
//!
//! [`echo`]: super::echo

use proc_macro2::TokenStream;
use quote::{format_ident, quote};

use crate::activations::BUILT_IN;
use crate::keys::{KEYS, Key, Kind, Variant, type_name};

/// A struct `Spec` with a field for each key, an enum for each choice and for the activations, and
/// a generic function `any`, which can stand for any value.
pub fn spec_docs() -> TokenStream {
    let fields = KEYS.iter().map(|key| field(key, &quote!(pub)));
    // Several variants may have the same field, whose enum is generated once.
    let mut choices: Vec<(&str, TokenStream)> = KEYS.iter().flat_map(choices).collect();
    choices.sort_by_key(|(name, _)| *name);
    choices.dedup_by_key(|(name, _)| *name);
    let choices = choices.into_iter().map(|(_, item)| item);
    let activations = BUILT_IN.iter().map(|built_in| {
        let (name, doc) = (format_ident!("{}", built_in.name), sentence(built_in.doc));
        quote!(#[doc = #doc] #name)
    });
    quote! {
        /// The keys of `gpt_model!`.
        pub struct Spec { #(#fields,)* }

        #(#choices)*

        /// The nonlinearity of an MLP.
        pub enum Activation { #(#activations,)* }

        /// A value of any type, in code that is never run.
        pub fn any<T>() -> T {
            ::core::unreachable!("the echo of a spec is never run")
        }
    }
}

/// The enum of `key` and those of the fields of its variants, each with the name of its key. Empty
/// if `key` is not a choice.
fn choices(key: &'static Key) -> Vec<(&'static str, TokenStream)> {
    let (Kind::Choice(variants) | Kind::ChoicePattern(_, variants)) = key.kind else {
        return Vec::new();
    };
    let fields = variants.iter().flat_map(|variant| variant.fields);
    [(key.name, choice(key, variants))].into_iter().chain(fields.flat_map(choices)).collect()
}

fn choice(key: &Key, variants: &[Variant]) -> TokenStream {
    let (name, doc) = (format_ident!("{}", type_name(key.name)), sentence(key.doc));
    let variants = variants.iter().map(|variant| {
        let (name, doc) = (format_ident!("{}", variant.name), sentence(variant.doc));
        let fields = variant.fields.iter().map(|key| field(key, &quote!()));
        if variant.fields.is_empty() {
            quote!(#[doc = #doc] #name)
        } else {
            quote!(#[doc = #doc] #name { #(#fields,)* })
        }
    });
    quote! {
        #[doc = #doc]
        pub enum #name { #(#variants,)* }
    }
}

fn field(key: &Key, vis: &TokenStream) -> TokenStream {
    let name = format_ident!("{}", key.name);
    let kind = match key.kind {
        Kind::Size(_) => quote!(u32),
        Kind::Number(..) => quote!(f64),
        Kind::OptionalNumber(..) => quote!(::core::option::Option<f64>),
        Kind::Flag(_) => quote!(bool),
        Kind::OptionalFlag(_) => quote!(::core::option::Option<bool>),
        Kind::Activation(_) => quote!(Activation),
        Kind::NumberPattern(..) => quote!(::core::option::Option<f64>),
        Kind::OptionalSize(_) | Kind::SizePattern(_) => quote!(::core::option::Option<u32>),
        Kind::Choice(_) | Kind::ChoicePattern(..) => {
            let name = format_ident!("{}", type_name(key.name));
            quote!(#name)
        }
    };
    let mut doc = sentence(key.doc);
    if let Some(default) = key.default {
        doc.push_str(&format!(" Default: `{default}`."));
    }
    quote!(#[doc = #doc] #vis #name: #kind)
}

/// The doc of a row as a sentence.
fn sentence(doc: &str) -> String {
    let (first, rest) = doc.split_at(1);
    format!("{}{rest}.", first.to_uppercase())
}
