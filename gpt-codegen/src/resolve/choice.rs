//! Choices: variants with their fields, flags and activations. `spec` joins them and the sizes into
//! a spec.

use gpt_plan::{Activation, Block, Mask, Mlp, Norm, Positions, Spec};
use proc_macro2::Ident;
use syn::spanned::Spanned;
use syn::{Expr, Lit};

use super::eval::text_of;
use super::{Evaluator, Origin};
use crate::keys::{self, Key, Kind, Variant};
use crate::suggest::{closest, one_of};
use crate::{Diagnostic, activations, formula};

/// The whole spec; none if any key has an error. Every key is evaluated in either case.
pub fn spec(e: &mut Evaluator<'_>) -> Option<Spec> {
    let size = |e: &mut Evaluator<'_>, key: &str| e.size_key(key);
    let (vocab, context, layers) = (size(e, "vocab"), size(e, "context"), size(e, "layers"));
    let (heads, embed) = (size(e, "heads"), size(e, "embed"));
    let (kv_heads, head_dim) = (size(e, "kv_heads"), size(e, "head_dim"));
    let norm = norm(e);
    let block = chosen(e, "block").map(|c| {
        if c.name == "PreNorm" {
            Block::PreNorm
        } else {
            Block::PostNorm
        }
    });
    let mlp = mlp(e);
    let positions = positions(e);
    let mask = chosen(e, "mask").map(|c| {
        if c.name == "Causal" {
            Mask::Causal
        } else {
            Mask::Bidirectional
        }
    });
    let (bias, tie_embeddings) = (flag(e, "bias"), flag(e, "tie_embeddings"));
    let dropout = dropout(e);
    Some(Spec {
        vocab: vocab?,
        context: context?,
        layers: layers?,
        heads: heads?,
        kv_heads: kv_heads?,
        embed: embed?,
        head_dim: head_dim?,
        norm: norm?,
        block: block?,
        mlp: mlp?,
        positions: positions?,
        mask: mask?,
        bias: bias?,
        tie_embeddings: tie_embeddings?,
        dropout: dropout?,
    })
}

/// The chosen variant, and the expressions of its fields.
struct Chosen {
    name: &'static str,
    variant: &'static Variant,
    fields: Vec<(Ident, Expr)>,
}

impl Chosen {
    /// The expression of `field`, or its default.
    fn field(&self, e: &mut Evaluator<'_>, field: &str) -> Option<Expr> {
        if let Some((_, value)) = self.fields.iter().find(|(name, _)| name == field) {
            return Some(value.clone());
        }
        let key = self.variant.fields.iter().find(|f| f.name == field)?;
        if let Some(default) = key.default {
            return Some(syn::parse_str(default).expect("defaults are tested"));
        }
        let span = entry(e, &e.current.clone())?.span();
        let name = self.name;
        e.fail(span, |span| {
            Diagnostic::new(
                span,
                format!("`{name}` needs the field `{field}`: {}", key.doc),
            )
            .help(format!("write `{name} {{ {field}: .. }}`"))
        })
    }
}

fn entry(e: &Evaluator<'_>, key: &str) -> Option<Expr> {
    e.merged.entries.get(key).map(|entry| entry.value.clone())
}

/// The variant that `key` names. Reports an unknown variant and unknown or repeated fields.
fn chosen(e: &mut Evaluator<'_>, key: &'static str) -> Option<Chosen> {
    e.current = key.to_owned();
    let Some(Kind::Choice(variants)) = keys::find(key).map(|k| k.kind) else {
        unreachable!("{key} is a choice");
    };
    let value = entry(e, key)?;
    let (path, fields) = match &value {
        Expr::Path(path) => (&path.path, Vec::new()),
        Expr::Struct(literal) if literal.rest.is_none() && literal.dot2_token.is_none() => {
            let field = |f: &syn::FieldValue| match &f.member {
                syn::Member::Named(name) => Some((name.clone(), f.expr.clone())),
                syn::Member::Unnamed(_) => None,
            };
            (
                &literal.path,
                literal.fields.iter().filter_map(field).collect(),
            )
        }
        _ => return wrong_kind(e, &value, variants),
    };
    let Some(ident) = path.get_ident() else {
        return wrong_kind(e, &value, variants);
    };
    let name = ident.to_string();
    let Some(variant) = variants.iter().find(|v| v.name == name) else {
        let names = variants.iter().map(|v| v.name);
        let help = match closest(&name, names.clone()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("write {}", one_of(names)),
        };
        return e.fail(ident.span(), |span| {
            Diagnostic::new(span, format!("unknown value `{name}` of `{key}`")).help(help)
        });
    };
    let mut fine = true;
    for (i, (field, _)) in fields.iter().enumerate() {
        if !variant.fields.iter().any(|f| field == f.name) {
            fine = false;
            unknown_field(e, variant, field);
        } else if fields[..i].iter().any(|(earlier, _)| earlier == field) {
            fine = false;
            e.fail::<()>(field.span(), |span| {
                Diagnostic::new(span, format!("the field `{field}` is given twice"))
                    .help("remove one of them")
            });
        }
    }
    fine.then_some(Chosen {
        name: variant.name,
        variant,
        fields,
    })
}

