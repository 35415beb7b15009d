//! Parses the user's closure into a tape.

use std::collections::HashMap;

use gpt_plan::{Activation, Formula, MAX_NODES, Node};
use syn::spanned::Spanned;
use syn::{BinOp, Expr, ExprClosure, Lit, Member, Pat, Stmt, UnOp};

use super::derivative::derivative;
use super::tape::Tape;
use crate::Diagnostic;
use crate::suggest::{closest, one_of};

/// The functions that a closure may call, and how many arguments each takes.
const FUNCTIONS: [(&str, usize); 10] = [
    ("exp", 1),
    ("ln", 1),
    ("sqrt", 1),
    ("tanh", 1),
    ("sin", 1),
    ("cos", 1),
    ("abs", 1),
    ("max", 2),
    ("min", 2),
    ("powi", 2),
];

/// The largest exponent of a power.
const MAX_POWER: i64 = 64;

/// The formula of one of the compiler's closures, such as `|x| 2.0 * tanh(x)`.
///
/// # Panics
/// If `closure` is not a closure of this language.
pub fn of(closure: &str) -> Formula {
    let parsed = syn::parse_str(closure).expect("one of the compiler's closures");
    match parse(&parsed) {
        Ok(Activation::Custom { value, .. }) => value,
        _ => panic!("`{closure}` is not a formula"),
    }
}

/// The activation of `closure`, with its derivative.
pub fn parse(closure: &ExprClosure) -> Result<Activation, Vec<Diagnostic>> {
    let mut parser = Parser { tape: Tape::default(), names: HashMap::new(), errors: Vec::new() };
    let parameter = match closure.inputs.iter().collect::<Vec<_>>()[..] {
        [Pat::Ident(ident)] => Some(ident.ident.to_string()),
        _ => None,
    };
    let Some(parameter) = parameter else {
        let count = closure.inputs.len();
        let plural = if count == 1 { "" } else { "s" };
        let found = Diagnostic::spanned(closure, "an activation is a function of one variable")
            .found(format!("{count} parameter{plural}"))
            .help("write it as `|x| x * tanh(x)`");
        return Err(vec![found]);
    };
    let x = parser.tape.push(Node::X);
    parser.names.insert(parameter, x);
    let last = parser.expression(&closure.body);
    if let Some(last) = last
        && parser.errors.is_empty()
    {
        let value = parser.tape.finish(last);
        let derivative = derivative(&value);
        if value.nodes.len() <= MAX_NODES && derivative.nodes.len() <= MAX_NODES {
            return Ok(Activation::Custom { name: None, value, derivative });
        }
        let size = value.nodes.len().max(derivative.nodes.len());
        let long = Diagnostic::spanned(closure, "the activation is too long")
            .found(format!("{size} operations, derivative included"))
            .help(format!("use at most {MAX_NODES} operations"));
        return Err(vec![long]);
    }
    Err(parser.errors)
}

struct Parser {
    tape: Tape,
    names: HashMap<String, u16>,
    errors: Vec<Diagnostic>,
}

impl Parser {
    fn fail(&mut self, diagnostic: Diagnostic) -> Option<u16> {
        self.errors.push(diagnostic);
        None
    }

    /// Adds a node, unless the tape already has many more than an activation may have: a malicious
    /// input must not make the compiler slow.
    fn push(&mut self, node: Node) -> Option<u16> {
        (self.tape.len() < 4 * MAX_NODES).then(|| self.tape.push(node))
    }

    fn expression(&mut self, expr: &Expr) -> Option<u16> {
        match expr {
            Expr::Paren(inner) => self.expression(&inner.expr),
            Expr::Group(inner) => self.expression(&inner.expr),
            Expr::Lit(lit) => self.literal(&lit.lit),
            Expr::Path(path) => self.name(path),
            Expr::Unary(unary) if matches!(unary.op, UnOp::Neg(_)) => {
                let a = self.expression(&unary.expr)?;
                self.push(Node::Neg(a))
            }
            Expr::Binary(binary) => {
                let node = match binary.op {
                    BinOp::Add(_) => Node::Add,
                    BinOp::Sub(_) => Node::Sub,
                    BinOp::Mul(_) => Node::Mul,
                    BinOp::Div(_) => Node::Div,
                    _ => {
                        let unknown = Diagnostic::new(
                            binary.op.span(),
                            "this operator cannot be used in an activation",
                        )
                        .help("use `+ - * /`; a power is `powi(x, 3)`");
                        return self.fail(unknown);
                    }
                };
                let (a, b) = (self.expression(&binary.left), self.expression(&binary.right));
                self.push(node(a?, b?))
            }
            Expr::Call(call) => {
                let Expr::Path(path) = &*call.func else {
                    return self.unknown_form(&call.func);
                };
                let Some(name) = path.path.get_ident() else {
                    return self.unknown_form(&call.func);
                };
                self.call(name, &call.args.iter().collect::<Vec<_>>(), expr)
            }
            Expr::MethodCall(call) => {
                let mut arguments = vec![&*call.receiver];
                arguments.extend(call.args.iter());
                self.call(&call.method, &arguments, expr)
            }
            Expr::Block(block) => self.block(&block.block),
            Expr::Field(field) if matches!(field.member, Member::Named(_)) => {
                self.unknown_form(expr)
            }
            _ => self.unknown_form(expr),
        }
    }

