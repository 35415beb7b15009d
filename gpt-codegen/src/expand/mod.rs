//! Generates the Rust of a model: its type, its constants, its plan.
//!
//! `literal` writes the plan as an expression, `types` the model's type and its compiled
//! activation, `parameters` the handles to its parameters. This file combines them, and writes a
//! stand-in for a model that has errors.
//!
//! Paths begin at `root`, the path of `gpt-runtime` in the user's crate, which may have renamed it.

mod literal;
mod parameters;
mod spec_docs;
mod types;

pub use spec_docs::spec_docs;

use std::collections::HashSet;
use std::path::Path;

use gpt_plan::{Plan, SamplingOp, Spec, Training};
use proc_macro2::TokenStream;
use quote::{format_ident, quote};

use crate::diagnostic::compile_errors;
use crate::keys::{self, Kind};
use crate::parse::{Base, Declared, Field};
use crate::{Diagnostic, Model, wgsl};

/// All items of `model`. Validates its shaders, except those in `validated`, which earlier models
/// share.
pub fn model(
    model: &Model,
    validated: &mut HashSet<String>,
) -> Result<TokenStream, Vec<Diagnostic>> {
    let plan = crate::plan::plan(&model.ident.to_string(), &model.spec);
    let invalid: Vec<Diagnostic> = wgsl::validate_plan(&plan, validated)
        .into_iter()
        .map(|error| {
            Diagnostic::new(model.ident.span(), error)
                .note("this is a bug in gpt_model!, not in the spec; please report it")
        })
        .collect();
    if !invalid.is_empty() {
        return Err(invalid);
    }
    let Model { root, ident, vis, echo, .. } = model;
    let types = types::types(model, &plan);
    let constants = constants(model, &plan);
    let parameters = parameters::parameters(root, vis, ident, parameters::trained(&plan));
    let value = literal::tokens(&plan);
    let (trained, layers) = (plan.trained_total(), plan.spec.layers);
    Ok(quote! {
        #types
        #constants
        const _: () = {
            use #root::__private::plan;

            static PLAN: plan::Plan = #value;
            const _: () = plan::validate(&PLAN);

            #[allow(dead_code)]
            impl #ident {
                /// The plan of this model: its tensors, buffers, kernels and steps.
                #vis const PLAN: &'static plan::Plan = &PLAN;
                /// The kernels of inference, without their variants.
                #vis const KERNELS: &'static [plan::Kernel] = plan::elements(&PLAN.kernels);
                /// The kernels of training, without their variants.
                #vis const TRAINING_KERNELS: &'static [plan::Kernel] =
                    plan::elements(&PLAN.training.kernels);

                /// Bytes that training takes, by purpose, with batches of `batch` sequences of
                /// `tokens` tokens. They are the same on every device.
                #vis const fn train_bytes(batch: u32, tokens: u32) -> plan::TrainBytes {
                    Self::train_bytes_with(batch, tokens, plan::Recompute::Nothing)
                }

                /// Like [`train_bytes`](Self::train_bytes), with recomputation in the backward
                /// pass.
                #vis const fn train_bytes_with(
                    batch: u32,
                    tokens: u32,
                    recompute: plan::Recompute,
                ) -> plan::TrainBytes {
                    let shape = plan::TrainShape { batch, tokens, recompute };
                    let buffers = plan::elements(&PLAN.training.buffers);
                    plan::TrainBytes::of(#trained, #layers, buffers, &shape)
                }
            }

            #parameters
        };
        #echo
    })
}

/// The sizes of a model: the name of a constant, its value and its documentation.
fn sizes(spec: &Spec) -> [(&'static str, u32, &'static str); 8] {
    [
        ("VOCAB", spec.vocab, "Number of tokens in the vocabulary."),
        ("CONTEXT", spec.context, "Longest sequence, in tokens."),
        ("LAYERS", spec.layers, "Number of transformer blocks."),
        ("HEADS", spec.heads, "Query heads in each layer."),
        ("KV_HEADS", spec.kv_heads, "Key and value heads in each layer."),
        ("EMBED", spec.embed, "Width of the residual stream."),
        ("HEAD_DIM", spec.head_dim, "Width of one head."),
        ("HIDDEN", spec.mlp.hidden, "Width between the two projections of an MLP."),
    ]
}

