//! Parses tokens to declarations, `struct Name { key: value, .. ..BASE }`, as the user wrote them.
//!
//! Each segment between two commas is parsed separately, so an error in one key hides none in
//! another. `resolve` interprets keys and values.

use std::fmt;

use proc_macro2::{Delimiter, Group, Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::parse::{Parse, ParseStream, Parser};
use syn::{Attribute, Expr, Generics, LitStr, Token, Visibility};

use crate::Diagnostic;

/// A model as it was declared.
pub struct Declared {
    pub attrs: Vec<Attribute>,
    pub vis: Visibility,
    pub ident: Ident,
    pub fields: Vec<Field>,
    pub base: Option<Base>,
    /// Syntax errors.
    pub errors: Vec<Diagnostic>,
}

/// The base of a spec, after the two dots.
#[derive(Clone)]
pub enum Base {
    /// A preset, or a model that is declared earlier.
    Name(Ident),
    /// `config("path")`: a Hugging Face `config.json`.
    Config(Ident, LitStr),
}

impl Base {
    /// The token on which errors are reported.
    pub fn span(&self) -> Span {
        match self {
            Base::Name(name) => name.span(),
            Base::Config(_, path) => path.span(),
        }
    }
}

impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Base::Name(name) => write!(f, "{name}"),
            Base::Config(config, path) => write!(f, "{config}({:?})", path.value()),
        }
    }
}

impl ToTokens for Base {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        match self {
            Base::Name(name) => name.to_tokens(tokens),
            Base::Config(config, path) => quote!(#config(#path)).to_tokens(tokens),
        }
    }
}

/// `key: value`.
#[derive(Clone)]
pub struct Field {
    pub key: Ident,
    pub value: Expr,
}

/// All declarations of one invocation, and the errors that belong to none of them.
pub fn declarations(tokens: TokenStream) -> (Vec<Declared>, Vec<Diagnostic>) {
    if let Some(span) = too_deep(&tokens) {
        let error = Diagnostic::new(span, "this is nested too deeply, or too long")
            .help("write parts of it as separate values: `let y = 2.0 * x;` in a closure");
        return (Vec::new(), vec![error]);
    }
    let mut found = Vec::new();
    let mut errors = Vec::new();
    for item in items(tokens) {
        match declaration.parse2(item) {
            Ok(declared) => found.push(declared),
            Err(error) => {
                let help = "declare a model as `pub struct Name \
                            { vocab: 65, context: 256, layers: 6, heads: 6, embed: 384 }`";
                errors.push(Diagnostic::from(error).help(help));
            }
        }
    }
    (found, errors)
}

/// The greatest depth that a token may have. Its depth is the number of tokens up to it in its
/// expression, which begins after a comma or a semicolon, and in the expressions around its group.
/// The parser and all later phases recurse over these tokens.
const DEEPEST: usize = 128;

/// How many tokens a `<` counts as. It may begin a type within a type, for which the parser takes
/// 64 KB of stack in a debug build.
const ANGLE: usize = 8;

/// Finds the first token that is too deep, without recursion.
fn too_deep(tokens: &TokenStream) -> Option<Span> {
    struct Level {
        rest: proc_macro2::token_stream::IntoIter,
        /// The depth of the group.
        around: usize,
        /// The depth of the last token before `rest`.
        depth: usize,
    }
    let level =
        |stream: TokenStream, around| Level { rest: stream.into_iter(), around, depth: around };
    let mut levels = vec![level(tokens.clone(), 0)];
    while let Some(innermost) = levels.last_mut() {
        let Some(token) = innermost.rest.next() else {
            levels.pop();
            continue;
        };
        let is_angle = matches!(&token, TokenTree::Punct(punct) if punct.as_char() == '<');
        innermost.depth += if is_angle { ANGLE } else { 1 };
        let depth = innermost.depth;
        if depth > DEEPEST {
            return Some(token.span());
        }
        match token {
            TokenTree::Punct(punct) if matches!(punct.as_char(), ',' | ';') => {
                innermost.depth = innermost.around;
            }
            TokenTree::Group(group) => {
                // An attribute, or the keys of a model, end with this group.
                if levels.len() == 1 {
                    levels[0].depth = 0;
                }
                levels.push(level(group.stream(), depth));
            }
            _ => {}
        }
    }
    None
}

/// Cuts the input after each pair of braces, which ends a declaration.
fn items(tokens: TokenStream) -> Vec<TokenStream> {
    let mut items = Vec::new();
    let mut item = Vec::new();
    for token in tokens {
        let ends =
            matches!(&token, TokenTree::Group(group) if group.delimiter() == Delimiter::Brace);
        item.push(token);
        if ends {
            items.push(item.drain(..).collect());
        }
    }
    if !item.is_empty() {
        items.push(item.into_iter().collect());
    }
    items
}