    fn unknown_form(&mut self, expr: &Expr) -> Option<u16> {
        let unknown = Diagnostic::spanned(expr, "this expression cannot be used in an activation")
            .help(
                "use arithmetic, literals, `let`, and the functions \
                 exp, ln, sqrt, tanh, sin, cos, abs, max, min, powi",
            );
        self.fail(unknown)
    }

    fn literal(&mut self, lit: &Lit) -> Option<u16> {
        let value = match lit {
            Lit::Float(float) => float.base10_parse::<f64>().ok(),
            Lit::Int(int) => int.base10_parse::<f64>().ok(),
            _ => None,
        };
        match value {
            Some(value) => self.push(Node::Const(value)),
            None => {
                let wrong = Diagnostic::spanned(lit, "a number was expected here")
                    .help("write a number such as `1.702`");
                self.fail(wrong)
            }
        }
    }

    fn name(&mut self, path: &syn::ExprPath) -> Option<u16> {
        let name = path.path.get_ident().map(ToString::to_string);
        if let Some(index) = name.as_ref().and_then(|name| self.names.get(name)) {
            return Some(*index);
        }
        let mut names: Vec<&str> = self.names.keys().map(String::as_str).collect();
        names.sort_unstable();
        let near = name.as_deref().and_then(|name| closest(name, names.iter().copied()));
        let help = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("expected {}", one_of(names.iter().copied())),
        };
        let message = match &name {
            Some(name) => format!("unknown variable `{name}` in an activation"),
            None => "unknown variable in an activation".to_owned(),
        };
        let unknown = Diagnostic::spanned(path, message).help(help);
        self.fail(unknown)
    }

    fn call(&mut self, name: &syn::Ident, arguments: &[&Expr], whole: &Expr) -> Option<u16> {
        let text = name.to_string();
        let Some((_, count)) = FUNCTIONS.iter().find(|(known, _)| *known == text) else {
            let known = FUNCTIONS.map(|(name, _)| name);
            let help = match closest(&text, known) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("expected one of {}", one_of(known)),
            };
            for argument in arguments {
                self.expression(argument);
            }
            return self.fail(
                Diagnostic::new(name.span(), format!("unknown function `{text}` in an activation"))
                    .help(help),
            );
        };
        if arguments.len() != *count {
            let wrong = Diagnostic::spanned(
                whole,
                format!("`{text}` takes {count} argument{}", if *count == 1 { "" } else { "s" }),
            )
            .found(arguments.len().to_string());
            return self.fail(wrong);
        }
        let a = self.expression(arguments[0]);
        if text == "powi" {
            let power = integer(arguments[1]).filter(|n| n.abs() <= MAX_POWER);
            let Some(power) = power else {
                let wrong = Diagnostic::spanned(arguments[1], "the power has to be a whole number")
                    .help(format!("write a literal between -{MAX_POWER} and {MAX_POWER}"));
                return self.fail(wrong);
            };
            return self.push(Node::Powi(a?, power as i32));
        }
        if *count == 2 {
            let b = self.expression(arguments[1]);
            let node = if text == "max" { Node::Max } else { Node::Min };
            return self.push(node(a?, b?));
        }
        let node = match text.as_str() {
            "exp" => Node::Exp,
            "ln" => Node::Ln,
            "sqrt" => Node::Sqrt,
            "tanh" => Node::Tanh,
            "sin" => Node::Sin,
            "cos" => Node::Cos,
            _ => Node::Abs,
        };
        self.push(node(a?))
    }

    fn block(&mut self, block: &syn::Block) -> Option<u16> {
        let shadowed = self.names.clone();
        let mut last = None;
        for (i, statement) in block.stmts.iter().enumerate() {
            match statement {
                Stmt::Local(local) => self.local(local),
                Stmt::Expr(expr, None) if i + 1 == block.stmts.len() => {
                    last = Some(self.expression(expr))
                }
                other => {
                    let wrong = Diagnostic::spanned(
                        other,
                        "this statement cannot be used in an activation",
                    )
                    .help("only `let name = expression;` may stand before the final expression");
                    self.fail(wrong);
                }
            }
        }
        self.names = shadowed;
        match last {
            Some(value) => value,
            None => {
                let empty = Diagnostic::spanned(block, "the activation has no value")
                    .help("end the block with an expression, without a semicolon");
                self.fail(empty)
            }
        }
    }

    fn local(&mut self, local: &syn::Local) {
        let name = match &local.pat {
            Pat::Ident(ident) if ident.by_ref.is_none() && ident.subpat.is_none() => {
                Some(ident.ident.to_string())
            }
            _ => None,
        };
        let (Some(name), Some(init)) = (name, &local.init) else {
            let wrong = Diagnostic::spanned(local, "a `let` here gives one name to one expression")
                .help("write `let y = x * x;`");
            self.fail(wrong);
            return;
        };
        let value = self.expression(&init.expr);
        // A name whose value failed is still known, so that its uses are not reported again.
        let value = value.or_else(|| self.push(Node::X));
        if let Some(value) = value {
            self.names.insert(name, value);
        }
    }
}

/// A whole number, perhaps negative.
fn integer(expr: &Expr) -> Option<i64> {
    match expr {
        Expr::Lit(lit) => match &lit.lit {
            Lit::Int(int) => int.base10_parse().ok(),
            _ => None,
        },
        Expr::Unary(unary) if matches!(unary.op, UnOp::Neg(_)) => integer(&unary.expr).map(|n| -n),
        Expr::Paren(inner) => integer(&inner.expr),
        _ => None,
    }
}
