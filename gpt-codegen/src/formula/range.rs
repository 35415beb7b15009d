//! Interval arithmetic over a tape: which nodes can exceed the range of f32.
//!
//! Arithmetic saturates, but a clamp is written only for nodes that need one. The magnitude of the
//! argument is assumed to be at most 2^40, so polynomials of ordinary degree need no clamps.

use gpt_plan::{Formula, Node};

const GREATEST: f64 = f32::MAX as f64;
const ARGUMENT: f64 = (1u64 << 40) as f64;

type Interval = (f64, f64);

/// For each node, whether its result may have to be clamped to finite numbers.
pub fn may_overflow(formula: &Formula) -> Vec<bool> {
    let mut ranges: Vec<Interval> = Vec::new();
    let mut overflows = Vec::new();
    for node in formula.nodes.iter() {
        let (low, high) = range(node, &|i| ranges[usize::from(i)]);
        // Rounding may add a little to each result.
        let fits = low >= -0.99 * GREATEST && high <= 0.99 * GREATEST;
        overflows.push(!fits && exceeds_operands(node));
        ranges.push((low.max(-GREATEST), high.min(GREATEST)));
    }
    overflows
}

/// Whether a result can be larger in magnitude than the operands, which are finite.
fn exceeds_operands(node: &Node) -> bool {
    matches!(
        node,
        Node::Add(..)
            | Node::Sub(..)
            | Node::Mul(..)
            | Node::Div(..)
            | Node::Exp(_)
            | Node::ExpM1(_)
            | Node::Ln(_)
            | Node::Powi(..)
    )
}

fn range(node: &Node, at: &dyn Fn(u16) -> Interval) -> Interval {
    match *node {
        Node::X => (-ARGUMENT, ARGUMENT),
        Node::Const(c) => (c, c),
        Node::Add(a, b) => (at(a).0 + at(b).0, at(a).1 + at(b).1),
        Node::Sub(a, b) => (at(a).0 - at(b).1, at(a).1 - at(b).0),
        Node::Mul(a, b) if a == b => power(at(a), 2),
        Node::Mul(a, b) => corners(at(a), at(b), |a, b| a * b),
        Node::Div(_, b) if at(b).0 <= 0.0 && at(b).1 >= 0.0 => (f64::NEG_INFINITY, f64::INFINITY),
        Node::Div(a, b) => corners(at(a), at(b), |a, b| a / b),
        Node::Neg(a) => (-at(a).1, -at(a).0),
        Node::Exp(a) => (at(a).0.exp(), at(a).1.exp()),
        Node::ExpM1(a) => (at(a).0.exp_m1(), at(a).1.exp_m1()),
        Node::Ln(a) => (at(a).0.max(0.0).ln(), at(a).1.max(0.0).ln()),
        Node::Sigmoid(_) | Node::Greater(..) => (0.0, 1.0),
        Node::Softplus(a) => (0.0, at(a).1.max(0.0) + 1.0),
        Node::Sqrt(a) => (at(a).0.max(0.0).sqrt(), at(a).1.max(0.0).sqrt()),
        Node::Tanh(_) | Node::Sin(_) | Node::Cos(_) => (-1.0, 1.0),
        Node::Abs(a) if at(a).0 < 0.0 => ((-at(a).1).max(0.0), at(a).1.max(-at(a).0)),
        Node::Abs(a) => at(a),
        Node::Max(a, b) => (at(a).0.max(at(b).0), at(a).1.max(at(b).1)),
        Node::Min(a, b) => (at(a).0.min(at(b).0), at(a).1.min(at(b).1)),
        Node::Powi(a, n) if n >= 0 => power(at(a), n),
        Node::Powi(a, n) => {
            let (low, high) = power(at(a), -n);
            if low <= 0.0 && high >= 0.0 {
                (f64::NEG_INFINITY, f64::INFINITY)
            } else {
                corners((1.0, 1.0), (low, high), |a, b| a / b)
            }
        }
        Node::Select(_, a, b) => (at(a).0.min(at(b).0), at(a).1.max(at(b).1)),
    }
}

/// The least and the greatest value of `f` at the ends of both intervals.
fn corners(a: Interval, b: Interval, f: impl Fn(f64, f64) -> f64) -> Interval {
    let values = [f(a.0, b.0), f(a.0, b.1), f(a.1, b.0), f(a.1, b.1)];
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    (low, high)
}

fn power((low, high): Interval, n: i32) -> Interval {
    let (a, b) = (low.powi(n), high.powi(n));
    let least = if n % 2 == 0 && low < 0.0 && high > 0.0 { 0.0 } else { a.min(b) };
    (least, a.max(b))
}