/// The constructors of a model, its sizes and its costs. Within an impl, rustdoc lists constants
/// before functions, so the constructors have a separate impl. rustdoc keeps the order of impls, so
/// these two come before the impl of the plan.
fn constants(model: &Model, plan: &gpt_plan::Plan) -> TokenStream {
    let Model { root, ident, vis, spec, .. } = model;
    let sizes = sizes(spec).map(|(name, value, doc)| {
        let (name, value) = (format_ident!("{name}"), value as usize);
        quote!(#[doc = #doc] #vis const #name: usize = #value;)
    });
    let (params, flops) = (plan.params(), plan.flops_per_token());
    let kv = spec.kv_bytes_per_token();
    let decode = plan.dispatches(gpt_plan::Phase::Decode);
    let prefill = plan.dispatches(gpt_plan::Phase::Prefill);
    let constructors = constructors(root, vis);
    quote! {
        #[allow(dead_code)]
        impl #ident {
            #constructors
        }

        #[allow(dead_code)]
        impl #ident {
            #(#sizes)*
            /// Number of trainable parameters.
            #vis const PARAMS: u64 = #params;
            /// Floating-point operations of one token's forward pass with an empty cache.
            #vis const FLOPS_PER_TOKEN: u64 = #flops;
            /// Bytes of key/value cache that each position takes in f32.
            #vis const KV_BYTES_PER_TOKEN: u64 = #kv;
            /// GPU dispatches that decode one token.
            #vis const DECODE_DISPATCHES: u32 = #decode;
            /// GPU dispatches that a chunk of a prompt takes.
            #vis const PREFILL_DISPATCHES: u32 = #prefill;
        }
    }
}

/// `load` and `init` of a model's type.
fn constructors(root: &TokenStream, vis: &syn::Visibility) -> TokenStream {
    quote! {
        /// Loads weights from safetensors (a file, a sharded model's index, or a folder) or
        /// GGUF.
        ///
        /// # Errors
        /// Fails if a file cannot be read, or if the weights do not fit this model; one message
        /// lists all differences.
        #vis fn load(
            path: impl ::core::convert::AsRef<::std::path::Path>,
            device: &#root::Device,
        ) -> ::core::result::Result<#root::Model<Self>, #root::Error> {
            #root::Model::load(path, device)
        }

        /// Random initial weights. A seed gives the same weights on every device.
        ///
        /// # Errors
        /// Fails if the device has too little memory, or is lost.
        #vis fn init(
            device: &#root::Device,
            seed: u64,
        ) -> ::core::result::Result<#root::Model<Self>, #root::Error> {
            #root::Model::init(device, seed)
        }
    }
}

/// The errors of a model, and a type with its name and with the functions and constants of a model,
/// so that code that uses the type causes no further errors.
pub fn failed(root: &TokenStream, declared: &Declared, errors: &[Diagnostic]) -> TokenStream {
    let Declared { vis, ident, .. } = declared;
    let errors = compile_errors(errors);
    let echo = echo(root, declared);
    let constructors = constructors(root, vis);
    let sizes = sizes(&Spec::default()).map(|(name, ..)| format_ident!("{name}"));
    let plan = stand_in(&ident.to_string());
    let parameters = parameters::parameters(root, vis, ident, plan.tensors.iter());
    let plan = literal::tokens(&plan);
    quote! {
        #errors
        #vis struct #ident { broken: ::core::convert::Infallible }
        impl #root::Gpt for #ident {
            type Logits = [f32; 1];
            type Hidden = [f32; 1];
            fn plan() -> &'static #root::__private::plan::Plan { Self::PLAN }
            fn activation(_: &mut [f32]) {}
            fn activate(_: &mut [f32], _: &mut [f32]) {}
        }
        const _: () = {
            use #root::__private::plan;

            static PLAN: plan::Plan = #plan;

            #[allow(dead_code, missing_docs)]
            impl #ident {
                #vis const PLAN: &'static plan::Plan = &PLAN;
            }

            #parameters
        };
        #[allow(dead_code, missing_docs)]
        impl #ident {
            #constructors
            #(#vis const #sizes: usize = 1;)*
            #vis const PARAMS: u64 = 1;
            #vis const FLOPS_PER_TOKEN: u64 = 1;
            #vis const KV_BYTES_PER_TOKEN: u64 = 1;
            #vis const DECODE_DISPATCHES: u32 = 1;
            #vis const PREFILL_DISPATCHES: u32 = 1;
            #vis const KERNELS: &'static [#root::__private::plan::Kernel] = &[];
            #vis const TRAINING_KERNELS: &'static [#root::__private::plan::Kernel] = &[];
            #vis const fn train_bytes(_: u32, _: u32) -> #root::__private::plan::TrainBytes {
                ::core::unreachable!()
            }
            #vis const fn train_bytes_with(
                _: u32,
                _: u32,
                _: #root::__private::plan::Recompute,
            ) -> #root::__private::plan::TrainBytes {
                ::core::unreachable!()
            }
        }
        #echo
    }
}

