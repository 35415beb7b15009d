//! Rewriting: exponentials that overflow or cancel become forms that do neither.
//!
//! The closure `x / (1 + exp(-x))` and its derivative are finite for any `x`, but `exp(-x)` is not:
//! in f32 it overflows if `x` is below -88. So sums of exponentials are removed from quotients and
//! logarithms. With `s` the logistic function and `p`, `q` the logarithms of the two summands,
//!
//! - `1 / (e^p + e^q) = e^-q s(q - p)`, and `e^p / (e^p + e^q) = s(p - q)`;
//! - `ln(e^p + e^q) = q + softplus(p - q)`;
//! - `(e^p - e^q) / (e^p + e^q) = tanh((p - q) / 2)`, and `1 + tanh(u) = 2 s(2u)`;
//! - `e^p e^q = e^(p + q)`, and `e^u - 1` is `ExpM1`.
//!
//! Derivatives are taken of the rewritten tape and pass through the same rules. A node that no rule
//! matches is evaluated as it was written, with saturating arithmetic ([`gpt_plan::Node`]).

use gpt_plan::Node;

use super::tape::Tape;

impl Tape {
    /// The index of an equivalent of `node`, if a rule applies.
    pub(super) fn stable(&mut self, node: Node) -> Option<u16> {
        match node {
            Node::Add(a, b) => self.sum(a, b),
            Node::Sub(a, b) => self.difference(a, b),
            Node::Mul(a, b) => self.product(a, b).or_else(|| self.product(b, a)),
            Node::Div(a, b) => self.quotient(a, b),
            Node::Ln(a) => self.logarithm(a),
            Node::Powi(a, n) => self.power(a, n),
            _ => None,
        }
    }

    fn sum(&mut self, a: u16, b: u16) -> Option<u16> {
        if a == b {
            return Some(self.scaled(2.0, a));
        }
        for (a, b) in [(a, b), (b, a)] {
            match (self.node(a), self.node(b)) {
                (Node::Const(1.0), Node::Tanh(u)) => return Some(self.twice_sigmoid(2.0, u)),
                (Node::Const(c), _) if c < 0.0 => {
                    let c = self.constant(-c);
                    return Some(self.push(Node::Sub(b, c)));
                }
                (_, Node::Neg(b)) => return Some(self.push(Node::Sub(a, b))),
                _ => {}
            }
        }
        None
    }

    fn difference(&mut self, a: u16, b: u16) -> Option<u16> {
        match (self.value(a), self.value(b)) {
            (None, Some(c)) => self.less_constant(a, c),
            (Some(c), None) => match self.node(b) {
                Node::Tanh(u) if c == 1.0 => Some(self.twice_sigmoid(-2.0, u)),
                Node::Sigmoid(u) if c == 1.0 => {
                    let u = self.push(Node::Neg(u));
                    Some(self.push(Node::Sigmoid(u)))
                }
                Node::Exp(_) | Node::Mul(..) => {
                    let opposite = self.less_constant(b, c)?;
                    Some(self.push(Node::Neg(opposite)))
                }
                _ => None,
            },
            _ => match self.node(b) {
                Node::Neg(b) => Some(self.push(Node::Add(a, b))),
                _ => None,
            },
        }
    }

    /// `a - c` for a constant `c`.
    fn less_constant(&mut self, a: u16, c: f64) -> Option<u16> {
        match self.node(a) {
            Node::Exp(u) if c == 1.0 => Some(self.push(Node::ExpM1(u))),
            Node::Mul(k, e) if self.value(k) == Some(c) || self.value(e) == Some(c) => {
                let (k, e) = if self.value(k) == Some(c) { (k, e) } else { (e, k) };
                let Node::Exp(u) = self.node(e) else {
                    return None;
                };
                let e = self.push(Node::ExpM1(u));
                Some(self.push(Node::Mul(k, e)))
            }
            Node::Mul(k, s) if c == 1.0 => {
                let s = match (self.value(k), self.value(s)) {
                    (Some(2.0), _) => s,
                    (_, Some(2.0)) => k,
                    _ => return None,
                };
                let Node::Sigmoid(u) = self.node(s) else {
                    return None;
                };
                let half = self.scaled(0.5, u);
                Some(self.push(Node::Tanh(half)))
            }
            Node::Add(rest, e) => {
                let (rest, e) = match self.less_constant(e, c) {
                    Some(e) => (rest, e),
                    None => (e, self.less_constant(rest, c)?),
                };
                Some(self.push(Node::Add(rest, e)))
            }
            _ => None,
        }
    }

