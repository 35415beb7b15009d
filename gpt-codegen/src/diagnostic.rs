//! Diagnostics: errors in a spec, each on the token that caused it.
//!
//! On stable Rust a procedural macro reports errors with `compile_error!`, which prints a text at a
//! span. A [`Diagnostic`] holds the parts of such a text, so that every error has the same form:
//! one sentence, then `found:`, then `note:` and `help:` lines. Each phase (`parse`, `resolve`,
//! `check`, `formula`) collects all errors that it finds.

use std::fmt;

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote_spanned};

/// One error: a sentence that states the problem, and further lines that explain it.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    start: Span,
    end: Span,
    message: String,
    lines: Vec<(&'static str, String)>,
}

impl Diagnostic {
    /// An error on one token.
    pub fn new(span: Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic { start: span, end: span, message: message.into(), lines: Vec::new() }
    }

    /// An error on everything from the first to the last token of `tokens`.
    pub fn spanned(tokens: &impl ToTokens, message: impl Into<String>) -> Diagnostic {
        let (start, end) = ends(&tokens.to_token_stream());
        Diagnostic { end, ..Diagnostic::new(start, message) }
    }

    /// Adds the text or value that was found instead of the expected one.
    pub fn found(self, text: impl Into<String>) -> Diagnostic {
        self.line("found", text)
    }

    /// Adds the origin of a value, or the reason for a rule.
    pub fn note(self, text: impl Into<String>) -> Diagnostic {
        self.line("note", text)
    }

    /// Adds a correction.
    pub fn help(self, text: impl Into<String>) -> Diagnostic {
        self.line("help", text)
    }

    fn line(mut self, label: &'static str, text: impl Into<String>) -> Diagnostic {
        self.lines.push((label, text.into()));
        self
    }

    /// The first line.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The `compile_error!` that reports it at the user's tokens.
    pub fn to_compile_error(&self) -> TokenStream {
        let text = self.to_string();
        let path = quote_spanned!(self.start=> ::core::compile_error);
        let call = quote_spanned!(self.end=> ! { #text });
        quote::quote!(#path #call)
    }
}

/// Writes the text that rustc prints after `error: `.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        for (label, text) in &self.lines {
            write!(f, "\n{label}: {text}")?;
        }
        Ok(())
    }
}

/// A syntax error of Rust itself, found by `syn`.
impl From<syn::Error> for Diagnostic {
    fn from(error: syn::Error) -> Diagnostic {
        Diagnostic::new(error.span(), error.to_string())
    }
}

/// The `compile_error!`s of all `diagnostics`.
pub fn compile_errors(diagnostics: &[Diagnostic]) -> TokenStream {
    diagnostics.iter().map(Diagnostic::to_compile_error).collect()
}

fn ends(tokens: &TokenStream) -> (Span, Span) {
    let mut tokens = tokens.clone().into_iter();
    let Some(first) = tokens.next() else {
        return (Span::call_site(), Span::call_site());
    };
    let last = tokens.last().unwrap_or_else(|| first.clone());
    (first.span(), last.span())
}
