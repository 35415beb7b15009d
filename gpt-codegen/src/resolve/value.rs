//! Values of keys: each is evaluated by its kind and stored in the field of its row.
//!
//! Nothing here knows a key by name; [`keys`](crate::keys) has them all. `eval` evaluates the
//! expressions of numbers.

use gpt_plan::{Activation, Pattern, Spec};
use proc_macro2::Ident;
use syn::spanned::Spanned;
use syn::{Expr, Lit};

use super::Evaluator;
use super::eval::text_of;
use crate::keys::{self, KEYS, Key, Kind, Range, Variant};
use crate::suggest::{closest, one_of};
use crate::{Diagnostic, activations, formula};

/// The whole spec; none if any key has an error. Every key is evaluated in either case.
pub fn spec(e: &mut Evaluator<'_>) -> Option<Spec> {
    let mut spec = Spec::default();
    let mut complete = true;
    for key in &KEYS {
        complete &= set(e, key, &mut spec).is_some();
    }
    complete.then_some(spec)
}

/// Evaluates `key` and sets its field.
fn set(e: &mut Evaluator<'_>, key: &'static Key, spec: &mut Spec) -> Option<()> {
    e.current = key.name.to_owned();
    if let Kind::Size(field) = key.kind {
        // Other sizes may mention it, so it is evaluated once and remembered.
        *field(spec) = e.size_key(key.name)?;
        return Some(());
    }
    let value = entry(e, key.name)?;
    store(e, key, &value, spec)
}

/// Evaluates `value` by the kind of `key`, a key or a field of a variant, and stores it.
fn store(e: &mut Evaluator<'_>, key: &Key, value: &Expr, spec: &mut Spec) -> Option<()> {
    match key.kind {
        Kind::Size(field) => *field(spec) = e.size(value, key.name)?,
        Kind::OptionalSize(field) => {
            *field(spec) = match is_none(value) {
                true => None,
                false => Some(e.size(value, key.name)?),
            }
        }
        Kind::Number(range, field) => *field(spec) = number(e, key.name, range, value)?,
        Kind::OptionalNumber(range, field) => {
            *field(spec) = match is_none(value) {
                true => None,
                false => Some(number(e, key.name, range, value)?),
            }
        }
        Kind::Flag(field) => *field(spec) = flag(e, key.name, value)?,
        Kind::OptionalFlag(field) => {
            *field(spec) = match is_none(value) {
                true => None,
                false => Some(flag(e, key.name, value)?),
            }
        }
        Kind::Activation(field) => *field(spec) = activation(e, value)?,
        Kind::NumberPattern(range, field) => {
            let values = elements(value).into_iter().map(|value| match is_none(value) {
                true => Some(None),
                false => number(e, key.name, range, value).map(Some),
            });
            let values: Vec<Option<Option<f64>>> = values.collect();
            *field(spec) = Pattern(values.into_iter().collect::<Option<Vec<_>>>()?.into());
        }
        Kind::SizePattern(field) => {
            let values = elements(value).into_iter().map(|value| match is_none(value) {
                true => Some(None),
                false => e.size(value, key.name).map(Some),
            });
            let values: Vec<Option<Option<u32>>> = values.collect();
            *field(spec) = Pattern(values.into_iter().collect::<Option<Vec<_>>>()?.into());
        }
        Kind::ChoicePattern(remove_last, variants) => {
            while remove_last(spec) {}
            let mut complete = true;
            for value in elements(value) {
                complete &= choose(e, key, variants, value, spec).is_some();
            }
            return complete.then_some(());
        }
        Kind::Choice(variants) => return choose(e, key, variants, value, spec),
    }
    Some(())
}

/// Sets the variant that `value` names, and its fields.
fn choose(
    e: &mut Evaluator<'_>,
    key: &Key,
    variants: &'static [Variant],
    value: &Expr,
    spec: &mut Spec,
) -> Option<()> {
    let chosen = chosen(e, key.name, value, variants)?;
    (chosen.variant.choose)(spec);
    let mut complete = true;
    for field in chosen.variant.fields {
        let stored = chosen.field(e, field, value).and_then(|value| store(e, field, &value, spec));
        complete &= stored.is_some();
    }
    complete.then_some(())
}

/// The chosen variant, and the expressions of its fields.
struct Chosen {
    variant: &'static Variant,
    fields: Vec<(Ident, Expr)>,
}

impl Chosen {
    /// The expression of `field`, or its default. `whole` is the expression of the variant.
    fn field(&self, e: &mut Evaluator<'_>, field: &Key, whole: &Expr) -> Option<Expr> {
        if let Some((_, value)) = self.fields.iter().find(|(name, _)| name == field.name) {
            return Some(value.clone());
        }
        if let Some(default) = field.default {
            return Some(syn::parse_str(default).expect("defaults are tested"));
        }
        let (variant, name) = (self.variant.name, field.name);
        e.fail(whole.span(), |span| {
            Diagnostic::new(span, format!("`{variant}` needs the field `{name}`: {}", field.doc))
                .help(format!("write `{variant} {{ {name}: .. }}`"))
        })
    }
}

