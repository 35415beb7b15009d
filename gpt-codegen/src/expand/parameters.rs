//! Typed handles to a model's parameters: an associated constant for each trained tensor.

use gpt_plan::{Component, Init, Place, Plan, Role, Tensor, TensorKind};
use proc_macro2::TokenStream;
use quote::{format_ident, quote};

use super::literal;

/// The constants of the model `ident`, and an item that uses them, because `rustc` evaluates an
/// associated constant only where it is used. The module `plan` and the static `PLAN` have to be in
/// scope.
pub fn parameters<'a>(
    root: &TokenStream,
    vis: &syn::Visibility,
    ident: &syn::Ident,
    tensors: impl Iterator<Item = &'a Tensor>,
) -> TokenStream {
    let (constants, names): (Vec<_>, Vec<_>) = tensors
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

/// The tensors of a model that have constants: those that are trained.
pub fn trained(plan: &Plan) -> impl Iterator<Item = &Tensor> {
    plan.tensors.iter().filter(|tensor| !tensor.sources.is_empty())
}

/// A tensor of one element for every constant that a model can have, for the plan of a stand-in.
pub fn stand_ins() -> Vec<Tensor> {
    let mut tensors: Vec<Tensor> = Vec::new();
    for role in Role::ALL {
        for component in [Component::Weight, Component::Bias] {
            let name = name(role, component);
            // A table has no bias.
            if tensors.iter().any(|tensor| tensor.name == name) {
                continue;
            }
            let place = match role.is_of_layers() {
                true => Place::Layers { first: 0 },
                false => Place::Model,
            };
            tensors.push(Tensor {
                role,
                component,
                name: name.into(),
                place,
                kind: TensorKind::Vector,
                rows: 1,
                columns: 1,
                init: Init::Zeros,
                sources: Vec::new().into(),
            });
        }
    }
    tensors
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Every parameter of a model is one of the stand-ins, in the same place. The specs have every
    /// role.
    #[test]
    fn a_stand_in_has_the_constants_of_every_model() {
        let key = |tensor: &Tensor| {
            let is_layered = matches!(tensor.place, Place::Layers { .. });
            (name(tensor.role, tensor.component), is_layered)
        };
        let known: Vec<_> = stand_ins().iter().map(key).collect();
        let mut roles = Vec::new();
        for body in [
            "..GPT2_SMALL",
            "block: PostNorm, ..GPT2_SMALL",
            "block: Sandwich, qk_norm: LayerNorm { over: EachHead }, embedding_norm: true,
             token_types: 2, head_dense: true, tie_embeddings: false, head_bias: true, ..GPT2_SMALL",
        ] {
            let spec = crate::spec(body).unwrap_or_else(|errors| panic!("{}", errors[0]));
            let plan = crate::plan::plan("Some", &spec);
            for tensor in trained(&plan) {
                assert!(known.contains(&key(tensor)), "{}", tensor.name);
                roles.push(tensor.role);
            }
        }
        for role in Role::ALL {
            assert!(roles.contains(&role), "{role:?}");
        }
    }
}
