//! Turns declarations into specs: merges each with its base, then evaluates the values of its keys.
//!
//! A base gives the keys that a declaration leaves out. It is a preset (`..GPT2_SMALL`), an earlier
//! model, or a file (`..config("path")`). A [`Merged`] model has an expression for every key, and
//! the expression's origin. Expressions are evaluated after merging, so that a preset's `4 * embed`
//! uses the `embed` of the model built on it. `eval` evaluates numbers and `value` everything else;
//! `file` reads a base that is a file. [`check`](crate::check) validates the result.

mod eval;
mod file;
mod value;

use std::collections::BTreeMap;
use std::path::PathBuf;

use gpt_plan::Spec;
use proc_macro2::{Ident, Span};
use syn::Expr;
use syn::spanned::Spanned;

use crate::keys::{self, KEYS};
use crate::parse::{Base, Declared, Field, fields_of};
use crate::suggest::{closest, one_of};
use crate::{Diagnostic, declaration, presets};

pub use eval::Evaluator;

/// The origin of an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The model's own declaration. Errors are reported on its tokens.
    Own,
    /// The base of the declaration.
    Base,
    /// The default in the table of keys.
    Default,
}

/// The expression of one key.
#[derive(Clone)]
pub struct Entry {
    pub value: Expr,
    pub origin: Origin,
}

/// A model's expressions after its base was merged.
#[derive(Clone)]
pub struct Merged {
    pub entries: BTreeMap<String, Entry>,
    /// The span for errors in inherited keys: the base, or the name of the model.
    pub fallback_span: Span,
    /// The base, for messages.
    pub base: Option<String>,
}

/// The bases, other than presets, that a declaration may use.
#[derive(Default)]
pub struct Known {
    /// Models that the same invocation of the macro declares earlier. `None` stands for a model
    /// with errors.
    pub models: BTreeMap<String, Option<Merged>>,
    /// The folder from which relative paths of files start.
    pub folder: PathBuf,
}

/// Merges `declared` with its base and evaluates the result. Returns the merged model and its spec,
/// and all errors. With errors, both may still be there: a key that does not exist, for example,
/// leaves the others to evaluate.
pub fn resolve(declared: &Declared, known: &Known) -> (Option<(Merged, Spec)>, Vec<Diagnostic>) {
    let mut errors = declared.errors.clone();
    let merged = merge(declared, known, &mut errors);
    let Some(merged) = merged else {
        return (None, errors);
    };
    let mut evaluator = Evaluator::new(&merged);
    let spec = value::spec(&mut evaluator);
    errors.extend(evaluator.into_errors());
    (spec.map(|spec| (merged, spec)), errors)
}

/// Merges the keys of a model. Returns `None` if a key is missing, or if the base is unknown or has
/// errors.
fn merge(declared: &Declared, known: &Known, errors: &mut Vec<Diagnostic>) -> Option<Merged> {
    let mut entries = BTreeMap::new();
    let mut complete = true;
    if let Some(base) = &declared.base {
        match base_entries(base, known, errors) {
            Some(found) => entries = found,
            None => complete = false,
        }
    }
    let mut own: BTreeMap<String, &Field> = BTreeMap::new();
    for field in &declared.fields {
        let name = field.key.to_string();
        if keys::find(&name).is_none() {
            errors.push(unknown_key(&field.key));
            continue;
        }
        if let Some(first) = own.get(&name) {
            let twice =
                Diagnostic::new(field.key.span(), format!("the key `{name}` is given twice"));
            let line = first.key.span().start().line;
            let place = match line {
                0 => "the first is earlier in this declaration".to_owned(),
                line => format!("the first is on line {line}"),
            };
            errors.push(twice.note(place).help("remove one of them"));
            continue;
        }
        own.insert(name.clone(), field);
        entries.insert(name, Entry { value: field.value.clone(), origin: Origin::Own });
    }
    // A base that is unknown or has errors may give any key. So no key is reported as missing, and
    // none gets its default.
    let base_is_known = complete;
    let missing: Vec<&str> = KEYS
        .iter()
        .filter(|k| base_is_known && k.default.is_none() && !entries.contains_key(k.name))
        .map(|k| k.name)
        .collect();
    if !missing.is_empty() {
        let quoted: Vec<String> = missing.iter().map(|m| format!("`{m}`")).collect();
        let (plural, give) = match missing.len() {
            1 => ("", "give it a value"),
            _ => ("s", "give them values"),
        };
        let error = Diagnostic::new(
            declared.ident.span(),
            format!("missing key{plural} {}", quoted.join(", ")),
        );
        errors.push(error.help(format!("{give}, or start from a base such as `..GPT2_SMALL`")));
        complete = false;
    }
    for key in KEYS.iter().filter(|_| base_is_known) {
        if let Some(default) = key.default {
            let value = || Entry {
                value: syn::parse_str(default).expect("defaults are tested"),
                origin: Origin::Default,
            };
            entries.entry(key.name.to_owned()).or_insert_with(value);
        }
    }
    let fallback_span = declared.base.as_ref().map_or(declared.ident.span(), Base::span);
    let base = declared.base.as_ref().map(ToString::to_string);
    let merged = Merged { entries, fallback_span, base };
    // Evaluates the keys that exist, to report their errors too.
    if !complete {
        let mut evaluator = Evaluator::new(&merged);
        let _ = value::spec(&mut evaluator);
        errors.extend(evaluator.into_errors());
        return None;
    }
    Some(merged)
}

