//! Formulas as text: a `let` for each node, in Rust for the CPU and in WGSL for the GPU.

use gpt_plan::{Formula, Node};
use proc_macro2::TokenStream;
use quote::{format_ident, quote};

use super::tape::operands;

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

/// A WGSL function `name(x: f32) -> f32`, with a `let` for what is used more than once.
///
/// WGSL leaves `exp` and `tanh` undefined where they overflow, and has no `x^n` for a negative `x`: so arguments are clamped to
/// where the result is that of f32 anyway, and powers are written as products.
pub fn wgsl(name: &str, formula: &Formula) -> String {
    let uses = uses(formula);
    let mut lines = format!("fn {name}(x: f32) -> f32 {{\n");
    let mut texts: Vec<Text> = Vec::new();
    for (i, node) in formula.nodes.iter().enumerate() {
        let text = expression(*node, &texts);
        let last = i + 1 == formula.nodes.len();
        let trivial = matches!(node, Node::X | Node::Const(_));
        texts.push(if uses[i] > 1 && !trivial && !last {
            lines.push_str(&format!("    let v{i} = {};\n", text.words));
            Text::atom(format!("v{i}"))
        } else {
            text
        });
    }
    let value = texts.last().map_or("x", |text| &text.words);
    lines.push_str(&format!("    return {value};\n}}\n"));
    lines
}

/// How often each node is read. A power reads its base as often as it has factors.
fn uses(formula: &Formula) -> Vec<u32> {
    let mut uses = vec![0; formula.nodes.len()];
    for node in formula.nodes.iter() {
        let times = if matches!(node, Node::Powi(..)) { 2 } else { 1 };
        for read in operands(node) {
            uses[usize::from(read)] += times;
        }
    }
    uses
}

/// A WGSL expression, and whether it may stand beside an operator without parentheses.
struct Text {
    words: String,
    is_atom: bool,
}

impl Text {
    fn atom(words: String) -> Text {
        Text {
            words,
            is_atom: true,
        }
    }

    fn operation(words: String) -> Text {
        Text {
            words,
            is_atom: false,
        }
    }

    fn operand(&self) -> String {
        if self.is_atom {
            self.words.clone()
        } else {
            format!("({})", self.words)
        }
    }
}

fn expression(node: Node, texts: &[Text]) -> Text {
    let plain = |i: u16| &texts[usize::from(i)].words;
    let operand = |i: u16| texts[usize::from(i)].operand();
    let binary =
        |a, operator: &str, b| Text::operation(format!("{} {operator} {}", operand(a), operand(b)));
    match node {
        Node::X => Text::atom("x".to_owned()),
        Node::Const(c) => number(c),
        Node::Add(a, b) => binary(a, "+", b),
        Node::Sub(a, b) => binary(a, "-", b),
        Node::Mul(a, b) => binary(a, "*", b),
        Node::Div(a, b) => binary(a, "/", b),
        Node::Neg(a) => Text::operation(format!("-{}", operand(a))),
        Node::Exp(a) => Text::atom(format!("exp(clamp({}, -87.0, 88.0))", plain(a))),
        Node::Ln(a) => Text::atom(format!("log({})", plain(a))),
        Node::Sqrt(a) => Text::atom(format!("sqrt({})", plain(a))),
        Node::Tanh(a) => Text::atom(format!("tanh(clamp({}, -10.0, 10.0))", plain(a))),
        Node::Sin(a) => Text::atom(format!("sin({})", plain(a))),
        Node::Cos(a) => Text::atom(format!("cos({})", plain(a))),
        Node::Abs(a) => Text::atom(format!("abs({})", plain(a))),
        Node::Max(a, b) => Text::atom(format!("max({}, {})", plain(a), plain(b))),
        Node::Min(a, b) => Text::atom(format!("min({}, {})", plain(a), plain(b))),
        Node::Powi(a, n) => power(&operand(a), n),
        Node::Greater(a, b) => {
            Text::atom(format!("select(0.0, 1.0, {} > {})", operand(a), operand(b)))
        }
    }
}

/// A number that WGSL reads as f32; what f32 cannot hold becomes its greatest value.
fn number(c: f64) -> Text {
    let words = format!("{:?}", (c as f32).clamp(f32::MIN, f32::MAX));
    if words.starts_with('-') {
        Text::operation(words)
    } else {
        Text::atom(words)
    }
}

/// `base^n` as nested products, so that high powers take few multiplications.
fn power(base: &str, n: i32) -> Text {
    fn product(base: &str, n: u32) -> String {
        match n {
            0 => "1.0".to_owned(),
            1 => base.to_owned(),
            _ if n % 2 == 1 => format!("{base} * {}", product(base, n - 1)),
            _ => {
                let half = product(base, n / 2);
                let half = if n == 2 { half } else { format!("({half})") };
                format!("{half} * {half}")
            }
        }
    }
    let magnitude = product(base, n.unsigned_abs());
    Text::operation(if n < 0 {
        format!("1.0 / ({magnitude})")
    } else {
        magnitude
    })
}
