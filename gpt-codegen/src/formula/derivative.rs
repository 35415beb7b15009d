//! The derivative of a tape: forward-mode rules, node by node.

use gpt_plan::{Formula, Node};

use super::tape::Tape;

/// `d value / d x` as a formula.
pub fn derivative(value: &Formula) -> Formula {
    let mut tape = Tape::default();
    let mut slopes: Vec<u16> = Vec::new();
    let mut values: Vec<u16> = Vec::new();
    for node in value.nodes.iter() {
        let at = |i: u16| values[usize::from(i)];
        let slope_at = |i: u16| slopes[usize::from(i)];
        let (own, slope) = rule(&mut tape, node, &at, &slope_at);
        values.push(own);
        slopes.push(slope);
    }
    tape.finish(*slopes.last().expect("a formula is never empty"))
}

/// Adds `node` and its slope to the new tape, and returns their indices.
fn rule(
    t: &mut Tape,
    node: &Node,
    at: &dyn Fn(u16) -> u16,
    slope: &dyn Fn(u16) -> u16,
) -> (u16, u16) {
    match *node {
        Node::X => (t.push(Node::X), t.constant(1.0)),
        Node::Const(c) => (t.constant(c), t.constant(0.0)),
        Node::Add(a, b) => (t.push(Node::Add(at(a), at(b))), t.push(Node::Add(slope(a), slope(b)))),
        Node::Sub(a, b) => (t.push(Node::Sub(at(a), at(b))), t.push(Node::Sub(slope(a), slope(b)))),
        Node::Mul(a, b) => {
            let left = t.push(Node::Mul(slope(a), at(b)));
            let right = t.push(Node::Mul(at(a), slope(b)));
            (t.push(Node::Mul(at(a), at(b))), t.push(Node::Add(left, right)))
        }
        Node::Div(a, b) => {
            // (a / b)' = (a' - (a / b) b') / b
            let own = t.push(Node::Div(at(a), at(b)));
            let product = t.push(Node::Mul(own, slope(b)));
            let top = t.push(Node::Sub(slope(a), product));
            (own, t.push(Node::Div(top, at(b))))
        }
        Node::Neg(a) => (t.push(Node::Neg(at(a))), t.push(Node::Neg(slope(a)))),
        Node::Exp(a) => {
            let own = t.push(Node::Exp(at(a)));
            (own, t.push(Node::Mul(own, slope(a))))
        }
        Node::ExpM1(a) => {
            let factor = t.push(Node::Exp(at(a)));
            (t.push(Node::ExpM1(at(a))), t.push(Node::Mul(factor, slope(a))))
        }
        Node::Ln(a) => (t.push(Node::Ln(at(a))), t.push(Node::Div(slope(a), at(a)))),
        // s' = s(u) s(-u). The form s(u) (1 - s(u)) loses digits where s(u) is close to 1.
        Node::Sigmoid(a) => {
            let own = t.push(Node::Sigmoid(at(a)));
            let factor = sigmoid_slope(t, own, at(a));
            (own, t.push(Node::Mul(factor, slope(a))))
        }
        Node::Softplus(a) => {
            let factor = t.push(Node::Sigmoid(at(a)));
            (t.push(Node::Softplus(at(a))), t.push(Node::Mul(factor, slope(a))))
        }
        Node::Sqrt(a) => {
            let own = t.push(Node::Sqrt(at(a)));
            // A lower bound of the divisor: the root of the smallest normal f32. It changes the
            // slope only where the argument is zero or subnormal. At zero, the slope of
            // `sqrt(max(x, 0))` would be 0 / 0.
            let least = t.constant(f64::from(f32::MIN_POSITIVE).sqrt());
            let root = t.push(Node::Max(own, least));
            let twice = t.push(Node::Add(root, root));
            (own, t.push(Node::Div(slope(a), twice)))
        }
        // tanh' = 4 s(2u) s(-2u). The form 1 - tanh^2 loses digits where tanh^2 is close to 1.
        Node::Tanh(a) => {
            let twice = t.scaled(2.0, at(a));
            let sigmoid = t.push(Node::Sigmoid(twice));
            let factor = sigmoid_slope(t, sigmoid, twice);
            let factor = t.scaled(4.0, factor);
            (t.push(Node::Tanh(at(a))), t.push(Node::Mul(factor, slope(a))))
        }
        Node::Sin(a) => {
            let factor = t.push(Node::Cos(at(a)));
            (t.push(Node::Sin(at(a))), t.push(Node::Mul(factor, slope(a))))
        }
        Node::Cos(a) => {
            let sine = t.push(Node::Sin(at(a)));
            let factor = t.push(Node::Neg(sine));
            (t.push(Node::Cos(at(a))), t.push(Node::Mul(factor, slope(a))))
        }
        Node::Abs(a) => {
            // The sign: 1 above zero, -1 below, 0 at zero.
            let zero = t.constant(0.0);
            let above = t.push(Node::Greater(at(a), zero));
            let below = t.push(Node::Greater(zero, at(a)));
            let sign = t.push(Node::Sub(above, below));
            (t.push(Node::Abs(at(a))), t.push(Node::Mul(sign, slope(a))))
        }
        // Where the operands are equal, `max` has the slope of its constant operand, or of the
        // second one if none is constant; `min` has the slope of the other operand. So `max(x, 0)`
        // has slope 0 at 0, ReLU's convention, and `max(x, 0) + min(x, 0)` has slope 1.
        Node::Max(a, b) => {
            let own = t.push(Node::Max(at(a), at(b)));
            let (a, b) = constant_last(t, a, b, at);
            let first = t.push(Node::Greater(at(a), at(b)));
            (own, t.push(Node::Select(first, slope(a), slope(b))))
        }
        Node::Min(a, b) => {
            let own = t.push(Node::Min(at(a), at(b)));
            let (a, b) = constant_last(t, a, b, at);
            let second = t.push(Node::Greater(at(a), at(b)));
            (own, t.push(Node::Select(second, slope(b), slope(a))))
        }
        Node::Powi(a, n) => {
            let lower = t.push(Node::Powi(at(a), n - 1));
            let n_constant = t.constant(f64::from(n));
            let factor = t.push(Node::Mul(n_constant, lower));
            (t.push(Node::Powi(at(a), n)), t.push(Node::Mul(factor, slope(a))))
        }
        Node::Greater(a, b) => (t.push(Node::Greater(at(a), at(b))), t.constant(0.0)),
        Node::Select(c, a, b) => (
            t.push(Node::Select(at(c), at(a), at(b))),
            t.push(Node::Select(at(c), slope(a), slope(b))),
        ),
    }
}

/// Two operands, the constant one last.
fn constant_last(t: &Tape, a: u16, b: u16, at: &dyn Fn(u16) -> u16) -> (u16, u16) {
    if t.value(at(a)).is_some() { (b, a) } else { (a, b) }
}

/// The slope of the logistic function at `u`, where the function has the value `value`.
fn sigmoid_slope(t: &mut Tape, value: u16, u: u16) -> u16 {
    let u = t.push(Node::Neg(u));
    let other = t.push(Node::Sigmoid(u));
    t.push(Node::Mul(value, other))
}