/// A plan without steps and kernels, which no program runs. It has a tensor for every parameter,
/// and so many layers that each layer a program names is one of them.
fn stand_in(name: &str) -> Plan {
    let training = Training {
        buffers: Vec::new().into(),
        forward: Vec::new().into(),
        loss: Vec::new().into(),
        backward: Vec::new().into(),
        kernels: Vec::new().into(),
        in_f16: Vec::new().into(),
    };
    Plan {
        name: name.to_owned().into(),
        spec: Spec { layers: u32::MAX, ..Spec::default() },
        tensors: parameters::stand_ins().into(),
        buffers: Vec::new().into(),
        kernels: Vec::new().into(),
        sections: Vec::new().into(),
        split_attention: None,
        sampling: [0; SamplingOp::ALL.len()],
        training,
    }
}

/// If the base of the declaration is a file, adds an `include_bytes!` of the file to `items`, so
/// that cargo compiles the crate again when the file changes. The compiler drops the bytes.
pub fn with_file(declared: &Declared, items: TokenStream) -> TokenStream {
    let Some(Base::Config(_, path)) = &declared.base else { return items };
    let path = match Path::new(&path.value()).is_absolute() {
        true => quote!(#path),
        false => quote!(::core::concat!(::core::env!("CARGO_MANIFEST_DIR"), "/", #path)),
    };
    quote! {
        #items
        const _: &[u8] = ::core::include_bytes!(#path);
    }
}

/// The spec as a struct literal with the user's own key tokens. An editor that shows or completes a
/// key finds the documented field of [`spec_docs`]. The code never runs.
pub fn echo(root: &TokenStream, declared: &Declared) -> TokenStream {
    let mut seen = Vec::new();
    let known = declared.fields.iter().filter(|field| {
        let name = field.key.to_string();
        let first = !seen.contains(&name);
        seen.push(name.clone());
        first && keys::find(&name).is_some()
    });
    let fields = known.map(|field| {
        let key = &field.key;
        let value = echo_value(field);
        quote!(#key: #value)
    });
    quote! {
        #[doc(hidden)]
        const _: fn() = || {
            use #root::__private::spec_docs;
            let _ = spec_docs::Spec { #(#fields,)* ..spec_docs::any() };
        };
    }
}

/// The variant that the user names, if it exists. All other values, including those of its fields,
/// are `any()`.
fn echo_value(field: &Field) -> TokenStream {
    let any = quote!(spec_docs::any());
    let kind = keys::find(&field.key.to_string()).map(|k| k.kind);
    let Some(Kind::Choice(variants) | Kind::ChoicePattern(_, variants)) = kind else {
        return any;
    };
    let (path, fields) = match &field.value {
        syn::Expr::Struct(literal) => (&literal.path, literal.fields.iter().collect::<Vec<_>>()),
        syn::Expr::Path(path) => (&path.path, Vec::new()),
        _ => return any,
    };
    let Some(ident) = path.get_ident() else {
        return any;
    };
    let Some(variant) = variants.iter().find(|v| ident == v.name) else {
        return any;
    };
    let mut names: Vec<&syn::Ident> = Vec::new();
    for field in fields {
        if let syn::Member::Named(name) = &field.member
            && variant.fields.iter().any(|f| name == f.name)
            && !names.contains(&name)
        {
            names.push(name);
        }
    }
    let kind = format_ident!("{}", crate::keys::type_name(&field.key.to_string()));
    let given: Vec<String> = names.iter().map(ToString::to_string).collect();
    let rest = variant
        .fields
        .iter()
        .filter(|f| !given.iter().any(|g| g == f.name))
        .map(|f| format_ident!("{}", f.name));
    let all: Vec<TokenStream> =
        names.iter().map(|n| quote!(#n: #any)).chain(rest.map(|n| quote!(#n: #any))).collect();
    if variant.fields.is_empty() {
        quote!(spec_docs::#kind::#ident)
    } else {
        quote!(spec_docs::#kind::#ident { #(#all),* })
    }
}
