//! The model's type and its compiled activation.
//!
//! The type has no values. It is the type parameter of everything that belongs to the model
//! (`Model<Gpt2>`, `Session<Gpt2>`, `Logits<Gpt2>`). Its activation is compiled in the user's
//! crate, so a closure of a spec runs at the speed of code written by hand.

use gpt_plan::{Activation, Plan};
use proc_macro2::TokenStream;
use quote::{format_ident, quote};

use crate::{Model, declaration, formula};

/// The type and its `impl Gpt`.
pub fn types(model: &Model, plan: &Plan) -> TokenStream {
    let Model { root, attrs, vis, ident, spec, .. } = model;
    let (vocab, embed) = (spec.vocab as usize, spec.embed as usize);
    let summary = format!(
        " {} parameters: {} layers of width {}, {} heads of {}, a vocabulary of {}, a context of {}.",
        grouped(plan.params()),
        spec.layers,
        spec.embed,
        spec.heads,
        spec.head_dim,
        spec.vocab,
        spec.context
    );
    let keys = format!(" ```text\n{}\n```", declaration(spec));
    let blank = (!attrs.is_empty()).then(|| quote!(#[doc = ""]));
    let Bodies { value, with_slopes } = Bodies::of(root, &spec.mlp.activation);
    quote! {
        #(#attrs)*
        #blank
        #[doc = #summary]
        ///
        /// Its keys, including inherited ones; keys at their defaults are left out:
        ///
        #[doc = #keys]
        ///
        /// The type has no values. [`load`](Self::load) and [`init`](Self::init) create a `Model`
        /// of this type.
        #[allow(dead_code)]
        #vis enum #ident {}

        impl #root::Gpt for #ident {
            type Logits = [f32; #vocab];
            type Hidden = [f32; #embed];

            fn plan() -> &'static #root::__private::plan::Plan {
                Self::PLAN
            }

            fn activation(values: &mut [f32]) {
                #value
            }

            fn activate(values: &mut [f32], slopes: &mut [f32]) {
                #with_slopes
            }
        }
    }
}

/// The bodies of the two functions of an activation.
struct Bodies {
    /// Replaces `values` by their activation.
    value: TokenStream,
    /// Replaces `values` by their activation and writes its derivative to `slopes`.
    with_slopes: TokenStream,
}

impl Bodies {
    fn of(root: &TokenStream, activation: &Activation) -> Bodies {
        let built_in = match activation {
            Activation::Gelu => "Gelu",
            Activation::GeluTanh => "GeluTanh",
            Activation::Relu => "Relu",
            Activation::Silu => "Silu",
            Activation::Custom { value, derivative, .. } => {
                let (value, derivative) = (formula::rust(value), formula::rust(derivative));
                return Bodies {
                    value: quote! {
                        for element in values {
                            let x: f32 = *element;
                            *element = { #value };
                        }
                    },
                    with_slopes: quote! {
                        for (element, slope) in ::core::iter::Iterator::zip(values.iter_mut(), slopes) {
                            let x: f32 = *element;
                            *slope = { #derivative };
                            *element = { #value };
                        }
                    },
                };
            }
        };
        let built_in = format_ident!("{built_in}");
        let built_in = quote!(&#root::__private::plan::Activation::#built_in);
        Bodies {
            value: quote!(#root::__private::cpu::activation::apply(#built_in, values);),
            with_slopes: quote! {
                #root::__private::cpu::activation::with_slopes(#built_in, values, slopes);
            },
        }
    }
}

/// Formats a number with commas: 124,439,808.
fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
