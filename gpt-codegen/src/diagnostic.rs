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

    /// The first line: the sentence that states the problem.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The error as a terminal shows it: the line of its first token, with carets under it. `text`
    /// is the source that the tokens come from.
    pub fn render(&self, text: &str) -> String {
        let (start, end) = (self.start.start(), self.end.end());
        // Tokens of a preset or of a default are not in the text.
        let is_in_text = self.start.source_text().is_some_and(|token| !token.is_empty());
        let line = text.lines().nth(start.line.saturating_sub(1)).filter(|_| is_in_text);
        let Some(line) = line else { return self.to_string() };
        let columns = line.chars().count();
        let last = if end.line == start.line { end.column.min(columns) } else { columns };
        let first = start.column.min(columns);
        // Tabs are kept, so that the carets are under the token.
        let indent = line.chars().take(first).map(|c| if c == '\t' { c } else { ' ' });
        let indent: String = indent.collect();
        let carets = "^".repeat(last.saturating_sub(first).max(1));
        let number = start.line.to_string();
        let margin = " ".repeat(number.len());
        let mut rendered =
            format!("{}\n{margin} |\n{number} | {line}\n{margin} | {indent}{carets}", self.message);
        for (label, text) in &self.lines {
            rendered.push_str(&format!("\n{margin} = {label}: {text}"));
        }
        rendered
    }

    /// The error on one line: the sentence, and what was found.
    pub fn in_short(&self) -> String {
        let found = self.lines.iter().find(|(label, _)| *label == "found");
        let found = found.map_or(String::new(), |(_, text)| format!(" ({text})"));
        format!("{}{found}", self.message)
    }

    /// The `compile_error!` that reports the error at the user's tokens.
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

/// Converts a syntax error, found by `syn` or by a parser that uses it.
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
