//! Typed handles to a model's parameters: an associated constant for each trained tensor.

use gpt_plan::{Component, Place, Plan, Role};
use proc_macro2::TokenStream;
use quote::{format_ident, quote};

use super::literal;
use crate::Model;

/// The constants, and an item that uses them, because `rustc` evaluates an associated constant only
/// where it is used. The module `plan` and the static `PLAN` have to be in scope.
pub fn parameters(model: &Model, plan: &Plan) -> TokenStream {
    let Model { root, ident, vis, .. } = model;
    let trained = plan.tensors.iter().filter(|t| !t.sources.is_empty());
    let (constants, names): (Vec<_>, Vec<_>) = trained
        .map(|tensor| {
            let name = format_ident!("{}", name(tensor.role, tensor.component));
            let (rows, columns) = (tensor.rows as usize, tensor.columns as usize);
            let kind = match tensor.place {
                Place::Model => quote!(Parameter),
                Place::Layers { .. } => quote!(LayerParameter),
            };
            let role = literal::tokens(&tensor.role);
            let component = literal::tokens(&tensor.component);
            let doc = format!(
                " {}: `{}`, `[{rows}, {columns}]`.",
                description(tensor.role, tensor.component),
                tensor.name
            );
            let constant = quote! {
                #[doc = #doc]
                #vis const #name: #root::#kind<Self, #rows, #columns> =
                    #root::#kind::new(&PLAN, #role, #component);
            };
            (constant, name)
        })
        .unzip();
    quote! {
        #[allow(dead_code)]
        impl #ident {
            #(#constants)*
        }
        const _: () = {
            #(let _ = #ident::#names;)*
        };
    }
}

/// The documentation of a tensor's constant.
fn description(role: Role, component: Component) -> String {
    let (place, is_norm) = match role {
        Role::TokenEmbedding => return "The embedding: a row for each token".to_owned(),
        Role::Positions => return "The learned positions: a row for each position".to_owned(),
        Role::TokenTypes => return "The embedding of token types: a row for each type".to_owned(),
        Role::EmbeddingNorm => ("the norm of the embedding", true),
        Role::AttentionNorm => ("the norm through which the attention reads the stream", true),
        Role::Qkv => ("the projection to queries, keys and values", false),
        Role::QkNorm => ("the norm of queries and keys (first for queries, then for keys)", true),
        Role::AttentionOut => ("the projection from the attention to the stream", false),
        Role::AttentionBranchNorm => ("the norm of the attention's output", true),
        Role::MlpNorm => ("the norm through which the MLP reads the stream", true),
        Role::MlpUp => ("the first projection of the MLP", false),
        Role::MlpDown => ("the second projection of the MLP", false),
        Role::MlpBranchNorm => ("the norm of the MLP's output", true),
        Role::FinalNorm => ("the norm through which the head reads the stream", true),
        Role::HeadDense => ("the dense layer of the head", false),
        Role::HeadNorm => ("the norm after the dense layer of the head", true),
        Role::Head => ("the head, which computes logits", false),
    };
    let part = match (component, is_norm) {
        (Component::Weight, true) => "Scale",
        (Component::Bias, true) => "Shift",
        (Component::Weight, false) => "Matrix",
        (Component::Bias, false) => "Bias",
    };
    format!("{part} of {place}")
}

/// The name of the constant: `MLP_UP`, `MLP_UP_BIAS`, `MLP_NORM_GAMMA`.
fn name(role: Role, component: Component) -> String {
    let (place, weight, bias) = match role {
        Role::TokenEmbedding => ("TOKEN_EMBEDDING", "", ""),
        Role::Positions => ("POSITIONS", "", ""),
        Role::TokenTypes => ("TOKEN_TYPES", "", ""),
        Role::EmbeddingNorm => ("EMBEDDING_NORM", "_GAMMA", "_BETA"),
        Role::AttentionNorm => ("ATTENTION_NORM", "_GAMMA", "_BETA"),
        Role::Qkv => ("QKV", "", "_BIAS"),
        Role::QkNorm => ("QK_NORM", "_GAMMA", "_BETA"),
        Role::AttentionOut => ("ATTENTION_OUT", "", "_BIAS"),
        Role::AttentionBranchNorm => ("ATTENTION_BRANCH_NORM", "_GAMMA", "_BETA"),
        Role::MlpNorm => ("MLP_NORM", "_GAMMA", "_BETA"),
        Role::MlpUp => ("MLP_UP", "", "_BIAS"),
        Role::MlpDown => ("MLP_DOWN", "", "_BIAS"),
        Role::MlpBranchNorm => ("MLP_BRANCH_NORM", "_GAMMA", "_BETA"),
        Role::FinalNorm => ("FINAL_NORM", "_GAMMA", "_BETA"),
        Role::HeadDense => ("HEAD_DENSE", "", "_BIAS"),
        Role::HeadNorm => ("HEAD_NORM", "_GAMMA", "_BETA"),
        Role::Head => ("HEAD", "", "_BIAS"),
    };
    let suffix = match component {
        Component::Weight => weight,
        Component::Bias => bias,
    };
    format!("{place}{suffix}")
}
