//! Formulas as text: a `let` for each node, in Rust for the CPU and in WGSL for the GPU.

use gpt_plan::{Formula, Node};
use proc_macro2::TokenStream;
use quote::{format_ident, quote};

/// Statements that leave the value of the formula at `x` (an `f32` in scope) as the block's value.
pub fn rust(formula: &Formula) -> TokenStream {
    let name = |i: u16| format_ident!("v{i}");
    let lets = formula.nodes.iter().enumerate().map(|(i, node)| {
        let own = name(i as u16);
        let value = match *node {
            Node::X => quote!(x),
            Node::Const(c) => {
                let c = c as f32;
                if c.is_finite() {
                    quote!(#c)
                } else {
                    constant(c)
                }
            }
            Node::Add(a, b) => binary(quote!(+), name(a), name(b)),
            Node::Sub(a, b) => binary(quote!(-), name(a), name(b)),
            Node::Mul(a, b) => binary(quote!(*), name(a), name(b)),
            Node::Div(a, b) => binary(quote!(/), name(a), name(b)),
            Node::Neg(a) => prefix(quote!(-), name(a)),
            Node::Exp(a) => method("exp", name(a), None),
            Node::Ln(a) => method("ln", name(a), None),
            Node::Sqrt(a) => method("sqrt", name(a), None),
            Node::Tanh(a) => method("tanh", name(a), None),
            Node::Sin(a) => method("sin", name(a), None),
            Node::Cos(a) => method("cos", name(a), None),
            Node::Abs(a) => method("abs", name(a), None),
            Node::Max(a, b) => method("max", name(a), Some(quote_ident(name(b)))),
            Node::Min(a, b) => method("min", name(a), Some(quote_ident(name(b)))),
            Node::Powi(a, n) => method("powi", name(a), Some(quote!(#n))),
            Node::Greater(a, b) => {
                let (a, b) = (name(a), name(b));
                quote!(f32::from(u8::from(#a > #b)))
            }
        };
        quote!(let #own: f32 = #value;)
    });
    let last = name(formula.nodes.len() as u16 - 1);
    quote!(#(#lets)* #last)
}

fn quote_ident(name: proc_macro2::Ident) -> TokenStream {
    quote!(#name)
}

fn binary(operator: TokenStream, a: proc_macro2::Ident, b: proc_macro2::Ident) -> TokenStream {
    quote!(#a #operator #b)
}

fn prefix(operator: TokenStream, a: proc_macro2::Ident) -> TokenStream {
    quote!(#operator #a)
}

fn method(function: &str, a: proc_macro2::Ident, argument: Option<TokenStream>) -> TokenStream {
    let function = format_ident!("{function}");
    let argument = argument.into_iter();
    quote!(f32::#function(#a #(, #argument)*))
}

fn constant(c: f32) -> TokenStream {
    if c.is_nan() {
        quote!(f32::NAN)
    } else if c > 0.0 {
        quote!(f32::INFINITY)
    } else {
        quote!(f32::NEG_INFINITY)
    }
}

/// A WGSL function `name(x: f32) -> f32`.
///
/// WGSL leaves `exp` and `tanh` undefined where they overflow, and has no `x^n` for a negative `x`: so arguments are clamped to
/// where the result is that of f32 anyway, and powers are written as products.
pub fn wgsl(name: &str, formula: &Formula) -> String {
    let mut lines = format!("fn {name}(x: f32) -> f32 {{\n");
    for (i, node) in formula.nodes.iter().enumerate() {
        let value = match *node {
            Node::X => "x".to_owned(),
            Node::Const(c) => number(c),
            Node::Add(a, b) => format!("v{a} + v{b}"),
            Node::Sub(a, b) => format!("v{a} - v{b}"),
            Node::Mul(a, b) => format!("v{a} * v{b}"),
            Node::Div(a, b) => format!("v{a} / v{b}"),
            Node::Neg(a) => format!("-v{a}"),
            Node::Exp(a) => format!("exp(clamp(v{a}, -87.0, 88.0))"),
            Node::Ln(a) => format!("log(v{a})"),
            Node::Sqrt(a) => format!("sqrt(v{a})"),
            Node::Tanh(a) => format!("tanh(clamp(v{a}, -10.0, 10.0))"),
            Node::Sin(a) => format!("sin(v{a})"),
            Node::Cos(a) => format!("cos(v{a})"),
            Node::Abs(a) => format!("abs(v{a})"),
            Node::Max(a, b) => format!("max(v{a}, v{b})"),
            Node::Min(a, b) => format!("min(v{a}, v{b})"),
            Node::Powi(a, n) => power(a, n),
            Node::Greater(a, b) => format!("select(0.0, 1.0, v{a} > v{b})"),
        };
        lines.push_str(&format!("    let v{i} = {value};\n"));
    }
    lines.push_str(&format!("    return v{};\n}}\n", formula.nodes.len() - 1));
    lines
}

/// A number that WGSL reads as f32; what f32 cannot hold becomes its greatest value.
fn number(c: f64) -> String {
    let c = (c as f32).clamp(f32::MIN, f32::MAX);
    format!("f32({c:?})")
}

/// `v^n` as a product of at most 16 factors; higher powers through a logarithm-free square-and-multiply of nested products.
fn power(a: u16, n: i32) -> String {
    fn product(a: u16, n: u32) -> String {
        match n {
            0 => "1.0".to_owned(),
            1 => format!("v{a}"),
            _ if n % 2 == 1 => format!("v{a} * {}", product(a, n - 1)),
            _ => {
                let half = product(a, n / 2);
                format!("({half}) * ({half})")
            }
        }
    }
    let magnitude = product(a, n.unsigned_abs());
    if n < 0 {
        format!("1.0 / ({magnitude})")
    } else {
        magnitude
    }
}
