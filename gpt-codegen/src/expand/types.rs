//! The typed face: parameters whose types hold their widths, and the forward pass as one call a step.
//!
//! What is written here is checked by rustc against the methods of `gpt_runtime::cpu::Pass`: a step that got a matrix of
//! another shape would not compile.

use gpt_plan::{Activation, Block, Norm, Plan, Positions};
use proc_macro2::{Ident, Literal, TokenStream};
use quote::{format_ident, quote};

use crate::{Model, formula};

/// Widths as literals of the generated types.
struct Widths {
    vocab: Literal,
    context: Literal,
    embed: Literal,
    q: Literal,
    kv: Literal,
    hidden: Literal,
}

impl Widths {
    fn new(model: &Model) -> Widths {
        let spec = &model.spec;
        Widths {
            vocab: Literal::u32_unsuffixed(spec.vocab),
            context: Literal::u32_unsuffixed(spec.context),
            embed: Literal::u32_unsuffixed(spec.embed),
            q: Literal::u32_unsuffixed(spec.q_width()),
            kv: Literal::u32_unsuffixed(spec.kv_width()),
            hidden: Literal::u32_unsuffixed(spec.mlp.hidden),
        }
    }
}

fn block_ident(model: &Model) -> Ident {
    format_ident!("{}Block", model.ident, span = model.ident.span())
}

fn buffers_ident(model: &Model) -> Ident {
    format_ident!("{}Buffers", model.ident, span = model.ident.span())
}