fn entry(e: &Evaluator<'_>, key: &str) -> Option<Expr> {
    e.merged.entries.get(key).map(|entry| entry.value.clone())
}

/// The variant that `value` names. Reports an unknown variant and unknown or repeated fields.
fn chosen(
    e: &mut Evaluator<'_>,
    key: &str,
    value: &Expr,
    variants: &'static [Variant],
) -> Option<Chosen> {
    let (path, fields) = match ungrouped(value) {
        Expr::Path(path) => (&path.path, Vec::new()),
        Expr::Struct(literal) if literal.rest.is_none() && literal.dot2_token.is_none() => {
            let field = |f: &syn::FieldValue| match &f.member {
                syn::Member::Named(name) => Some((name.clone(), f.expr.clone())),
                syn::Member::Unnamed(_) => None,
            };
            (&literal.path, literal.fields.iter().filter_map(field).collect())
        }
        _ => return wrong_kind(e, value, variants),
    };
    let Some(ident) = path.get_ident() else {
        return wrong_kind(e, value, variants);
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
    fine.then_some(Chosen { variant, fields })
}

fn unknown_field(e: &mut Evaluator<'_>, variant: &'static Variant, field: &Ident) {
    let name = field.to_string();
    let names: Vec<&str> = variant.fields.iter().map(|f: &Key| f.name).collect();
    let help = match (closest(&name, names.iter().copied()), names.is_empty()) {
        (Some(near), _) => format!("did you mean `{near}`?"),
        (None, true) => format!("`{}` has no fields", variant.name),
        (None, false) => format!("expected {}", one_of(names.iter().copied())),
    };
    e.fail::<()>(field.span(), |span| {
        Diagnostic::new(span, format!("unknown field `{name}` of `{}`", variant.name)).help(help)
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

/// The elements of a list, or the value itself. An empty list is returned as a value, which no kind
/// accepts.
fn elements(value: &Expr) -> Vec<&Expr> {
    match ungrouped(value) {
        Expr::Array(list) if !list.elems.is_empty() => list.elems.iter().collect(),
        value => vec![value],
    }
}

/// Whether `value` is `None`.
fn is_none(value: &Expr) -> bool {
    matches!(ungrouped(value), Expr::Path(path) if path.path.is_ident("None"))
}

/// A number of `range`.
fn number(e: &mut Evaluator<'_>, name: &str, range: Range, value: &Expr) -> Option<f64> {
    let number = e.number(value)?.float();
    let (fits, rule, help) = match range {
        Range::Positive => (
            number > 0.0 && (number as f32).is_finite() && number as f32 > 0.0,
            "has to be positive",
            "it is a number above 0 that an f32 can hold",
        ),
        Range::Probability => {
            ((0.0..1.0).contains(&number), "is a probability", "it is at least 0 and below 1")
        }
    };
    if fits {
        return Some(number);
    }
    e.fail(value.span(), |span| {
        Diagnostic::new(span, format!("`{name}` {rule}")).found(format!("{number:?}")).help(help)
    })
}

/// The expression inside invisible groups, which an `expr` fragment of a `macro_rules!` macro has.
fn ungrouped(value: &Expr) -> &Expr {
    match value {
        Expr::Group(group) => ungrouped(&group.expr),
        value => value,
    }
}

/// `true`, `false`, or the value of another flag.
fn flag(e: &mut Evaluator<'_>, name: &str, value: &Expr) -> Option<bool> {
    let mut value = ungrouped(value).clone();
    // A chain that is longer than the table has a cycle.
    for step in 0..=KEYS.len() {
        let other = match &value {
            Expr::Lit(lit) => match &lit.lit {
                Lit::Bool(flag) => return Some(flag.value),
                _ => None,
            },
            Expr::Path(path) => {
                let named = path.path.get_ident().map(ToString::to_string);
                let key = named.as_deref().and_then(keys::find);
                match key.filter(|key| matches!(key.kind, Kind::Flag(_))) {
                    Some(key) => Some(ungrouped(&entry(e, key.name)?).clone()),
                    None => None,
                }
            }
            _ => None,
        };
        match other {
            Some(other) => value = other,
            // The other flag reports the error in its own value.
            None if step > 0 => return None,
            None => {
                let found = text_of(&value);
                return e.fail(value.span(), |span| {
                    Diagnostic::new(span, format!("the value of `{name}` is not a boolean"))
                        .found(format!("`{found}`"))
                        .help("write `true`, `false`, or the name of another boolean key")
                });
            }
        }
    }
    e.fail(value.span(), |span| {
        Diagnostic::new(span, format!("the value of `{name}` depends on itself"))
            .help("write `true` or `false`")
    })
}

fn activation(e: &mut Evaluator<'_>, value: &Expr) -> Option<Activation> {
    match ungrouped(value) {
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
