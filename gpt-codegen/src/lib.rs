//! The compiler of `gpt_model!` as a library: tokens -> parse -> spec -> check -> plan -> (WGSL,
//! Rust).
//!
//! A proc-macro crate can export only its macros, so the functions that tests and tools call at run
//! time are in this crate. Depend on it to compile specs at run time; a program that runs a model
//! depends on `gpt-runtime`.
//!
//! ```
//! let declaration = "struct Tiny { vocab: 65, context: 32, layers: 2, heads: 2, embed: 32 }";
//! let specs = gpt_codegen::specs(declaration.parse().unwrap()).unwrap();
//! let (name, spec) = &specs[0];
//! let plan = gpt_codegen::plan::plan(name, spec);
//! assert_eq!(plan.spec.head_dim, 16);
//! assert!(plan.kernels.iter().any(|kernel| kernel.name == "mlp_up_decode_f32"));
//! ```

#![warn(missing_docs)]
// A library must not print; the program that uses it decides what to print.
#![cfg_attr(not(test), warn(clippy::print_stdout, clippy::print_stderr))]

pub mod activations;
pub mod check;
mod declaration;
pub mod diagnostic;
pub mod expand;
pub mod formula;
pub mod keys;
mod parse;
pub mod plan;
pub mod presets;
mod resolve;
pub mod suggest;
pub mod wgsl;

pub use declaration::{declaration, declared_values, key_values};
pub use diagnostic::Diagnostic;

use std::collections::HashSet;

use gpt_plan::Spec;
use proc_macro2::{Delimiter, Group, LexError, TokenStream, TokenTree};
use quote::quote;

/// A declared model whose spec is resolved and checked.
#[derive(Clone)]
pub struct Model {
    /// The path of `gpt-runtime`: `$crate` of its macro.
    pub root: TokenStream,
    /// The user's doc comments (and nothing else), for the generated type.
    pub attrs: Vec<syn::Attribute>,
    /// The user's visibility, for everything generated.
    pub vis: syn::Visibility,
    /// The type's name.
    pub ident: syn::Ident,
    /// The resolved spec.
    pub spec: Spec,
    /// A `const` item that repeats the spec with the user's tokens, for documentation in editors.
    pub echo: TokenStream,
}

/// The whole compiler: turns the tokens of a `gpt_model!` invocation into items. `root` is the path
/// of `gpt-runtime` in these items.
///
/// An error in one model does not stop the others. A model becomes its items. A model with errors
/// becomes these errors, and a stand-in type with its name, so that code that uses the type causes
/// no further errors.
pub fn compile(root: &TokenStream, tokens: TokenStream) -> TokenStream {
    let (declared, errors) = parse::declarations(tokens);
    let mut output = diagnostic::compile_errors(&errors);
    // Cargo sets it to the folder of the crate that is compiled.
    let folder = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default().into();
    let mut known = resolve::Known { folder, ..resolve::Known::default() };
    let mut validated = HashSet::new();
    for declared in declared {
        let (merged, result) = front(&declared, &known);
        let exists = known.models.contains_key(&declared.ident.to_string());
        let model = result.map(|spec| Model {
            root: root.clone(),
            attrs: declared.attrs.clone(),
            vis: declared.vis.clone(),
            ident: declared.ident.clone(),
            spec,
            echo: expand::with_file(&declared, expand::echo(root, &declared)),
        });
        let items = match model.and_then(|model| expand::model(&model, &mut validated)) {
            Ok(items) => items,
            // A second type of that name would only add errors.
            Err(errors) if exists => diagnostic::compile_errors(&errors),
            Err(errors) => expand::failed(root, &declared, &errors),
        };
        known.models.insert(declared.ident.to_string(), merged);
        output.extend(items);
    }
    output
}

/// The front end: merges one declaration with its base, resolves it and checks it. Later
/// declarations may use the merged keys as a base.
fn front(
    declared: &parse::Declared,
    known: &resolve::Known,
) -> (Option<resolve::Merged>, Result<Spec, Vec<Diagnostic>>) {
    let (resolved, mut errors) = resolve::resolve(declared, known);
    if let Some((merged, spec)) = &resolved {
        errors.extend(check::check(merged, spec));
    }
    if known.models.contains_key(&declared.ident.to_string()) {
        let twice = Diagnostic::new(
            declared.ident.span(),
            format!("the model `{}` is declared twice", declared.ident),
        );
        errors.push(twice.help("give one of them another name"));
    }
    match resolved {
        Some((merged, spec)) if errors.is_empty() => (Some(merged), Ok(spec)),
        _ => (None, Err(errors)),
    }
}

/// Compiles the tokens of a `gpt_model!` invocation to checked specs with the names of their
/// models, for tests and tools. Paths of files are relative to the current folder.
///
/// # Errors
/// Fails if a model has an error. Returns the errors of all models.
pub fn specs(tokens: TokenStream) -> Result<Vec<(String, Spec)>, Vec<Diagnostic>> {
    let (declared, mut errors) = parse::declarations(tokens);
    let mut known = resolve::Known::default();
    let mut specs = Vec::new();
    for declared in declared {
        let (merged, spec) = front(&declared, &known);
        known.models.insert(declared.ident.to_string(), merged);
        match spec {
            Ok(spec) => specs.push((declared.ident.to_string(), spec)),
            Err(found) => errors.extend(found),
        }
    }
    if errors.is_empty() { Ok(specs) } else { Err(errors) }
}

/// Compiles `body`, the keys of one model without `struct Name` and braces, to a checked spec.
///
/// # Errors
/// Fails if `body` has an error. Returns its errors; [`Diagnostic::render`] shows where each is.
pub fn spec(body: &str) -> Result<Spec, Vec<Diagnostic>> {
    let tokens: TokenStream = body.parse().map_err(|error: LexError| {
        vec![
            Diagnostic::new(error.span(), "this is not a spec")
                .help("write `key: value` pairs with commas between them, and close every bracket"),
        ]
    })?;
    let body = TokenTree::from(Group::new(Delimiter::Brace, tokens));
    let specs = specs(quote!(struct Spec #body))?;
    let first = specs.into_iter().next();
    Ok(first.expect("one declaration without errors is one spec").1)
}

/// Checks a spec that does not come from a declaration, such as a spec read from a file. Returns
/// the errors, a sentence each.
pub fn check_spec(spec: &Spec) -> Vec<String> {
    let errors = self::spec(&declaration(spec)).err().unwrap_or_default();
    errors.iter().map(Diagnostic::in_short).collect()
}