fn declaration(input: ParseStream<'_>) -> syn::Result<Declared> {
    let attrs = input.call(Attribute::parse_outer)?;
    let vis = input.parse()?;
    input.parse::<Token![struct]>()?;
    let ident = input.parse()?;
    let generics: Generics = input.parse()?;
    let group: Group = input.parse()?;
    let mut declared =
        Declared { attrs, vis, ident, fields: Vec::new(), base: None, errors: Vec::new() };
    if group.delimiter() != Delimiter::Brace {
        return Err(syn::Error::new(group.span(), "a model's keys are in braces"));
    }
    if !generics.params.is_empty() {
        let wrong = Diagnostic::spanned(&generics, "a model takes no generic parameters");
        declared.errors.push(wrong.help("remove them; the sizes of a model are its keys"));
    }
    for attr in &declared.attrs {
        if !attr.path().is_ident("doc") {
            let wrong =
                Diagnostic::spanned(attr, "a model takes no attributes but its documentation");
            declared.errors.push(wrong.help("remove it; the macro writes the type itself"));
        }
    }
    body(group.stream(), &mut declared);
    Ok(declared)
}

/// The fields of a preset, or of a declaration that this crate wrote.
pub fn fields_of(spec: &str) -> Vec<Field> {
    let tokens: TokenStream = spec.parse().expect("presets are tested");
    let segments = segments(tokens).into_iter();
    segments.map(|segment| syn::parse2(segment).expect("presets are tested")).collect()
}

fn body(tokens: TokenStream, declared: &mut Declared) {
    for segment in segments(tokens) {
        // Segments after a base are still parsed, for their own errors.
        if let Some(base) = &declared.base {
            let late = Diagnostic::spanned(base, "the base has to be last")
                .found(format!("`{}` after it", short(&segment)))
                .help(format!("move `..{base}` to the end, without a comma after it"));
            if !declared.errors.iter().any(|e| e.message() == late.message()) {
                declared.errors.push(late);
            }
        }
        let is_base = starts_with_dots(&segment);
        let result = if is_base {
            base(segment).map(|name| {
                declared.base.get_or_insert(name);
            })
        } else {
            syn::parse2(segment).map(|field| declared.fields.push(field))
        };
        if let Err(error) = result {
            let help = if is_base {
                "write the name of a model or preset, or a file: `..GPT2_SMALL`, `..config(\"config.json\")`"
            } else {
                "write `key: value`"
            };
            declared.errors.push(Diagnostic::from(error).help(help));
        }
    }
}

fn base(segment: TokenStream) -> syn::Result<Base> {
    let parser = |input: ParseStream<'_>| {
        input.parse::<Token![..]>()?;
        let name: Ident = input.parse()?;
        if name != "config" || input.is_empty() {
            return Ok(Base::Name(name));
        }
        let path;
        syn::parenthesized!(path in input);
        let literal = path.parse()?;
        if !path.is_empty() {
            return Err(path.error("one path was expected"));
        }
        Ok(Base::Config(name, literal))
    };
    parser.parse2(segment)
}

impl Parse for Field {
    fn parse(input: ParseStream<'_>) -> syn::Result<Field> {
        let key: Ident = input.parse()?;
        if input.is_empty() {
            return Err(syn::Error::new(key.span(), format!("`{key}` has no value")));
        }
        input.parse::<Token![:]>()?;
        if input.is_empty() {
            return Err(syn::Error::new(key.span(), format!("`{key}` has no value")));
        }
        Ok(Field { key, value: input.parse()? })
    }
}

/// The segments between the commas.
fn segments(tokens: TokenStream) -> Vec<TokenStream> {
    let mut segments = Vec::new();
    let mut segment: Vec<TokenTree> = Vec::new();
    for token in tokens {
        match &token {
            TokenTree::Punct(punct) if punct.as_char() == ',' => {
                segments.push(segment.drain(..).collect::<TokenStream>())
            }
            _ => segment.push(token),
        }
    }
    segments.push(segment.into_iter().collect());
    segments.retain(|segment| !segment.is_empty());
    segments
}

fn starts_with_dots(segment: &TokenStream) -> bool {
    let first = segment.clone().into_iter().next();
    matches!(first, Some(TokenTree::Punct(punct)) if punct.as_char() == '.')
}

/// The first token, for a message.
fn short(tokens: &TokenStream) -> String {
    let text: Vec<String> =
        tokens.clone().into_iter().take(1).map(|t| t.to_token_stream().to_string()).collect();
    text.concat()
}

#[cfg(test)]
mod tests {
    use crate::spec;

    #[test]
    fn what_is_nested_too_deeply_is_refused() {
        for value in [
            "(".repeat(3000) + "1" + &")".repeat(3000),
            "-".repeat(6000) + "1",
            "1 + ".repeat(2000) + "1",
            "|x| ".repeat(1500) + "x",
            "return ".repeat(1000) + "x",
            "[".repeat(3000) + &"]".repeat(3000),
        ] {
            let errors = spec(&format!("vocab: {value}, ..GPT2_SMALL")).unwrap_err();
            assert_eq!(errors[0].message(), "this is nested too deeply, or too long");
        }
        // Lists and sequences of `let` may be long.
        let windows = "None, ".repeat(1000);
        let lets = "let y = x * 2.0 + y; ".repeat(200);
        let activation = format!("|x| {{ let y = x; {lets} y }}");
        spec(&format!(
            "layers: 1_000, window: [{windows}], mlp: Dense {{ activation: {activation} }}, ..GPT2_SMALL"
        ))
        .unwrap();
    }
}