    fn product(&mut self, a: u16, b: u16) -> Option<u16> {
        match (self.node(a), self.node(b)) {
            (Node::Exp(p), Node::Exp(q)) => {
                let sum = self.push(Node::Add(p, q));
                Some(self.push(Node::Exp(sum)))
            }
            // e^u s(-u) = s(u)
            (Node::Exp(u), Node::Sigmoid(v)) if self.push(Node::Neg(u)) == v => {
                Some(self.push(Node::Sigmoid(u)))
            }
            // Merges two constant factors where this is exact: one of them is a power of two.
            (Node::Const(c), Node::Mul(d, rest)) => {
                let (d, rest) = match (self.value(d), self.value(rest)) {
                    (Some(d), _) => (d, rest),
                    (_, Some(other)) => (other, d),
                    _ => return None,
                };
                (is_power_of_two(c) || is_power_of_two(d)).then(|| self.scaled(c * d, rest))
            }
            _ => None,
        }
    }

    fn quotient(&mut self, a: u16, b: u16) -> Option<u16> {
        match self.node(b) {
            Node::Exp(u) => {
                let u = self.push(Node::Neg(u));
                let inverse = self.push(Node::Exp(u));
                Some(self.push(Node::Mul(a, inverse)))
            }
            // a / (b c) = (a / b) / c.
            Node::Mul(factor, rest) if self.grows(factor) => {
                let first = self.push(Node::Div(a, factor));
                Some(self.push(Node::Div(first, rest)))
            }
            Node::Mul(rest, factor) if self.grows(factor) => {
                let first = self.push(Node::Div(a, factor));
                Some(self.push(Node::Div(first, rest)))
            }
            // a / b^n = a b^-n.
            Node::Powi(base, n) if n > 0 && self.grows(base) => {
                let power = self.push(Node::Powi(base, -n));
                Some(self.push(Node::Mul(a, power)))
            }
            Node::Add(..) => {
                let (p, q) = self.summands(b)?;
                self.over_sum(a, p, q)
            }
            _ => None,
        }
    }

    /// `a / (e^p + e^q)`.
    fn over_sum(&mut self, a: u16, p: u16, q: u16) -> Option<u16> {
        let difference = self.push(Node::Sub(p, q));
        let opposite = self.push(Node::Sub(q, p));
        if let Some((above, below)) = self.exponents_of_difference(a) {
            for (exponents, difference) in [((p, q), difference), ((q, p), opposite)] {
                if (above, below) == exponents {
                    let half = self.scaled(0.5, difference);
                    return Some(self.push(Node::Tanh(half)));
                }
            }
        }
        let (factor, exponent) = self.without_exponential(a);
        let share = match exponent {
            Some(v) if v == p => self.push(Node::Sigmoid(difference)),
            Some(v) if v == q => self.push(Node::Sigmoid(opposite)),
            _ => match (exponent, self.value(q)) {
                (None, Some(q)) => {
                    let share = self.push(Node::Sigmoid(opposite));
                    self.scaled((-q).exp(), share)
                }
                _ => {
                    let sum = self.log_of_sum(p, q);
                    let zero = self.constant(0.0);
                    let exponent = self.push(Node::Sub(exponent.unwrap_or(zero), sum));
                    self.push(Node::Exp(exponent))
                }
            },
        };
        Some(self.push(Node::Mul(factor, share)))
    }

