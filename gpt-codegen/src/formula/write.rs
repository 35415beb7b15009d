//! Formulas as text, in Rust for the CPU and in WGSL for the GPU.
//!
//! Both texts compute the same as [`Formula::eval_f32`]. A node whose result can overflow is
//! clamped.

use gpt_plan::{Formula, Node};
use proc_macro2::TokenStream;
use quote::{format_ident, quote};

use super::range::may_overflow;
use super::tape::operands;

/// A `let` for each node and a final expression: the value of the formula at `x`, an `f32` in
/// scope.
pub fn rust(formula: &Formula) -> TokenStream {
    let name = |i: u16| format_ident!("v{i}");
    let overflows = may_overflow(formula);
    let lets = formula.nodes.iter().enumerate().map(|(i, node)| {
        let own = name(i as u16);
        let value = match *node {
            Node::X => quote!(x),
            Node::Const(c) => {
                let c = representable(c);
                quote!(#c)
            }
            Node::Add(a, b) => binary(quote!(+), name(a), name(b)),
            Node::Sub(a, b) => binary(quote!(-), name(a), name(b)),
            Node::Mul(a, b) => binary(quote!(*), name(a), name(b)),
            Node::Div(a, b) => binary(quote!(/), name(a), name(b)),
            Node::Neg(a) => prefix(quote!(-), name(a)),
            Node::Exp(a) => method("exp", name(a), None),
            Node::ExpM1(a) => method("exp_m1", name(a), None),
            Node::Ln(a) => method("ln", name(a), None),
            Node::Sigmoid(a) => {
                let a = name(a);
                quote!(1f32 / (1f32 + f32::exp(-#a)))
            }
            Node::Softplus(a) => {
                let a = name(a);
                quote!(f32::max(#a, 0f32) + f32::ln_1p(f32::exp(-f32::abs(#a))))
            }
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
                quote!(if #a > #b { 1f32 } else { 0f32 })
            }
            Node::Select(c, a, b) => {
                let (c, a, b) = (name(c), name(a), name(b));
                quote!(if #c != 0f32 { #a } else { #b })
            }
        };
        if overflows[i] {
            return quote!(let #own: f32 = f32::clamp(#value, f32::MIN, f32::MAX););
        }
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

/// The finite f32 nearest to `c`.
fn representable(c: f64) -> f32 {
    (c as f32).clamp(f32::MIN, f32::MAX)
}

/// A WGSL function `name(x: f32) -> f32`, with a `let` for each node that is used more than once,
/// and the helper functions that it calls, whose names also begin with `name`.
///
/// WGSL leaves `exp` and `tanh` undefined where they overflow, defines them to a few ulps at best,
/// and has no `x^n` for a negative `x`. So arguments are clamped, functions that need accuracy near
/// zero are series, and powers are products.
pub fn wgsl(name: &str, formula: &Formula) -> String {
    let (uses, overflows) = (uses(formula), may_overflow(formula));
    let mut lines = format!("fn {name}(x: f32) -> f32 {{\n");
    let mut texts: Vec<Text> = Vec::new();
    let mut helpers: Vec<Helper> = Vec::new();
    for (i, node) in formula.nodes.iter().enumerate() {
        let text = match helper(*node) {
            Some((helper, argument)) => {
                helpers.push(helper);
                let argument = &texts[usize::from(argument)].words;
                Text::atom(format!("{name}_{}({argument})", helper.name()))
            }
            None => expression(*node, &texts),
        };
        let text = if overflows[i] && !matches!(node, Node::Exp(_) | Node::ExpM1(_)) {
            let (low, high) = (f32::MIN, f32::MAX);
            Text::atom(format!("clamp({}, {low:?}, {high:?})", text.words))
        } else {
            text
        };
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
    for helper in Helper::ALL {
        let called = |by: &Helper| *by == helper || by.calls() == Some(helper);
        if helpers.iter().any(called) {
            let text = helper.text().replace("NAME", name);
            lines.push_str(&format!("\n{text}"));
        }
    }
    lines
}

/// A function that a formula calls.
#[derive(Clone, Copy, PartialEq)]
enum Helper {
    Exp,
    ExpM1,
    Sigmoid,
    Softplus,
    Tanh,
}

/// The helper that computes `node`, and its argument.
fn helper(node: Node) -> Option<(Helper, u16)> {
    Some(match node {
        Node::Exp(a) => (Helper::Exp, a),
        Node::ExpM1(a) => (Helper::ExpM1, a),
        Node::Sigmoid(a) => (Helper::Sigmoid, a),
        Node::Softplus(a) => (Helper::Softplus, a),
        Node::Tanh(a) => (Helper::Tanh, a),
        _ => return None,
    })
}

impl Helper {
    const ALL: [Helper; 5] =
        [Helper::Exp, Helper::ExpM1, Helper::Sigmoid, Helper::Softplus, Helper::Tanh];

    fn name(self) -> &'static str {
        match self {
            Helper::Exp => "exp",
            Helper::ExpM1 => "exp_m1",
            Helper::Sigmoid => "sigmoid",
            Helper::Softplus => "softplus",
            Helper::Tanh => "tanh",
        }
    }

    /// The helper that this one calls.
    fn calls(self) -> Option<Helper> {
        (self == Helper::Tanh).then_some(Helper::ExpM1)
    }

    fn text(self) -> &'static str {
        match self {
            Helper::Exp => {
                "\
// exp(u): zero where the true value is below the smallest normal number, and finite where it is
// above the largest.
fn NAME_exp(u: f32) -> f32 {
    return select(exp(clamp(u, -87.0, 88.5)), 0.0, u < -87.0);
}
"
            }
            // The first nine terms of the series. At 1/2 the terms left out are below 3e-10.
            Helper::ExpM1 => {
                "\
// exp(u) - 1: Taylor's series where the difference would cancel.
fn NAME_exp_m1(u: f32) -> f32 {
    var series = fma(u, 1.0 / 9.0, 1.0);
    series = fma(u / 8.0, series, 1.0);
    series = fma(u / 7.0, series, 1.0);
    series = fma(u / 6.0, series, 1.0);
    series = fma(u / 5.0, series, 1.0);
    series = fma(u / 4.0, series, 1.0);
    series = fma(u / 3.0, series, 1.0);
    series = fma(u / 2.0, series, 1.0);
    return select(exp(clamp(u, -87.0, 88.5)) - 1.0, u * series, abs(u) < 0.5);
}
"
            }
            Helper::Sigmoid => {
                "\
fn NAME_sigmoid(u: f32) -> f32 {
    return select(1.0 / (1.0 + exp(clamp(-u, -87.0, 87.0))), 0.0, u < -87.0);
}
"
            }
            // With z <= 1/3 the terms left out are below 2e-8.
            Helper::Softplus => {
                "\
// max(u, 0) + ln(1 + t) with t = exp(-|u|), and ln(1 + t) = 2 artanh(z) with z = t / (2 + t).
fn NAME_softplus(u: f32) -> f32 {
    let t = select(exp(max(-abs(u), -87.0)), 0.0, abs(u) > 87.0);
    let z = t / (2.0 + t);
    let square = z * z;
    var series = fma(square, 1.0 / 13.0, 1.0 / 11.0);
    series = fma(square, series, 1.0 / 9.0);
    series = fma(square, series, 1.0 / 7.0);
    series = fma(square, series, 1.0 / 5.0);
    series = fma(square, series, 1.0 / 3.0);
    series = fma(square, series, 1.0);
    return fma(2.0 * z, series, max(u, 0.0));
}
"
            }
            Helper::Tanh => {
                "\
// m = exp(-2|u|) - 1 neither overflows nor cancels.
fn NAME_tanh(u: f32) -> f32 {
    let m = NAME_exp_m1(-2.0 * min(abs(u), 20.0));
    return sign(u) * (-m / (2.0 + m));
}
"
            }
        }
    }
}

/// How often each node is read. A power reads its base more than once.
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

/// A WGSL expression, and whether it can be an operand without parentheses.
struct Text {
    words: String,
    is_atom: bool,
}

impl Text {
    fn atom(words: String) -> Text {
        Text { words, is_atom: true }
    }

    fn operation(words: String) -> Text {
        Text { words, is_atom: false }
    }

    fn operand(&self) -> String {
        if self.is_atom { self.words.clone() } else { format!("({})", self.words) }
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
        Node::Ln(a) => Text::atom(format!("log({})", plain(a))),
        Node::Sqrt(a) => Text::atom(format!("sqrt({})", plain(a))),
        Node::Sin(a) => Text::atom(format!("sin({})", plain(a))),
        Node::Cos(a) => Text::atom(format!("cos({})", plain(a))),
        Node::Abs(a) => Text::atom(format!("abs({})", plain(a))),
        Node::Max(a, b) => Text::atom(format!("max({}, {})", plain(a), plain(b))),
        Node::Min(a, b) => Text::atom(format!("min({}, {})", plain(a), plain(b))),
        Node::Powi(a, n) => power(&operand(a), n),
        Node::Greater(a, b) => {
            Text::atom(format!("select(0.0, 1.0, {} > {})", operand(a), operand(b)))
        }
        Node::Select(c, a, b) => {
            Text::atom(format!("select({}, {}, {} != 0.0)", plain(b), plain(a), operand(c)))
        }
        Node::Exp(_) | Node::ExpM1(_) | Node::Sigmoid(_) | Node::Softplus(_) | Node::Tanh(_) => {
            unreachable!("a helper computes it")
        }
    }
}

/// A number that WGSL reads as f32.
fn number(c: f64) -> Text {
    let words = format!("{:?}", representable(c));
    if words.starts_with('-') { Text::operation(words) } else { Text::atom(words) }
}

/// `base^n` as nested products: few multiplications for high powers.
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
    Text::operation(if n < 0 { format!("1.0 / ({magnitude})") } else { magnitude })
}
