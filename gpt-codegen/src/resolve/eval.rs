//! Numbers: literals, other keys, and arithmetic.

use std::collections::BTreeMap;

use proc_macro2::Span;
use quote::ToTokens;
use syn::spanned::Spanned;
use syn::{BinOp, Expr, Lit, UnOp};

use super::{Merged, Origin};
use crate::Diagnostic;
use crate::keys::{self, KEYS, Kind};
use crate::suggest::{closest, one_of};

/// The value of an expression.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    Int(i128),
    Float(f64),
}

impl Number {
    pub fn float(self) -> f64 {
        match self {
            Number::Int(n) => n as f64,
            Number::Float(x) => x,
        }
    }
}

/// Evaluates the keys of one model, each once, and collects their errors.
pub struct Evaluator<'a> {
    pub merged: &'a Merged,
    errors: Vec<Diagnostic>,
    /// Sizes that are known; none for a key with an error.
    done: BTreeMap<String, Option<i128>>,
    /// Keys that are being evaluated, innermost last.
    stack: Vec<String>,
    /// The key whose value is being evaluated: errors are reported there.
    pub current: String,
}

impl<'a> Evaluator<'a> {
    pub fn new(merged: &'a Merged) -> Self {
        Evaluator {
            merged,
            errors: Vec::new(),
            done: BTreeMap::new(),
            stack: Vec::new(),
            current: String::new(),
        }
    }

    pub fn into_errors(self) -> Vec<Diagnostic> {
        self.errors
    }

    /// Reports an error in the value of the current key, at `span` if it is the model's own.
    pub fn fail<T>(&mut self, span: Span, make: impl FnOnce(Span) -> Diagnostic) -> Option<T> {
        let key = self.current.clone();
        let own = self.merged.entries.get(&key).is_some_and(|e| e.origin == Origin::Own);
        let mut error = make(if own { span } else { self.culprit(&key) });
        if !own && let Some(source) = self.merged.source(&key) {
            error = error.note(source);
        }
        self.errors.push(error);
        None
    }

    /// The span of an error in the inherited value of `key`: the model's own value that it depends
    /// on, or the fallback span.
    fn culprit(&self, key: &str) -> Span {
        let mut names = vec![key.to_owned()];
        let mut i = 0;
        while let Some(name) = names.get(i).cloned() {
            let Some(entry) = self.merged.entries.get(&name) else {
                break;
            };
            if entry.origin == Origin::Own {
                return entry.value.span();
            }
            // The divisor before the number that it should divide.
            for token in mentioned(&entry.value).into_iter().rev() {
                if !names.contains(&token) {
                    names.push(token);
                }
            }
            i += 1;
        }
        self.merged.fallback_span
    }

    /// The size of `key`.
    pub fn size_key(&mut self, key: &str) -> Option<u32> {
        let value = self.key(key)?;
        u32::try_from(value).ok()
    }

    fn key(&mut self, key: &str) -> Option<i128> {
        if let Some(done) = self.done.get(key) {
            return *done;
        }
        if let Some(at) = self.stack.iter().position(|k| k == key) {
            let mut cycle: Vec<&str> = self.stack[at..].iter().map(String::as_str).collect();
            cycle.push(key);
            let path = cycle.join("` -> `");
            // Every key of the cycle is broken by this one error.
            let broken: Vec<String> = self.stack[at..].to_vec();
            let members: Vec<&str> = broken.iter().map(String::as_str).collect();
            let span = self.merged.blame(&members);
            self.errors.push(
                Diagnostic::new(span, format!("the value of `{key}` depends on itself"))
                    .note(format!("`{path}`"))
                    .help("give one of these keys a number"),
            );
            for key in broken {
                self.done.insert(key, None);
            }
            return None;
        }
        // A missing key was reported before.
        let entry = self.merged.entries.get(key)?;
        self.stack.push(key.to_owned());
        let outer = std::mem::replace(&mut self.current, key.to_owned());
        let value = self.size(&entry.value, key);
        self.current = outer;
        self.stack.pop();
        // A cycle may have marked this key already.
        *self.done.entry(key.to_owned()).or_insert(value.map(i128::from))
    }

    /// A size: an integer that is neither zero nor too large.
    pub fn size(&mut self, expr: &Expr, name: &str) -> Option<u32> {
        let number = self.number(expr)?;
        let span = expr.span();
        match number {
            Number::Int(0) => self.fail(span, |span| {
                Diagnostic::new(span, format!("`{name}` is zero")).help("a size is at least 1")
            }),
            Number::Int(n) if n < 0 => self.fail(span, |span| {
                Diagnostic::new(span, format!("`{name}` is negative"))
                    .found(n.to_string())
                    .help("a size is at least 1")
            }),
            Number::Int(n) => match u32::try_from(n) {
                Ok(n) => Some(n),
                Err(_) => self.fail(span, |span| {
                    Diagnostic::new(span, format!("`{name}` is too large"))
                        .found(n.to_string())
                        .help(format!("a size is at most {}", u32::MAX))
                }),
            },
            Number::Float(x) => self.fail(span, |span| {
                Diagnostic::new(span, format!("`{name}` has to be an integer"))
                    .found(format!("the float {x:?}"))
                    .help("write it without a point or exponent")
            }),
        }
    }