fn norm_type(model: &Model, w: &Widths) -> TokenStream {
    let embed = &w.embed;
    match model.spec.norm {
        Norm::LayerNorm { .. } => quote!(::gpt_runtime::cpu::LayerNorm<#embed>),
        Norm::RmsNorm { .. } => quote!(::gpt_runtime::cpu::RmsNorm<#embed>),
    }
}

/// The structs of parameters and buffers.
pub fn types(model: &Model, plan: &Plan) -> TokenStream {
    let w = Widths::new(model);
    let Widths {
        vocab,
        context,
        embed,
        q,
        kv,
        hidden,
    } = &w;
    let Model {
        attrs,
        vis,
        ident,
        spec,
        ..
    } = model;
    let (block, buffers) = (block_ident(model), buffers_ident(model));
    let norm = norm_type(model, &w);
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
    let blank = (!attrs.is_empty()).then(|| quote!(#[doc = ""]));
    let positions = (!spec.rotary()).then(|| {
        quote! {
            /// A vector for each position.
            pub positions: ::gpt_runtime::cpu::PositionTable<#context, #embed>,
        }
    });
    let head = (!spec.tie_embeddings).then(|| {
        quote! {
            /// From the residual stream to logits.
            pub head: ::gpt_runtime::cpu::Embedding<#vocab, #embed>,
        }
    });
    let attn_norm = match spec.block {
        Block::PreNorm => quote! {
            /// Before the attention.
            pub attn_norm: #norm,
        },
        Block::PostNorm => quote! {
            /// After the block before; the first block reads the embedding as it is.
            pub attn_norm: ::core::option::Option<#norm>,
        },
    };
    let up = if spec.mlp.gated {
        quote!(GatedLinear)
    } else {
        quote!(Linear)
    };
    let block_doc = format!(" One transformer block of [`{ident}`].");
    let buffers_doc = format!(" Activations and cache of one session of [`{ident}`].");
    quote! {
        #(#attrs)*
        #blank
        #[doc = #summary]
        #vis struct #ident {
            /// A vector for each token.
            pub token_embedding: ::gpt_runtime::cpu::Embedding<#vocab, #embed>,
            #positions
            /// The transformer blocks, first to last.
            pub blocks: ::std::vec::Vec<#block>,
            /// Before the head.
            pub final_norm: #norm,
            #head
        }

        #[doc = #block_doc]
        #vis struct #block {
            #attn_norm
            /// To queries, keys and values.
            pub attn_qkv: ::gpt_runtime::cpu::QkvLinear<#embed, #q, #kv>,
            /// From the heads back to the residual stream.
            pub attn_out: ::gpt_runtime::cpu::Linear<#q, #embed>,
            /// Before the MLP.
            pub mlp_norm: #norm,
            /// The MLP's first projection.
            pub mlp_up: ::gpt_runtime::cpu::#up<#embed, #hidden>,
            /// The MLP's second projection.
            pub mlp_down: ::gpt_runtime::cpu::Linear<#hidden, #embed>,
        }

        #[doc = #buffers_doc]
        #vis struct #buffers {
            /// The residual stream.
            pub x: ::gpt_runtime::cpu::Rows<#embed>,
            /// Queries.
            pub q: ::gpt_runtime::cpu::Rows<#q>,
            /// What attention gathered.
            pub a: ::gpt_runtime::cpu::Rows<#q>,
            /// Between the two projections of an MLP.
            pub h: ::gpt_runtime::cpu::Rows<#hidden>,
            /// Keys and values of each layer.
            pub cache: ::std::vec::Vec<::gpt_runtime::cpu::LayerCache<#kv>>,
        }
    }
}

/// The model's `impl Gpt`.
pub fn face(model: &Model, _plan: &Plan) -> TokenStream {
    let w = Widths::new(model);
    let Model { ident, spec, .. } = model;
    let (block, buffers) = (block_ident(model), buffers_ident(model));
    let (embed, context) = (&w.embed, &w.context);
    let post = spec.block == Block::PostNorm;
    let gated = spec.mlp.gated;
    let load_attn_norm = if post {
        quote!(if layer == 0 {
            ::core::option::Option::None
        } else {
            ::core::option::Option::Some(store.norm("attn_norm")?)
        })
    } else {
        quote!(store.norm("attn_norm")?)
    };
    let load_up = if gated { quote!(gated) } else { quote!(linear) };
    let load_positions =
        (!spec.rotary()).then(|| quote!(positions: store.positions("positions")?,));
    let load_head = (!spec.tie_embeddings).then(|| quote!(head: store.embedding("head.weight")?,));
    let positions = match spec.positions {
        Positions::Rope { .. } => {
            quote!(::core::option::Option::<&::gpt_runtime::cpu::PositionTable<#context, #embed>>::None)
        }
        _ => quote!(::core::option::Option::Some(&self.positions)),
    };
    let attn_norm = if post {
        quote!(block.attn_norm.as_ref())
    } else {
        quote!(::core::option::Option::Some(&block.attn_norm))
    };
    // In a post-norm block the residual is what the norm shows.
    let none = {
        let norm = norm_type(model, &w);
        quote!(::core::option::Option::<&#norm>::None)
    };
    let first_residual = if post {
        attn_norm.clone()
    } else {
        none.clone()
    };
    let second_residual = if post {
        quote!(::core::option::Option::Some(&block.mlp_norm))
    } else {
        none
    };
    let head = if spec.tie_embeddings {
        quote!(&self.token_embedding)
    } else {
        quote!(&self.head)
    };
    let mlp_up = if gated {
        quote!(mlp_up_gated)
    } else {
        quote!(mlp_up)
    };
    let (activation, custom) = activation(&spec.mlp.activation);
    let activate = activate(&spec.mlp.activation);
    quote! {
        impl ::gpt_runtime::Gpt for #ident {
            type Buffers = #buffers;

            fn plan() -> &'static ::gpt_runtime::plan::Plan {
                Self::PLAN
            }

            fn parameters(store: &mut ::gpt_runtime::cpu::Store<'_>) -> ::core::result::Result<Self, ::gpt_runtime::Error> {
                let block = |layer: usize| -> ::core::result::Result<#block, ::gpt_runtime::Error> {
                    let store = store.layer(layer);
                    ::core::result::Result::Ok(#block {
                        attn_norm: #load_attn_norm,
                        attn_qkv: store.qkv("attn.qkv")?,
                        attn_out: store.linear("attn.out")?,
                        mlp_norm: store.norm("mlp_norm")?,
                        mlp_up: store.#load_up("mlp.up")?,
                        mlp_down: store.linear("mlp.down")?,
                    })
                };
                ::core::result::Result::Ok(#ident {
                    token_embedding: store.embedding("token_embedding")?,
                    #load_positions
                    blocks: (0..Self::LAYERS).map(block).collect::<::core::result::Result<_, _>>()?,
                    final_norm: store.norm("final_norm")?,
                    #load_head
                })
            }

            fn buffers(store: &::gpt_runtime::cpu::BufferStore) -> ::core::result::Result<#buffers, ::gpt_runtime::Error> {
                ::core::result::Result::Ok(#buffers {
                    x: store.chunk(), q: store.chunk(), a: store.chunk(), h: store.chunk(), cache: store.cache()?,
                })
            }

            fn forward(&self, b: &mut #buffers, pass: &mut ::gpt_runtime::cpu::Pass<'_>) {
                #custom
                pass.embed(&self.token_embedding, #positions, &mut b.x);
                for (layer, block) in self.blocks.iter().enumerate() {
                    pass.qkv(&b.x, #attn_norm, &block.attn_qkv, &mut b.q, &mut b.cache[layer]);
                    pass.attention(&b.q, &b.cache[layer], &mut b.a);
                    pass.attention_out(&b.a, &block.attn_out, #first_residual, &mut b.x);
                    pass.#mlp_up(&b.x, ::core::option::Option::Some(&block.mlp_norm), &block.mlp_up, #activation, &mut b.h);
                    pass.mlp_down(&b.h, &block.mlp_down, #second_residual, &mut b.x);
                }
                pass.head(&b.x, ::core::option::Option::Some(&self.final_norm), #head);
            }

            fn activate(values: &mut [f32], slopes: &mut [f32]) {
                #activate
            }
        }
    }
}

/// The activation's function, and its definition if it is the user's.
fn activation(activation: &Activation) -> (TokenStream, TokenStream) {
    let built_in = |name: &str| {
        let name = format_ident!("{name}");
        (
            quote!(::gpt_runtime::cpu::activation::#name),
            TokenStream::new(),
        )
    };
    match activation {
        Activation::Gelu => built_in("gelu"),
        Activation::GeluTanh => built_in("gelu_tanh"),
        Activation::Relu => built_in("relu"),
        Activation::Silu => built_in("silu"),
        Activation::Custom { value, .. } => {
            let body = formula::rust(value);
            let function = quote! {
                fn activation(row: &mut [f32]) {
                    for element in row {
                        let x: f32 = *element;
                        *element = { #body };
                    }
                }
            };
            (quote!(activation), function)
        }
    }
}

/// The body of `activate`: the activation of `values`, in place, and its derivative there.
fn activate(activation: &Activation) -> TokenStream {
    let built_in = match activation {
        Activation::Gelu => "Gelu",
        Activation::GeluTanh => "GeluTanh",
        Activation::Relu => "Relu",
        Activation::Silu => "Silu",
        Activation::Custom { value, derivative } => {
            let (value, derivative) = (formula::rust(value), formula::rust(derivative));
            return quote! {
                for (element, slope) in values.iter_mut().zip(slopes) {
                    let x: f32 = *element;
                    *slope = { #derivative };
                    *element = { #value };
                }
            };
        }
    };
    let built_in = format_ident!("{built_in}");
    quote! {
        ::gpt_runtime::cpu::activation::with_slopes(&::gpt_runtime::plan::Activation::#built_in, values, slopes);
    }
}

/// A number with commas: 124,439,808.
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