    fn logarithm(&mut self, a: u16) -> Option<u16> {
        match self.node(a) {
            Node::Exp(u) => Some(u),
            Node::Sigmoid(u) => {
                let u = self.push(Node::Neg(u));
                let softplus = self.push(Node::Softplus(u));
                Some(self.push(Node::Neg(softplus)))
            }
            Node::Add(..) => {
                let (p, q) = self.summands(a)?;
                Some(self.log_of_sum(p, q))
            }
            _ => None,
        }
    }

    fn power(&mut self, base: u16, n: i32) -> Option<u16> {
        match self.node(base) {
            Node::Exp(u) => {
                let exponent = self.scaled(f64::from(n), u);
                Some(self.push(Node::Exp(exponent)))
            }
            // b^-n = (1 / b)^n.
            Node::Add(..) if n < 0 && self.grows(base) => {
                let one = self.constant(1.0);
                let inverse = self.push(Node::Div(one, base));
                Some(self.push(Node::Powi(inverse, -n)))
            }
            _ => None,
        }
    }

    /// Whether `i` is an exponential or a sum of them.
    fn grows(&mut self, i: u16) -> bool {
        matches!(self.node(i), Node::Exp(_)) || self.summands(i).is_some()
    }

    /// `p` and `q` where `i` is `e^p + e^q`; a constant summand is `q`.
    fn summands(&mut self, i: u16) -> Option<(u16, u16)> {
        let Node::Add(a, b) = self.node(i) else {
            return None;
        };
        let (p, q) = (self.exponent(a)?, self.exponent(b)?);
        Some(match self.value(p) {
            Some(_) => (q, p),
            None => (p, q),
        })
    }

    /// `p` and `q` where `i` is `e^p - e^q`.
    fn exponents_of_difference(&mut self, i: u16) -> Option<(u16, u16)> {
        match self.node(i) {
            Node::Sub(a, b) => Some((self.exponent(a)?, self.exponent(b)?)),
            Node::ExpM1(u) => Some((u, self.constant(0.0))),
            Node::Neg(a) => self.exponents_of_difference(a).map(|(p, q)| (q, p)),
            _ => None,
        }
    }

    /// The logarithm of `i`, if it is an exponential, a positive constant, or a product of these.
    fn exponent(&mut self, i: u16) -> Option<u16> {
        match self.node(i) {
            Node::Exp(u) => Some(u),
            Node::Const(c) if c > 0.0 => Some(self.constant(c.ln())),
            Node::Mul(a, b) => {
                let (a, b) = (self.exponent(a)?, self.exponent(b)?);
                Some(self.push(Node::Add(a, b)))
            }
            _ => None,
        }
    }

    /// `factor` and `Some(v)` where `i` is `factor e^v`; otherwise `i` and `None`.
    fn without_exponential(&mut self, i: u16) -> (u16, Option<u16>) {
        match self.node(i) {
            Node::Exp(u) => (self.constant(1.0), Some(u)),
            Node::Mul(a, b) => match (self.node(a), self.node(b)) {
                (_, Node::Exp(u)) => (a, Some(u)),
                (Node::Exp(u), _) => (b, Some(u)),
                _ => (i, None),
            },
            _ => (i, None),
        }
    }

    /// `ln(e^p + e^q)`.
    fn log_of_sum(&mut self, p: u16, q: u16) -> u16 {
        let difference = self.push(Node::Sub(p, q));
        let softplus = self.push(Node::Softplus(difference));
        self.push(Node::Add(q, softplus))
    }

    /// `2 s(factor u)`.
    fn twice_sigmoid(&mut self, factor: f64, u: u16) -> u16 {
        let u = self.scaled(factor, u);
        let sigmoid = self.push(Node::Sigmoid(u));
        self.scaled(2.0, sigmoid)
    }

    pub(super) fn scaled(&mut self, factor: f64, a: u16) -> u16 {
        let factor = self.constant(factor);
        self.push(Node::Mul(factor, a))
    }
}

fn is_power_of_two(c: f64) -> bool {
    c != 0.0 && c.is_finite() && c.to_bits().trailing_zeros() >= 52
}