/// The entries of a base from its source text, such as a preset's.
fn entries_of(spec: &str) -> BTreeMap<String, Entry> {
    let entry =
        |field: Field| (field.key.to_string(), Entry { value: field.value, origin: Origin::Base });
    fields_of(spec).into_iter().map(entry).collect()
}

fn base_entries(
    base: &Base,
    known: &Known,
    errors: &mut Vec<Diagnostic>,
) -> Option<BTreeMap<String, Entry>> {
    let base = match base {
        Base::Name(base) => base,
        Base::Config(_, path) => {
            return match file::read(&known.folder, path) {
                Ok(spec) => Some(entries_of(&declaration(&spec))),
                Err(found) => {
                    errors.extend(found);
                    None
                }
            };
        }
    };
    let name = base.to_string();
    if let Some(spec) = presets::find(&name) {
        return Some(entries_of(spec));
    }
    match known.models.get(&name) {
        Some(Some(model)) => {
            let entries = model
                .entries
                .clone()
                .into_iter()
                .filter(|(_, entry)| entry.origin != Origin::Default);
            Some(
                entries
                    .map(|(key, entry)| (key, Entry { origin: Origin::Base, ..entry }))
                    .collect(),
            )
        }
        // Its own errors are reported at its declaration.
        Some(None) => None,
        None => {
            let candidates: Vec<&str> = presets::PRESETS
                .iter()
                .map(|(name, ..)| *name)
                .chain(known.models.keys().map(String::as_str))
                .collect();
            let help = match closest(&name, candidates.iter().copied()) {
                Some(near) => format!("did you mean `..{near}`?"),
                None => format!(
                    "expected a model declared before this one, or one of {}",
                    one_of(candidates.iter().copied())
                ),
            };
            errors.push(Diagnostic::new(base.span(), format!("unknown base `{name}`")).help(help));
            None
        }
    }
}

fn unknown_key(key: &Ident) -> Diagnostic {
    let name = key.to_string();
    let names = KEYS.iter().map(|k| k.name);
    let help = match closest(&name, names.clone()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("expected one of {}", one_of(names)),
    };
    Diagnostic::new(key.span(), format!("unknown key `{name}`")).help(help)
}

impl Merged {
    /// The span of an error in the values of `keys`: the value of the first key that the model
    /// itself declares, or else `fallback_span`.
    pub fn blame(&self, keys: &[&str]) -> Span {
        let own = keys
            .iter()
            .filter_map(|key| self.entries.get(*key))
            .find(|entry| entry.origin == Origin::Own);
        own.map_or(self.fallback_span, |entry| entry.value.span())
    }

    /// The origin of `key`, for a note; none if it is the model's own declaration.
    pub fn source(&self, key: &str) -> Option<String> {
        match self.entries.get(key)?.origin {
            Origin::Own => None,
            Origin::Base => Some(format!(
                "`{key}` comes from `..{}`",
                self.base.as_deref().unwrap_or("its base")
            )),
            Origin::Default => {
                Some(format!("`{key}` is `{}` unless it is given", keys::find(key)?.default?))
            }
        }
    }
}