    /// A number of either kind.
    pub fn number(&mut self, expr: &Expr) -> Option<Number> {
        match expr {
            Expr::Paren(inner) => self.number(&inner.expr),
            Expr::Group(inner) => self.number(&inner.expr),
            Expr::Lit(lit) => match &lit.lit {
                Lit::Int(int) => match int.base10_parse() {
                    Ok(n) => Some(Number::Int(n)),
                    Err(_) => self
                        .fail(int.span(), |span| Diagnostic::new(span, "this number is too large")),
                },
                Lit::Float(float) => float.base10_parse().ok().map(Number::Float),
                _ => self.not_a_number(expr),
            },
            Expr::Unary(unary) if matches!(unary.op, UnOp::Neg(_)) => {
                match self.number(&unary.expr)? {
                    Number::Int(n) => match n.checked_neg() {
                        Some(n) => Some(Number::Int(n)),
                        None => self.too_large(expr),
                    },
                    Number::Float(x) => Some(Number::Float(-x)),
                }
            }
            Expr::Path(path) if path.path.get_ident().is_some() => {
                let name = path.path.require_ident().expect("it is one").to_string();
                match keys::find(&name).map(|k| k.kind) {
                    Some(Kind::Size(_)) => self.key(&name).map(Number::Int),
                    _ => self.unknown_name(expr, &name),
                }
            }
            Expr::Binary(binary) => {
                let (left, right) = (self.number(&binary.left), self.number(&binary.right));
                self.arithmetic(expr, &binary.op, left?, right?)
            }
            _ => self.not_a_number(expr),
        }
    }

    fn arithmetic(
        &mut self,
        expr: &Expr,
        op: &BinOp,
        left: Number,
        right: Number,
    ) -> Option<Number> {
        let text = text_of(expr);
        if let (Number::Int(a), Number::Int(b)) = (left, right) {
            let result = match op {
                BinOp::Add(_) => a.checked_add(b),
                BinOp::Sub(_) => a.checked_sub(b),
                BinOp::Mul(_) => a.checked_mul(b),
                BinOp::Div(_) if b == 0 => {
                    return self.fail(expr.span(), |span| {
                        Diagnostic::new(span, format!("`{text}` divides by zero"))
                    });
                }
                BinOp::Div(_) if a.checked_rem(b).is_some_and(|rest| rest != 0) => {
                    return self.fail(expr.span(), |span| indivisible(span, &text, a, b));
                }
                BinOp::Div(_) => a.checked_div(b),
                _ => return self.unknown_operator(op),
            };
            return match result {
                Some(n) => Some(Number::Int(n)),
                None => self.too_large(expr),
            };
        }
        let (a, b) = (left.float(), right.float());
        Some(Number::Float(match op {
            BinOp::Add(_) => a + b,
            BinOp::Sub(_) => a - b,
            BinOp::Mul(_) => a * b,
            BinOp::Div(_) => a / b,
            _ => return self.unknown_operator(op),
        }))
    }

    fn too_large(&mut self, expr: &Expr) -> Option<Number> {
        let text = text_of(expr);
        self.fail(expr.span(), |span| Diagnostic::new(span, format!("`{text}` is too large")))
    }

    fn unknown_operator(&mut self, op: &BinOp) -> Option<Number> {
        self.fail(op.span(), |span| {
            Diagnostic::new(span, "this operator cannot be used in a spec").help("use `+ - * /`")
        })
    }

    fn not_a_number(&mut self, expr: &Expr) -> Option<Number> {
        let found = text_of(expr);
        self.fail(expr.span(), |span| {
            Diagnostic::new(span, "a number was expected here")
                .found(format!("`{found}`"))
                .help("write a literal, another key, or an expression of them with `+ - * /`")
        })
    }

    fn unknown_name(&mut self, expr: &Expr, name: &str) -> Option<Number> {
        let sizes: Vec<&str> = KEYS.iter().filter(|k| k.kind.is_size()).map(|k| k.name).collect();
        let help = match closest(name, sizes.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("an expression may use {}", one_of(sizes)),
        };
        self.fail(expr.span(), |span| {
            Diagnostic::new(span, format!("`{name}` is not a size")).help(help)
        })
    }
}

fn indivisible(span: Span, text: &str, a: i128, b: i128) -> Diagnostic {
    let below = a.saturating_sub(a.rem_euclid(b));
    let above = below.saturating_add(b.saturating_abs());
    let near = if below > 0 { format!("{below} or {above}") } else { above.to_string() };
    let found = format!("{a} / {b}");
    let error = Diagnostic::new(span, format!("`{text}` is not a whole number"));
    let error = if found == text { error } else { error.found(found) };
    error.help(format!("{near} would be divisible by {b}"))
}

/// The keys that an expression mentions.
fn mentioned(expr: &Expr) -> Vec<String> {
    fn walk(tokens: proc_macro2::TokenStream, found: &mut Vec<String>) {
        for token in tokens {
            match token {
                proc_macro2::TokenTree::Ident(ident)
                    if keys::find(&ident.to_string()).is_some() =>
                {
                    found.push(ident.to_string())
                }
                proc_macro2::TokenTree::Group(group) => walk(group.stream(), found),
                _ => {}
            }
        }
    }
    let mut found = Vec::new();
    walk(expr.to_token_stream(), &mut found);
    found
}

/// The text of an expression, for messages.
pub fn text_of(expr: &Expr) -> String {
    expr.to_token_stream().to_string()
}

#[cfg(test)]
mod tests {
    use crate::spec;

    #[test]
    fn arithmetic_at_the_limits_of_integers() {
        let least = format!("(0 - {} - 1)", i128::MAX);
        for value in [
            format!("{least} / -1"),
            format!("-{least}"),
            format!("3 / {least}"),
            format!("{least} / 3"),
        ] {
            let errors = spec(&format!("vocab: {value}, ..GPT2_SMALL")).unwrap_err();
            let message = errors[0].message();
            let known = ["is too large", "is not a whole number"];
            assert!(known.iter().any(|known| message.ends_with(known)), "{message}");
        }
    }
}