fn unknown_field(e: &mut Evaluator<'_>, variant: &'static Variant, field: &Ident) {
    let name = field.to_string();
    let names: Vec<&str> = variant.fields.iter().map(|f: &Key| f.name).collect();
    let help = match (closest(&name, names.iter().copied()), names.is_empty()) {
        (Some(near), _) => format!("did you mean `{near}`?"),
        (None, true) => format!("`{}` has no fields", variant.name),
        (None, false) => format!("its fields are {}", one_of(names.iter().copied())),
    };
    e.fail::<()>(field.span(), |span| {
        Diagnostic::new(
            span,
            format!("unknown field `{name}` of `{}`", variant.name),
        )
        .help(help)
    });
}

fn wrong_kind<T>(e: &mut Evaluator<'_>, value: &Expr, variants: &'static [Variant]) -> Option<T> {
    let (key, found) = (e.current.clone(), text_of(value));
    e.fail(value.span(), |span| {
        Diagnostic::new(span, format!("`{key}` is a choice"))
            .found(format!("`{found}`"))
            .help(format!("write {}", one_of(variants.iter().map(|v| v.name))))
    })
}

fn norm(e: &mut Evaluator<'_>) -> Option<Norm> {
    let chosen = chosen(e, "norm")?;
    let eps = positive(e, &chosen, "eps")?;
    Some(if chosen.name == "LayerNorm" {
        Norm::LayerNorm { eps }
    } else {
        Norm::RmsNorm { eps }
    })
}

fn positions(e: &mut Evaluator<'_>) -> Option<Positions> {
    let chosen = chosen(e, "positions")?;
    Some(match chosen.name {
        "Learned" => Positions::Learned,
        "Sinusoidal" => Positions::Sinusoidal,
        _ => Positions::Rope {
            theta: positive(e, &chosen, "theta")?,
        },
    })
}

/// A field that has to be a positive number.
fn positive(e: &mut Evaluator<'_>, chosen: &Chosen, field: &str) -> Option<f64> {
    let value = chosen.field(e, field)?;
    let number = e.number(&value)?.float();
    if number > 0.0 && (number as f32).is_finite() && number as f32 > 0.0 {
        return Some(number);
    }
    e.fail(value.span(), |span| {
        Diagnostic::new(span, format!("`{field}` has to be positive"))
            .found(format!("{number:?}"))
            .help("it is a number above 0 that an f32 can hold")
    })
}

fn mlp(e: &mut Evaluator<'_>) -> Option<Mlp> {
    let chosen = chosen(e, "mlp")?;
    let hidden = chosen
        .field(e, "hidden")
        .and_then(|hidden| e.size(&hidden, "hidden"));
    e.current = "mlp".to_owned();
    let activation = chosen
        .field(e, "activation")
        .and_then(|a| activation(e, &a));
    Some(Mlp {
        gated: chosen.name == "Gated",
        hidden: hidden?,
        activation: activation?,
    })
}

fn activation(e: &mut Evaluator<'_>, value: &Expr) -> Option<Activation> {
    match value {
        // An invisible group: the value is an `expr` fragment of a `macro_rules!` macro.
        Expr::Group(group) => activation(e, &group.expr),
        Expr::Closure(closure) => match formula::parse(closure) {
            Ok(activation) => Some(activation),
            Err(errors) => {
                for error in errors {
                    e.fail::<()>(value.span(), |_| error);
                }
                None
            }
        },
        Expr::Path(path) if path.path.get_ident().is_some() => {
            let name = path.path.get_ident().expect("it is one").to_string();
            activations::find(&name).or_else(|| {
                let help = match closest(&name, activations::names()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!(
                        "write {}, or a closure such as `|x| x * tanh(x)`",
                        one_of(activations::names())
                    ),
                };
                e.fail(value.span(), |span| {
                    Diagnostic::new(span, format!("unknown activation `{name}`")).help(help)
                })
            })
        }
        _ => {
            let found = text_of(value);
            e.fail(value.span(), |span| {
                Diagnostic::new(span, "an activation was expected here")
                    .found(format!("`{found}`"))
                    .help(format!(
                        "write {}, or a closure such as `|x| x * tanh(x)`",
                        one_of(activations::names())
                    ))
            })
        }
    }
}

fn flag(e: &mut Evaluator<'_>, key: &'static str) -> Option<bool> {
    e.current = key.to_owned();
    let value = entry(e, key)?;
    if let Expr::Lit(lit) = &value
        && let Lit::Bool(flag) = &lit.lit
    {
        return Some(flag.value);
    }
    let found = text_of(&value);
    e.fail(value.span(), |span| {
        Diagnostic::new(span, format!("`{key}` is a yes or no"))
            .found(format!("`{found}`"))
            .help("write `true` or `false`")
    })
}

fn dropout(e: &mut Evaluator<'_>) -> Option<f64> {
    e.current = "dropout".to_owned();
    let value = entry(e, "dropout")?;
    let number = e.number(&value)?.float();
    if (0.0..1.0).contains(&number) {
        return Some(number);
    }
    debug_assert!(e.merged.entries["dropout"].origin != Origin::Default);
    e.fail(value.span(), |span| {
        Diagnostic::new(span, "`dropout` is a probability")
            .found(format!("{number:?}"))
            .help("it is at least 0 and below 1")
    })
}
